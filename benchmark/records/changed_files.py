"""Finds cells whose weights or outcomes are not the files that their records describe, as far as that is quick.

The size of each file is compared. The content is compared of files that changed later than their record, or that the record's
last failure names: up to `SUSPECT_BYTES` in all, since a copied folder may have new times. A program can set the modification
time of a file back, but not the time of its last status change. A fault of a disk changes neither, so other files are compared
too, up to `OTHER_BYTES`; `bench verify --files` compares all. A file that is missing has not changed: weights may be deleted to
save space.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records.record import RECORD
from benchmark.records.weights_file import REMEDY, Checksum, read_verified

LOG = logging.getLogger("benchmark")
SUSPECT_BYTES = 2**30
"""Most bytes of suspect files that one command compares: it takes about a second."""
OTHER_BYTES = 2**26
"""Most bytes of other files that one command compares: it takes less than a tenth of a second."""


@dataclass(frozen=True, kw_only=True)
class StoredFiles:
    """What a record says about the files beside it."""

    folder: str
    """Name of the cell's folder; empty if there is none."""
    checksums: Mapping[str, Checksum | None]
    """Name of a file -> its checksum; None if it is not recorded."""
    failure: str
    """Reason of the last failure; empty if nothing failed."""


def changed_files(cells: Iterable[StoredFiles], out: Path) -> dict[str, list[str]]:
    """Folder -> names of the files that have changed; folders without any are left out. Each file is logged.

    Args:
        cells: with the checksums in their records.
        out: the output folder.
    """
    changed: dict[str, list[str]] = {}
    files = []
    for cell in cells:
        written = _status(f"{out}/{cell.folder}/{RECORD}") if cell.folder else None
        for name, checksum in cell.checksums.items() if written is not None else ():
            status = _status(f"{out}/{cell.folder}/{name}") if checksum is not None else None
            if written is None or checksum is None or status is None:
                continue
            if status.st_size != checksum[0]:
                changed.setdefault(cell.folder, []).append(name)
            else:
                suspect = _is_later(status, written) or name in cell.failure
                files.append((suspect, status.st_mtime_ns, cell.folder, name, checksum))
    for folder, name in _with_other_content(files, out):
        changed.setdefault(folder, []).append(name)
    for folder, names in changed.items():
        for name in names:
            LOG.warning("changed: %s is not the file that its record describes; %s", out / folder / name, REMEDY)
    return changed


def _with_other_content(files: Iterable[tuple[bool, int, str, str, Checksum]], out: Path) -> Iterator[tuple[str, str]]:
    """(folder, name) of the files with another checksum, of those that can be compared quickly.

    Args:
        files: whether it is suspect, time of its modification, folder, name and checksum of each.
        out: the output folder.
    """
    left = {True: SUSPECT_BYTES, False: OTHER_BYTES}
    for suspect, _, folder, name, checksum in sorted(files, reverse=True):
        left[suspect] -= checksum[0]
        if left[suspect] < 0:
            continue
        try:
            read_verified(out / folder / name, checksum)
        except RecordError:
            yield folder, name


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116  # thousands of files
    except (OSError, ValueError):
        return None


def _is_later(file: os.stat_result, record: os.stat_result) -> bool:
    return file.st_mtime_ns > record.st_mtime_ns or file.st_ctime_ns > record.st_ctime_ns
