"""Locks on cells, with an owner and a heartbeat, so that several runs may share an output folder.

A lock is a small file beside the record, written atomically and renewed every few seconds with the cell's progress. A lock
is abandoned if its owner died: on this machine the process is checked; on another machine or in another container the
heartbeat must not change for a whole lease while it is observed. The clocks of machines are never compared.

A process that was suspended for longer than a lease may resume after another one has taken its lock. It cannot write into the
cell's folder any more: the lock is compared just before each rename, and taking a lock deletes the temporary files of the
previous owner, so that a rename that was already decided fails.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from benchmark.api.cells import Json
from benchmark.errors import BenchError, ExitCode, RecordError
from benchmark.progress import Event, Reporter
from benchmark.records.atomic import reason, remove_temporary, replaced
from benchmark.records.guard import exclusive
from benchmark.records.stored_file import read_regular

LOCK = "lock.json"
HEARTBEAT_SECONDS = 5.0
"""Time between two heartbeats."""
MAX_PID = 2**31
LEASE_SECONDS = 60.0
"""A lock of another machine is abandoned if its heartbeat does not change for this long."""


class LostLockError(BenchError):
    """Another run took over the cell, because its heartbeat had stopped. The previous owner must not write any more."""

    exit_code = ExitCode.FAILED_CELLS


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, distinguishable from a later one with the same number."""

    host: str
    pid: int
    started: str
    """Start time as the kernel states it; empty if unknown."""
    boot: str
    """Boot id of the machine; empty if unknown."""

    namespace: str = ""
    """The PID namespace in which `pid` is valid, which containers have of their own; empty if unknown."""

    def is_gone(self) -> bool | None:
        """Whether the process has ended; None if that cannot be seen from here: its heartbeat then decides.

        Machines and containers may have the same host name, so a process is only looked up after the same boot and in the
        same PID namespace.
        """
        here = current_process()
        if (self.host, self.boot) != (here.host, here.boot):
            return None
        if self.namespace and here.namespace and self.namespace != here.namespace:
            return None
        if not is_running(self.pid):
            return True
        started = _start_time(self.pid)
        if not started and self.started:
            return None  # processes of other users may be hidden
        return started != self.started

    def seems_gone(self) -> bool:
        """Whether the process has ended, or ran before a machine of this name was started again: for displays only."""
        here = current_process()
        return self.is_gone() is True or (self.host == here.host and self.boot != here.boot)


def current_process() -> Owner:
    """This process."""
    return process(os.getpid())


def process(pid: int) -> Owner:
    """A running process of this machine."""
    boot = namespace = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return Owner(host=socket.gethostname(), pid=pid, started=_start_time(pid), boot=boot, namespace=namespace)


def _start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat (proc(5)): ticks from boot to the start of the process; empty if unknown."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    return ""


def is_running(pid: int) -> bool:
    """Whether a process of this number exists and has not ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
        return state != "Z"
    return True


@dataclass(frozen=True, kw_only=True)
class LockInfo:
    """Contents of a lock."""

    owner: Owner
    token: str
    """Unique to this lock."""
    heartbeat: int
    """Number of heartbeats so far."""
    title: str
    """The cell's title."""
    device: str
    since: float
    """Seconds since 1970 by the owner's clock: displayed, never compared."""
    stage: str = ""
    """Current stage: `train`, `evaluate knn at layer4`."""
    done: int = 0
    """Completed steps of the stage; epochs in training."""
    total: int = 0
    """All steps of the stage."""
    values: dict[str, float] = field(default_factory=dict)
    """`loss`, `images/s`."""


def read_lock(folder: Path) -> LockInfo | None:
    """The lock of a cell; None if there is none, or it is damaged or cannot be read."""
    try:
        return readable_lock(folder)
    except RecordError:
        return None


def readable_lock(folder: Path) -> LockInfo | None:
    """The lock of a cell; None if there is none or it is damaged.

    Raises:
        RecordError: it cannot be read, so that nothing is known about it; or the cell's folder does not exist.
    """
    try:
        body = json.loads(read_regular(folder / LOCK))  # unlike msgspec, it reads surrogates in titles
        lock_info = msgspec.convert(body, LockInfo)
    except FileNotFoundError:
        if folder.is_dir():
            return None
        raise RecordError(f"the folder {folder} does not exist any more: it was removed or renamed") from None
    except RecordError as error:
        raise RecordError(str(error).replace("cannot read", "cannot read the lock", 1)) from error
    except (ValueError, RecursionError):
        return None
    known = body.keys() <= LockInfo.__dataclass_fields__.keys()
    return lock_info if known and 0 < lock_info.owner.pid < MAX_PID else None


class LeaseMonitor:
    """Decides which locks are abandoned.

    Args:
        lease: seconds without a heartbeat after which a lock of another machine is abandoned.
        clock: monotonic seconds.
    """

    def __init__(self, lease: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease, self._clock = lease, clock
        self._seen: dict[str, tuple[int, float]] = {}

    def is_abandoned(self, lock_info: LockInfo) -> bool:
        """Whether the owner has ended, or this monitor has observed no heartbeat for a whole lease."""
        gone = lock_info.owner.is_gone()
        if gone is not None:
            return gone
        now = self._clock()
        heartbeat, since = self._seen.setdefault(lock_info.token, (lock_info.heartbeat, now))
        if heartbeat != lock_info.heartbeat:
            self._seen[lock_info.token] = lock_info.heartbeat, now
            return False
        return now - since >= self._lease


class CellLock:
    """A lock that this process holds. A thread renews it until it is released.

    Args:
        folder: the cell's.
        lock_info: initial contents.
        on_lost: called from the thread when another run has taken over the cell.
        heartbeat_seconds: time between two heartbeats.
    """

    def __init__(
        self,
        folder: Path,
        lock_info: LockInfo,
        on_lost: Callable[[], None] | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._folder, self._info, self._on_lost = folder, lock_info, on_lost
        self._heartbeat_seconds = heartbeat_seconds
        self._mutex = threading.Lock()
        self._end = threading.Event()
        self.lost = False
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def record_progress(self, reporter: Reporter) -> Reporter:
        """A reporter that stores the last event in the lock and passes all events on."""

        def report(event: Event) -> None:
            if event.kind in ("stage", "epoch", "step"):
                with self._mutex:
                    # A step has no values: the last epoch's loss and speed stay.
                    kept = self._info.values if event.kind == "step" else {}
                    self._info = dataclasses.replace(
                        self._info,
                        stage=event.stage,
                        done=event.done,
                        total=event.total,
                        values={**kept, **event.values},
                    )
            reporter(event)

        return report

    def check(self) -> None:
        """Check before writing into the cell's folder that the lock is still held.

        Raises:
            LostLockError: another run took over the cell.
            RecordError: the lock cannot be read.
        """
        lock_info = None if self.lost else readable_lock(self._folder)
        if lock_info is not None and lock_info.token == self._info.token:
            return
        self.lost = True
        raise LostLockError(
            f"lost the lock on {self._folder.name}: another run took over this cell, because this process sent no "
            "heartbeat (was it suspended?), or the lock was deleted. Nothing was written since; the other run's results "
            "are kept"
        )

    def check_progress(self) -> None:
        """Check without reading a file whether the last heartbeat still had the lock.

        Raises:
            LostLockError: another run took over the cell.
        """
        if self.lost:
            self.check()

    def replaced(self, path: Path, *, synced: bool = True) -> AbstractContextManager[BinaryIO]:
        """`atomic.replaced` for a file in the cell's folder, which is not replaced if the lock was lost.

        Raises:
            LostLockError: another run took over the cell; the file is unchanged.
            RecordError: the file cannot be written.
        """
        return self._replaced(path, synced)

    @contextlib.contextmanager
    def _replaced(self, path: Path, synced: bool) -> Iterator[BinaryIO]:
        self.check()  # creates no folder that was removed
        try:
            with replaced(path, synced=synced, check=self.check) as file:
                yield file
        except RecordError:
            self.check()  # the next owner deletes temporary files
            raise

    def remove(self, path: Path) -> None:
        """Removes a file in the cell's folder, if it exists.

        Raises:
            LostLockError: another run took over the cell; the file is unchanged.
        """
        self.check()
        path.unlink(missing_ok=True)

    def release(self) -> None:
        """Release the lock."""
        self._end.set()
        self._thread.join()
        if not self.lost and self._is_ours():
            with contextlib.suppress(OSError):
                (self._folder / LOCK).unlink()

    def _is_ours(self) -> bool:
        lock_info = read_lock(self._folder)
        return lock_info is not None and lock_info.token == self._info.token

    def _beat(self) -> None:
        while not self._end.wait(self._heartbeat_seconds):
            # If another run took the lock meanwhile, it must not be overwritten.
            with contextlib.suppress(BenchError, OSError), exclusive(self._folder.parent):
                lock_info = readable_lock(self._folder)
                if lock_info is None or lock_info.token != self._info.token:
                    self.lost = True
                else:
                    with self._mutex:
                        self._info = dataclasses.replace(self._info, heartbeat=self._info.heartbeat + 1)
                        lock_info = self._info
                    _write(self._folder, lock_info)
            if self.lost:
                if self._on_lost is not None:
                    self._on_lost()
                return


def acquire(
    folder: Path,
    title: str,
    device: str,
    *,
    monitor: LeaseMonitor | None = None,
    abandoned_token: str = "",
    on_lost: Callable[[], None] | None = None,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> CellLock | None:
    """Lock a cell and create its folder; None if another process works on it.

    Args:
        folder: the cell's, in the output folder.
        title: the cell's.
        device: where the cell runs.
        monitor: decides which locks are abandoned; a new one has observed only processes of this machine.
        abandoned_token: token of a lock that is known to be abandoned.
        on_lost: see `CellLock`.
        heartbeat_seconds: see `CellLock`.

    Raises:
        RecordError: the folder cannot be written, or its lock cannot be read.
    """
    monitor = monitor or LeaseMonitor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"{folder} cannot be written: {reason(error)}. Choose another --out") from error
    with exclusive(folder.parent):
        other = readable_lock(folder)
        if other is not None and other.token != abandoned_token and not monitor.is_abandoned(other):
            return None
        lock_info = LockInfo(
            owner=current_process(), token=uuid.uuid4().hex, heartbeat=0, title=title, device=device, since=time.time()
        )
        _write(folder, lock_info)
        remove_temporary(folder)
    return CellLock(folder, lock_info, on_lost, heartbeat_seconds)


def clear(folder: Path) -> None:
    """Remove the lock of a process that has ended, if there is one."""
    with contextlib.suppress(BenchError, OSError), exclusive(folder.parent):
        lock_info = read_lock(folder)
        if lock_info is not None and lock_info.owner.is_gone():
            (folder / LOCK).unlink(missing_ok=True)


def _write(folder: Path, lock_info: LockInfo) -> None:
    body: Json = dataclasses.asdict(lock_info)
    body["values"] = {key: float(value) for key, value in lock_info.values.items() if abs(value) < float("inf")}
    with replaced(folder / LOCK, synced=False) as file:
        file.write(json.dumps(body).encode())
