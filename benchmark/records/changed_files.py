"""Finds cells whose weights or outcomes are not the files that their records describe, as far as that is quick.

The size of each file is compared. The content is compared if the file changed later than its record, or if the record's last
failure names it: the latest first, up to `CHECKED_BYTES` in all, since a copied folder has new times. A program can set the
modification time of a file back, but not the time of its last status change. A fault of a disk changes neither: `bench verify
--files` compares all files. A file that is missing has not changed: weights may be deleted to save space.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records.record import RECORD
from benchmark.records.weights_file import REMEDY, Checksum, read_verified

LOG = logging.getLogger("benchmark")
CHECKED_BYTES = 2**30
"""Most bytes that one command compares: it takes about a second."""


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
    suspects: list[tuple[int, int, str, str, Checksum]] = []
    for cell in cells:
        written = _status(f"{out}/{cell.folder}/{RECORD}") if cell.folder else None
        for name, checksum in cell.checksums.items() if written is not None else ():
            status = _status(f"{out}/{cell.folder}/{name}") if checksum is not None else None
            if checksum is None or status is None:
                continue
            if status.st_size != checksum[0]:
                changed.setdefault(cell.folder, []).append(name)
            elif _changed(status) > _changed(written) or name in cell.failure:
                suspects.append((_changed(status), status.st_size, cell.folder, name, checksum))
    left = CHECKED_BYTES
    for _, size, folder, name, checksum in sorted(suspects, reverse=True):
        left -= size
        if left >= 0 and not _is_intact(out / folder / name, checksum):
            changed.setdefault(folder, []).append(name)
    for folder, names in changed.items():
        for name in names:
            LOG.warning("changed: %s is not the file that its record describes; %s", out / folder / name, REMEDY)
    return changed


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116  # thousands of files
    except (OSError, ValueError):
        return None


def _changed(status: os.stat_result) -> int:
    return max(status.st_mtime_ns, status.st_ctime_ns)


def _is_intact(path: Path, checksum: Checksum) -> bool:
    try:
        read_verified(path, checksum)
    except RecordError:
        return False
    return True
