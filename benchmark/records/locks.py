"""Who works on a cell: a claim beside its record, with an owner and a heartbeat, so that two runs may share a folder.

A claim is a small file, written whole, renewed every few seconds with what the cell is doing. It is left behind where its
owner died: on this machine that is seen from the process itself, of another machine from a heartbeat that stands still for
as long as somebody watched it. Clocks of machines are never compared.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.api.cells import Json
from benchmark.errors import BenchError, ExitCode, RecordError
from benchmark.progress import Event, Reporter
from benchmark.records.atomic import replaced

LOCK = "claim.json"
GUARD = ".guard"
HEARTBEAT_SECONDS = 5.0
"""Between two heartbeats."""
LARGEST_PID = 2**31
LEASE_SECONDS = 60.0
"""How long a heartbeat of another machine may stand still until its claim counts as left behind."""


class LostLockError(BenchError):
    """Another run has taken over a cell whose heartbeat stood still: whoever held it writes nothing any more."""

    exit_code = ExitCode.FAILED_CELLS


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, so that it can be told from a later one with the same number."""

    host: str
    pid: int
    started: str
    """When it started, in the kernel's own words; empty where that cannot be asked."""
    boot: str
    """Which start of the machine it belongs to; empty where that cannot be asked."""

    def is_gone(self) -> bool | None:
        """Whether the process has ended; None where it was on another machine, of which nothing is known."""
        here = current_process()
        if self.host != here.host:
            return None
        if self.boot != here.boot:
            return True
        return not is_running(self.pid) or _start_of(self.pid) != self.started


def current_process() -> Owner:
    """This process."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return Owner(host=socket.gethostname(), pid=os.getpid(), started=_start_of(os.getpid()), boot=boot)


def _start_of(pid: int) -> str:
    """Field 22 of proc(5)'s stat: ticks from the machine's start to the process's."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    return ""


def is_running(pid: int) -> bool:
    """Whether a process of this number is there and has not ended."""
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
    """What a claim says."""

    owner: Owner
    token: str
    """Of this claim alone."""
    beat: int
    """Grows with every heartbeat."""
    title: str
    device: str
    since: float
    """Seconds since 1970, by the owner's clock: shown, never compared."""
    stage: str = ""
    """What the cell was doing: `train`, `evaluate knn at layer4`."""
    done: int = 0
    """Steps of the stage that are behind (epochs in training)."""
    total: int = 0
    values: dict[str, float] = field(default_factory=dict)
    """`loss`, `images/s`."""


def read_lock(folder: Path) -> LockInfo | None:
    """What a cell's claim says; None where there is none, or none that can be read."""
    try:
        body = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        owner = Owner(**body["owner"])
        sign = LockInfo(**{**body, "owner": owner})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    # What no system has as a process is nobody's claim, whoever wrote it.
    right = isinstance(owner.pid, int) and 0 < owner.pid < LARGEST_PID and isinstance(sign.beat, int)
    words = (owner.host, owner.started, owner.boot, sign.token, sign.title, sign.device, sign.stage)
    return sign if right and all(isinstance(word, str) for word in words) else None


class LeaseMonitor:
    """Which claims are left behind, as far as somebody has watched them.

    Args:
        lease: seconds for which a heartbeat of another machine may stand still.
        clock: monotonic seconds.
    """

    def __init__(self, lease: float = LEASE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease, self._clock = lease, clock
        self._seen: dict[str, tuple[int, float]] = {}

    def is_left(self, sign: LockInfo) -> bool:
        """Whether nobody works on it any more: its process is gone, or its heart has not beaten for a whole lease."""
        gone = sign.owner.is_gone()
        if gone is not None:
            return gone
        now = self._clock()
        beat, since = self._seen.setdefault(sign.token, (sign.beat, now))
        if beat != sign.beat:
            self._seen[sign.token] = sign.beat, now
            return False
        return now - since >= self._lease


class CellLock:
    """A cell that is ours: renewed by a thread until it is released.

    Args:
        folder: the cell's.
        sign: what it says at first.
        on_lost: called, from the thread, when somebody else has taken the cell over.
    """

    def __init__(self, folder: Path, sign: LockInfo, on_lost: Callable[[], None] | None = None) -> None:
        self._folder, self._sign, self._on_lost = folder, sign, on_lost
        self._lock = threading.Lock()
        self._end = threading.Event()
        self.lost = False
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def told(self, reporter: Reporter) -> Reporter:
        """A reporter that remembers the last event for the claim, and hands all of them on."""

        def report(event: Event) -> None:
            if event.kind in ("stage", "epoch", "step"):
                with self._lock:
                    # A step says only that things move: the last epoch's loss and speed stay.
                    kept = self._sign.values if event.kind == "step" else {}
                    self._sign = dataclasses.replace(
                        self._sign,
                        stage=event.stage,
                        done=event.done,
                        total=event.total,
                        values={**kept, **event.values},
                    )
            reporter(event)

        return report

    def check(self) -> None:
        """Before something is written into the cell's folder.

        Raises:
            LostClaimError: another run has the cell now.
        """
        if self.lost or not self._is_ours():
            self.lost = True
            raise LostLockError(
                f"{self._folder.name} was taken over by another run, since this one had not been heard of for a while "
                "(was it suspended?); what that one writes counts"
            )

    def release(self) -> None:
        """Gives the cell back."""
        self._end.set()
        self._thread.join()
        if not self.lost and self._is_ours():
            with contextlib.suppress(OSError):
                (self._folder / LOCK).unlink()

    def _is_ours(self) -> bool:
        found = read_lock(self._folder)
        return found is not None and found.token == self._sign.token

    def _beat(self) -> None:
        while not self._end.wait(HEARTBEAT_SECONDS):
            # Between two heartbeats nobody takes it who knows that we live; who took it meanwhile must not be undone.
            with contextlib.suppress(BenchError, OSError), _guarded(self._folder.parent):
                if not self._is_ours():
                    self.lost = True
                else:
                    with self._lock:
                        self._sign = dataclasses.replace(self._sign, beat=self._sign.beat + 1)
                        sign = self._sign
                    _write(self._folder, sign)
            if self.lost:
                if self._on_lost is not None:
                    self._on_lost()
                return


def acquire(
    folder: Path,
    title: str,
    device: str,
    *,
    watch: LeaseMonitor | None = None,
    left_token: str = "",
    on_lost: Callable[[], None] | None = None,
) -> CellLock | None:
    """Claims a cell, whose folder is made; None where somebody else works on it.

    Args:
        folder: the cell's, below the output folder.
        title: the cell's.
        device: where it is carried out.
        watch: who knows which claims were left behind; a fresh one knows only this machine's processes.
        left_token: of a claim that somebody has already seen to be left behind.
        on_lost: see `Claim`.

    Raises:
        RecordError: the folder cannot be written.
    """
    watch = watch or LeaseMonitor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"{folder} cannot be written: {error.strerror or error}. Choose another --out") from error
    with _guarded(folder.parent):
        found = read_lock(folder)
        if found is not None and found.token != left_token and not watch.is_left(found):
            return None
        sign = LockInfo(
            owner=current_process(), token=uuid.uuid4().hex, beat=0, title=title, device=device, since=time.time()
        )
        _write(folder, sign)
    return CellLock(folder, sign, on_lost)


def clear(folder: Path) -> None:
    """Takes away the claim of a process that has ended, if it is one: whoever started it says so, not the next run."""
    with contextlib.suppress(BenchError, OSError), _guarded(folder.parent):
        found = read_lock(folder)
        if found is not None and found.owner.is_gone():
            (folder / LOCK).unlink(missing_ok=True)


def _write(folder: Path, sign: LockInfo) -> None:
    body: Json = dataclasses.asdict(sign)
    body["values"] = {key: float(value) for key, value in sign.values.items() if abs(value) < float("inf")}
    with replaced(folder / LOCK, synced=False) as file:
        file.write(json.dumps(body).encode())


@contextlib.contextmanager
def _guarded(out: Path) -> Iterator[None]:
    """One process at a time within it, of all that share the output folder. Where there are no such locks (Windows), none."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        handle: Any = (out / GUARD).open("a")
    except OSError as error:
        raise RecordError(f"{out} cannot be written: {error.strerror or error}. Choose another --out") from error
    with handle:
        # A file system without locks says so: two runs then share a folder at their own risk, as on Windows.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
