"""A cell's folder as bytes, for executors whose machines share no disk: packed where the cell ran, unpacked at home."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records import record as records
from benchmark.records.atomic import replaced
from benchmark.records.record import CHECKPOINT, CURVE, LOG, MODEL, PREDICTIONS, RECORD

OUTPUT = records.OUTPUT
"""Where executors keep what a cell's process printed."""
NAMES = (
    *(MODEL, CHECKPOINT, CURVE, PREDICTIONS, LOG, OUTPUT),
    RECORD,  # last: a record says that what it names is there
)
"""Files that travel, in the order in which they are unpacked. No other name is ever read from a parcel."""


def pack(folder: Path) -> bytes:
    """The folder's files, those that travel; an empty parcel where it is not there."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as parcel:
        for name in NAMES:
            if (folder / name).is_file():
                parcel.write(folder / name, name)
    return buffer.getvalue()


def unpack(parcel: bytes, folder: Path) -> None:
    """Puts a parcel's files into a folder, each whole, the record last; other files that travel are taken away.

    Raises:
        RecordError: the parcel is damaged, or the folder cannot be written; what was there stays.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(parcel)) as opened:
            if opened.testzip() is not None:
                raise zipfile.BadZipFile("a file in it is damaged")
            found = {name: opened.read(name) for name in NAMES if name in opened.namelist()}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise RecordError(f"what came back for {folder.name} is damaged ({error}); run the cell again") from error
    for name, body in found.items():
        with replaced(folder / name) as file:
            file.write(body)
    for name in NAMES:
        if name not in found:
            (folder / name).unlink(missing_ok=True)
