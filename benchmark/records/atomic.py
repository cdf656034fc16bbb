"""Atomic writing: a file is complete or absent. It is written beside its target, synced to disk and renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from benchmark.errors import RecordError


@contextlib.contextmanager
def replaced(path: Path, *, synced: bool = True) -> Iterator[IO[bytes]]:
    """A file that replaces `path` when the block ends. If the block raises, `path` is unchanged.

    Args:
        path: created or replaced; its folder is created.
        synced: wait until the contents are on the disk. Use False for files that are rewritten every few seconds.

    Raises:
        RecordError: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror or error}. Choose another --out") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise RecordError(f"{path} cannot be written: {error.strerror or error}") from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
