"""The processes that a cell's process has started, found in /proc. On systems without /proc, nothing is found."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36
"""Option of prctl(2)."""
TERMINATION_SECONDS = 2.0
"""Time between SIGTERM and SIGKILL."""


class Process(NamedTuple):
    """A process, distinguishable from a later one with the same number."""

    pid: int
    parent: int
    """Number of its parent, which is another one once that has ended."""
    started: str
    """Ticks from boot to its start."""


def adopt_orphans() -> None:
    """From now on, a process below this one whose parent has ended becomes a child of this one: also daemons."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parent_of(pid: int) -> int:
    """Number of a process's parent; 0 if unknown."""
    process = _read(Path(f"/proc/{pid}"))
    return 0 if process is None else process.parent


def descendants(*ancestors: int) -> list[Process]:
    """All living processes below these, parents first."""
    children: dict[int, list[Process]] = {}
    for process in filter(None, map(_read, Path("/proc").glob("[0-9]*"))):
        children.setdefault(process.parent, []).append(process)
    below: list[Process] = []
    waiting = list(ancestors)
    while waiting:
        below += (each := children.get(waiting.pop(), []))
        waiting += (process.pid for process in each)
    return below


def end_descendants(pid: int) -> int:
    """Ends the processes below one. Returns their number."""
    return end(descendants(pid))


def end_orphans(server: int) -> int:
    """Ends the processes that ended cells left behind. Returns their number.

    Args:
        server: the fork server, which adopts them. Its other children are processes that this one has started.
    """
    adopted = [process for process in descendants(server) if process.parent == server]
    if not adopted:
        return 0
    started = {each.pid for each in multiprocessing.active_children()}
    orphans = [process for process in adopted if process.pid not in started]
    return end([*orphans, *descendants(*(process.pid for process in orphans))])


def end(processes: Iterable[Process]) -> int:
    """Ends processes: asks them first, and kills those that stay. Returns their number."""
    ended = living = [process for process in processes if _read(Path(f"/proc/{process.pid}")) is not None]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in living:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
        deadline = time.monotonic() + TERMINATION_SECONDS
        while (living := [each for each in living if _is_alive(each)]) and time.monotonic() < deadline:
            time.sleep(0.01)
    return len(ended)


def _is_alive(process: Process) -> bool:
    now = _read(Path(f"/proc/{process.pid}"))
    return now is not None and now.started == process.started


def _read(folder: Path) -> Process | None:
    """A process from its folder in /proc; None if it has ended."""
    try:
        # proc(5): state, parent and, 19 fields further on, the start follow the name in brackets.
        fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else Process(int(folder.name), int(fields[1]), fields[19].decode())
    except (OSError, IndexError, ValueError):
        return None
