"""The weights file of a cell, compared with the checksum that its record holds. Imports no torch."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from benchmark.api.cells import Json
from benchmark.errors import RecordError
from benchmark.records.record import MODEL, Record

REMEDY = "restore the file, or train the cell again with --rerun all"


def checksum_of(body: bytes) -> Json:
    """The size and the checksum of a weights file, as a record holds them under `checks.model_file`."""
    return {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def recorded_checksum(record: Record) -> Json | None:
    """The size and the checksum that a record holds; None in records of earlier versions."""
    recorded = record.checks.get("model_file")
    return recorded if isinstance(recorded, dict) and {"bytes", "sha256"} <= recorded.keys() else None


def read_weights(record: Record) -> bytes:
    """The bytes of a cell's weights file. They are those that the record describes, if it holds a checksum.

    Raises:
        RecordError: the file is missing, unreadable or another one than the training wrote.
    """
    path, recorded = Path(record.folder) / MODEL, recorded_checksum(record)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise cannot_load(path, "it is not a regular file")
        if recorded is not None and status.st_size != recorded["bytes"]:
            raise cannot_load(path, f"it has {status.st_size} bytes, but the training wrote {recorded['bytes']}")
        body = path.read_bytes()
    except OSError as error:
        raise cannot_load(path, error.strerror or str(error)) from error
    if recorded is not None:
        check_equal(path, "SHA-256", checksum_of(body)["sha256"], recorded["sha256"])
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
    return RecordError(f"cannot load {path} ({reason}); {REMEDY}")
