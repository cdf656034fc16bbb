"""Opens stored files. Only a regular file of a plausible size is read: a FIFO would block a command, a device never ends."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import RecordError

RECORD_BYTES = 2**26
"""Largest record that is read: 64 MiB. A record with 1,000 scores has 1 MB."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""Type of a file -> its name in messages."""


@contextlib.contextmanager
def open_regular(path: Path, limit: int = RECORD_BYTES) -> Iterator[BinaryIO]:
    """Opens a file for reading, without waiting.

    Args:
        path: of the file; symbolic links are followed.
        limit: largest size, bytes.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: it cannot be opened, is no regular file, or is larger than the limit.
    """
    try:
        _check(path, path.stat(), limit)  # before it is opened: opening a device may have an effect
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise RecordError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    with os.fdopen(handle, "rb") as file:
        _check(path, os.fstat(handle), limit)
        yield file


def open_kept(path: Path, limit: int) -> BinaryIO:
    """A file that stays open as long as the result exists, also if the file is deleted or replaced meanwhile.

    Raises:
        FileNotFoundError, RecordError: see `open_regular`.
    """
    with open_regular(path, limit) as file:
        handle = os.dup(file.fileno())
    stream = os.fdopen(handle, "rb", closefd=False)
    weakref.finalize(stream, os.close, handle)
    return stream


def read_regular(path: Path, limit: int = RECORD_BYTES) -> bytes:
    """The contents of a file.

    Raises:
        FileNotFoundError: there is no such file.
        RecordError: see `open_regular`.
    """
    with open_regular(path, limit) as file:
        try:
            return file.read(limit)
        except OSError as error:
            raise RecordError(f"cannot read {path}: {error.strerror or error}") from error


def check_writable(path: Path) -> None:
    """Checks that a file can be written without waiting: there is none, or a regular one.

    Raises:
        RecordError: there is something else, which is named.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise RecordError(f"cannot write {path}: {error.strerror}") from error
        return  # all else is reported by opening it
    _check_regular(path, status, "write")


def _check(path: Path, status: os.stat_result, limit: int) -> None:
    _check_regular(path, status, "read")
    if status.st_size > limit:
        raise RecordError(f"cannot read {path}: it has {status.st_size:,} bytes, more than the {limit:,} that are read")


def _check_regular(path: Path, status: os.stat_result, action: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "no file")
        raise RecordError(f"cannot {action} {path}: it is {kind}, not a regular file")
