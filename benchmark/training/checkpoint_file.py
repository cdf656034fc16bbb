"""A state of tensors and plain values in one file that ends with its own checksum.

torch does not compare the checksums of the ZIP files that it writes, and loads a file with a flipped bit.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from benchmark.records.atomic import Replace, replaced

MARK = b"repbench sha256 "
"""Comes before the checksum, after the end of the ZIP file."""
TRAILER = len(MARK) + hashlib.sha256().digest_size
"""Bytes of mark and checksum."""
BLOCK = 1 << 20


class _Hashed:
    """A file that is written from beginning to end, with the checksum of its contents."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, body: bytes) -> int:
        self.digest.update(body)
        return self._file.write(body)

    def flush(self) -> None:
        self._file.flush()


def write_state(path: Path, state: dict[str, Any], replace: Replace = replaced) -> None:
    """Writes a state. The earlier file is kept until the new one is complete.

    Args:
        path: the file.
        state: tensors and plain values.
        replace: how the file is opened.

    Raises:
        RecordError: the file cannot be written.
    """
    with replace(path) as file:
        hashed = _Hashed(file)
        torch.save(state, hashed)  # type: ignore[arg-type]  # it needs no more than `write` and `flush`
        file.write(MARK + hashed.digest.digest())


def read_state(path: Path, device: torch.device) -> dict[str, Any]:
    """Reads a state, without pickle.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not what was written. torch raises further errors for a damaged file.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")  # a FIFO would block
    if not _is_intact(path):
        raise ValueError("the file was changed or damaged after it was written")
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def _is_intact(path: Path) -> bool:
    """Whether a file has the checksum at its end. Those of earlier versions have the checksums of a ZIP file only."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - TRAILER
        while left > 0 and (body := file.read(min(left, BLOCK))):
            digest.update(body)
            left -= len(body)
        trailer = file.read()
    if trailer.startswith(MARK):
        return trailer == MARK + digest.digest()
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None
