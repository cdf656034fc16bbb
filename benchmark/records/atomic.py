"""Atomic writing: a file is complete or absent. It is written beside its target, synced to disk and renamed.

A temporary file is locked by its writer until it is renamed, so that the files of killed processes are recognized.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, BinaryIO

from benchmark.errors import RecordError

Replace = Callable[[Path], AbstractContextManager[BinaryIO]]
"""Opens a file that replaces another one when the block ends: `replaced`, or that method of a lock."""
TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}")
"""Names of temporary files: `.record.json-1a2b3c4d`."""
DISK_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full for this user",
    errno.EFBIG: "the limit of file sizes is reached",
}
"""Error number -> what users call it."""


class _RawFile(io.FileIO):
    """A file that remembers why a write failed: libraries that write into it raise other errors."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise


@contextlib.contextmanager
def replaced(path: Path, *, synced: bool = True, check: Callable[[], None] | None = None) -> Iterator[BinaryIO]:
    """A file that replaces `path` when the block ends. If the block raises, `path` is unchanged.

    Args:
        path: created or replaced; its folder is created.
        synced: wait until the contents are on the disk. Use False for files that are rewritten every few seconds.
        check: called just before the rename. If it raises, `path` is unchanged.

    Raises:
        RecordError: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, raw = _open_temporary(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {reason(error)}. Choose another --out") from error
    try:
        with io.BufferedWriter(raw) as file:
            yield file
            file.flush()
            if synced:
                os.fsync(raw.fileno())
            if check is not None:
                check()
            if os.name != "nt":  # where open files cannot be renamed
                temporary.replace(path)
        if os.name == "nt":
            temporary.replace(path)
    except BaseException as error:
        _remove(temporary)
        failure = error if isinstance(error, OSError) else raw.failure
        if failure is None or not isinstance(error, Exception):
            raise
        raise RecordError(f"{path} cannot be written: {reason(failure)}") from error


def reason(error: OSError) -> str:
    """Why a file cannot be written: `No space left on device (the disk is full)`."""
    text = error.strerror or str(error)
    return f"{text} ({DISK_FULL[error.errno]})" if error.errno in DISK_FULL else text


def remove_abandoned(folder: Path) -> None:
    """Removes temporary files whose writers have died, as far as the folder can be written."""
    for path in _temporary_files(folder):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if lock_file(file):
                path.unlink()


def remove_abandoned_below(out: Path) -> None:
    """`remove_abandoned` for an output folder and the folders in it."""
    remove_abandoned(out)
    with contextlib.suppress(OSError), os.scandir(out) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove_abandoned(Path(entry.path))


def remove_temporary(folder: Path) -> None:
    """Removes all temporary files of a folder. A process that still writes one of them cannot rename it any more."""
    for path in _temporary_files(folder):
        _remove(path)


def _open_temporary(path: Path) -> tuple[Path, _RawFile]:
    """A new file beside `path` with the permissions that the umask leaves, locked."""
    while True:
        temporary = path.with_name(f".{path.name}-{os.urandom(4).hex()}")
        with contextlib.suppress(FileExistsError):
            file = _RawFile(temporary, "x")
            lock_file(file, wait=True)
            if temporary.exists():  # else another process took it for abandoned before it was locked
                return temporary, file
            file.close()


def lock_file(file: IO[Any] | int, *, wait: bool = False) -> bool:
    """Locks an open file. False if another process has locked it, unless `wait`, and where files cannot be locked.

    Whoever creates a file waits: a process that takes it for abandoned holds the lock until it has removed the file.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _temporary_files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if TEMPORARY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
