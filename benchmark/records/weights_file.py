"""The weights file of a cell, compared with the checksum that its record holds. Imports no torch."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from benchmark.api.cells import Json
from benchmark.errors import RecordError
from benchmark.records.record import MODEL, PREDICTIONS, Record
from benchmark.records.stored_file import open_regular

Checksum = tuple[int, str]
"""Bytes and SHA-256 of a file."""
CURVE_FILE = "curve_file"
"""Key among a record's checks: size and checksum of curve.csv. Records of earlier versions have none."""
REMEDY = "restore the file, or train the cell again with --rerun all"
CANNOT_LOAD = "cannot load "
"""Begins every message on weights that cannot be used."""


def checksum_of(body: bytes) -> Json:
    """The size and the checksum of a weights file, as a record holds them under `checks.model_file`."""
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def recorded_checksum(record: Record) -> Checksum | None:
    """The size and the checksum of the weights that a record holds; None in records of earlier versions."""
    return recorded_checksums(record)[MODEL]


def recorded_checksums(record: Record) -> dict[str, Checksum | None]:
    """Name of a file beside a record -> its size and checksum, as recorded; None in records of earlier versions."""
    checks = {MODEL: record.checks.get("model_file"), PREDICTIONS: record.checks.get("predictions_file")}
    return {name: (each["bytes"], each["sha256"]) if each else None for name, each in checks.items()}


def read_weights(record: Record) -> bytes:
    """The bytes of a cell's weights file. They are those that the record describes, if it holds a checksum.

    Raises:
        RecordError: the file is missing, unreadable or another one than the training wrote.
    """
    return read_verified(Path(record.folder) / MODEL, recorded_checksum(record))


def read_verified(path: Path, recorded: Checksum | None) -> bytes:
    """The bytes of a weights file; they have the recorded checksum, if there is one.

    Raises:
        RecordError: the file is missing, unreadable or another one than the training wrote.
    """
    try:
        with open_regular(path, sys.maxsize) as file:
            size = os.fstat(file.fileno()).st_size
            body = file.read() if recorded is None or size == recorded[0] else None
    except (OSError, RecordError) as error:
        raise cannot_load(path, getattr(error, "strerror", None) or str(error)) from error
    if recorded is None:
        return body or b""
    if body is None:
        raise cannot_load(path, f"it has {size} bytes, but the training wrote {recorded[0]}")
    check_equal(path, "SHA-256", checksum_of(body)["sha256"], recorded[1])
    return body


def check_equal(path: Path, what: str, now: str, recorded: object) -> None:
    """Compares a checksum with the recorded one.

    Args:
        path: the weights file, for the message.
        what: what is compared, for the message.
        now: the checksum of the file.
        recorded: the checksum in the record.

    Raises:
        RecordError: they differ.
    """
    if now != recorded:
        raise cannot_load(
            path, f"{what} {now[:12]}, recorded {str(recorded)[:12]}: changed or damaged since the training"
        )


def cannot_load(path: Path, reason: str) -> RecordError:
    """The error for a weights file that cannot be used."""
    return RecordError(f"{CANNOT_LOAD}{path} ({reason}); {REMEDY}")
