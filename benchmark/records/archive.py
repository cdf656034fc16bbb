"""A cell folder as bytes, for executors whose machines share no disk: packed where the cell ran, unpacked in --out."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.locks import CellLock
from benchmark.records.record import CHECKPOINT, CURVE, LOG, MODEL, OUTPUT, PREDICTIONS, RECORD

NAMES = (
    *(MODEL, CHECKPOINT, CURVE, PREDICTIONS, LOG, OUTPUT),
    RECORD,  # last: a record states that the files it names exist
)
"""Files that are packed, in the order in which they are unpacked. No other name is read from an archive."""


def pack(folder: Path) -> bytes:
    """The files of a cell folder as an archive; an empty archive if there are none."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in NAMES:
            if (folder / name).is_file():
                archive.write(folder / name, name)
    return buffer.getvalue()


def unpack(packed: bytes, folder: Path, lock: CellLock | None = None) -> None:
    """Write the files of an archive into a folder, each atomically, the record last. Other files in `NAMES` are deleted.

    Args:
        packed: what `pack` returned.
        folder: the cell's.
        lock: held on the cell; None if no other process knows the folder.

    Raises:
        LostLockError: another run took over the cell.
        RecordError: the archive is damaged, and the folder is unchanged; or the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"{damaged} is damaged")
            contents = {name: archive.read(name) for name in NAMES if name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise RecordError(f"the archive of {folder.name} is damaged ({error}); run the cell again") from error
    for name, body in contents.items():
        with (replaced if lock is None else lock.replaced)(folder / name) as file:
            file.write(body)
    for name in NAMES:
        if name not in contents:
            if lock is not None:
                lock.check()
            (folder / name).unlink(missing_ok=True)
