"""Compares the weights and the predictions of a cell folder with the checksums in its record, without reading its scores."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmark.errors import RecordError
from benchmark.records.record import MODEL, PREDICTIONS, RECORD
from benchmark.records.stored_file import open_regular, read_regular

BLOCK = 2**20
"""Bytes that are read at once."""


class _File(msgspec.Struct):
    bytes: int
    sha256: str


class _Checks(msgspec.Struct):
    model_file: _File | None = None
    predictions_file: _File | None = None


class _Head(msgspec.Struct):
    checks: _Checks


def damaged_files(folder: Path) -> Iterator[str]:
    """One message for each file that is missing, or not the one that was written with the record."""
    with contextlib.suppress(
        OSError, RecordError, msgspec.DecodeError, RecursionError
    ):  # a reader of the record names it
        checks = msgspec.json.decode(read_regular(folder / RECORD), type=_Head).checks
        for name, file in ((MODEL, checks.model_file), (PREDICTIONS, checks.predictions_file)):
            problem = _problem(folder / name, file) if file is not None else ""
            if problem:
                yield f"{folder / name} is damaged ({problem}); run the cell again with --rerun all"


def _problem(path: Path, recorded: _File) -> str:
    try:
        with open_regular(path, 2**40) as file:
            if os.fstat(file.fileno()).st_size != recorded.bytes:
                return f"it does not have the {recorded.bytes} bytes that were written"
            digest = hashlib.sha256()
            for block in iter(functools.partial(file.read, BLOCK), b""):
                digest.update(block)
    except (OSError, RecordError) as error:
        return str(error)
    return "" if digest.hexdigest() == recorded.sha256 else "its checksum is not that in the record"
