"""The guard of an output folder: locks of its cells are taken, renewed and removed by one process at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from benchmark.errors import RecordError
from benchmark.records.atomic import reason
from benchmark.records.stored_file import check_writable

GUARD = ".guard"
GUARD_SECONDS = 60.0
"""Longest wait for another process, which holds the guard for a few milliseconds unless it is suspended."""


@contextlib.contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Lets only one process at a time enter the block for an output folder. No effect without fcntl (Windows)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        check_writable(out / GUARD)
        handle = _open_guard(out / GUARD)
    except OSError as error:
        raise RecordError(f"{out} cannot be written: {reason(error)}. Choose another --out") from error
    with handle:
        deadline = time.monotonic() + GUARD_SECONDS
        pause = 0.001
        # A process that is suspended in the block holds the guard: after that time, the others go on.
        while time.monotonic() < deadline:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
            except OSError:
                break  # without support of the file system, runs may take the same cell, as on Windows
            else:
                break
        yield


def _open_guard(path: Path) -> IO[str]:
    try:
        return path.open("a")
    except PermissionError:  # of another user, who does not let the group write
        return path.open()
