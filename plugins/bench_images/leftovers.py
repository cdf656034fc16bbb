"""Temporary files of processes that were killed: the next process that writes the same file removes them.

The writer of a temporary file or folder holds a lock on it, which the operating system releases when the process ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_use(create: Callable[[], Path]) -> Iterator[Path]:
    """Creates a temporary file or folder, and marks it as being written by this process until the block ends.

    Args:
        create: makes a file or folder with a new name. It is called again if another process took the first one for a
            leftover, and removed it before it was marked.
    """
    while True:
        path = create()
        descriptor = _locked(path, wait=True)
        if path.exists():
            break
        if descriptor is not None:
            os.close(descriptor)
    try:
        yield path
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(folder: Path, prefix: str) -> None:
    """Removes the files and folders with this prefix that no process is writing, as far as this can be known."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if not path.name.startswith(prefix) or path.is_symlink() or not (path.is_dir() or path.is_file()):
                continue
            descriptor = _locked(path)
            if descriptor is None:
                continue
            try:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)


def _locked(path: Path, *, wait: bool = False) -> int | None:
    """An open descriptor that holds the lock of a path; None if there is no such path or no locks, or, without `wait`, if
    another process holds it.
    """
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
