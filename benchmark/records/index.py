"""The records of an output folder as columns, cached in one file, so that 10,000 records are not read for each table.

The file may be deleted at any time; the records are the only source. A record is recognized by its folder's name, and by
the size, inode, modification time and status change time of its file, and read again if one of them differs. A program can
set the modification time back, but not the status change time. A record that changed less than two seconds before it was
read could change again within the same tick of the file system's clock, so it is read again, too. Not detected: contents
that change without the file system's knowledge, such as a fault of the disk; `bench verify` and `bench run` read every file.

The index holds a checksum of itself. One that is damaged, edited, of another version or not writable is ignored. Records
that cannot be read are not in the index: each command reads them again and names them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.caveats import ALTERED as ALTERED_CAVEAT
from benchmark.records.columns import (
    SCORE_ARRAYS,
    Columns,
    ColumnsBuilder,
    RecordSummary,
    ScoreKey,
    SharedMetadata,
    concatenate,
)
from benchmark.records.csv_columns import NAMES
from benchmark.records.duplicates import distinct
from benchmark.records.npz_reader import read_arrays
from benchmark.records.number_arrays import Arrays
from benchmark.records.record import RECORD, SCHEMA_VERSION
from benchmark.records.record_files import folder_names, has_record, log_left_out, read_record
from benchmark.records.record_text import log_altered

INDEX = ".index.npz"
CHECKSUM = "checksum"
"""Name of the array that holds the checksum of the others."""
VERSION = 10
"""Version of the index, increased whenever equal records give another index. The CSV's columns are part of the version."""
TICK = 2 * 10**9
"""Nanoseconds within which a file may change twice with the same modification time."""
SUMMARY_FIELDS = tuple(name for name in RecordSummary.__dataclass_fields__ if name not in ("folder", "shared"))
"""Fields of a summary as the index stores them, in order."""
ARRAYS = ("score_counts", *SCORE_ARRAYS)


class Stamp(NamedTuple):
    """Identifies one state of a record's file."""

    size: int
    """Bytes."""
    modified: int
    """Nanoseconds since 1970."""
    settled: bool = True
    """Whether the file was modified long enough before it was read for a later change to show."""
    changed: int = 0
    """Time of the last change of contents or attributes; no program can set it."""
    inode: int = 0
    """Number of the file; another one if the file was replaced."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """An output folder as it was when its index was written."""

    out: Path
    columns: Columns
    stamps: dict[str, Stamp]
    """Folder -> stamp, in the order of the columns."""
    positions: dict[str, int]
    """Folder -> index into the columns."""

    def position(self, folder: str) -> int | None:
        """The index of a folder's record in the columns; None if the record is not known in its present state."""
        stamp = self.stamps.get(folder)
        if stamp is None or stamp != stamp_of(f"{self.out}/{folder}"):
            return None
        self.log_altered(folder)
        return self.positions[folder]

    def log_altered(self, folder: str) -> None:
        """Logs that a record was changed after it was written, as when it was read."""
        if ALTERED_CAVEAT in self.columns.summaries[self.positions[folder]].caveats:
            log_altered(self.out / folder / RECORD)


class _Body(msgspec.Struct):
    """The text part of an index."""

    version: int
    schema: int
    csv: tuple[str, ...]
    """Names of the CSV's columns."""
    score_keys: tuple[ScoreKey, ...]
    shared: list[SharedMetadata]
    records: list[tuple[str, Stamp, int, list[Any]]]
    """Folder, stamp, index into `shared`, fields of the summary."""


def read(out: Path, *, write: bool = True, notes: list[str] | None = None) -> tuple[Columns, list[str]]:
    """The records of an output folder, sorted by folder name, each cell once, and a message for each that is lost.

    Lost are records that cannot be read, and those that were replaced by the record of another folder.

    Args:
        out: output folder.
        write: whether the index is updated, if it can be written.
        notes: gets one message for each folder that holds a copy of a cell, or is named after another cell.

    Raises:
        RecordError: the folder cannot be read.
    """
    columns, problems = _read_all(out, write=write)
    cells = distinct(out, columns)
    if notes is not None:
        notes += cells.notes
    return cells.columns, [*problems, *cells.lost]


def _read_all(out: Path, *, write: bool) -> tuple[Columns, list[str]]:
    """All records, copies too, and one message for each that cannot be read."""
    start = time.time_ns()
    present = _stamps(out)
    index = read_index(out)
    known = [name for name, stamp in present.items() if stamp == index.stamps.get(name)]
    for name in known:
        index.log_altered(name)
    if len(known) == len(present) == len(index.stamps):
        return index.columns, []
    builder, problems, stamps = ColumnsBuilder(), [], {name: present[name] for name in known}
    for name in [name for name in present if name not in stamps]:
        try:
            builder.add(read_record(out / name), folder=name)
        except RecordError as error:
            problems.append(str(error))
            log_left_out([str(error)])
            continue
        stamp = present[name]
        stamps[name] = stamp._replace(settled=stamp.modified + TICK < start)
    if not builder.summaries and len(known) == len(index.stamps):
        return index.columns, problems
    columns = concatenate(index.columns.take([index.positions[name] for name in known]), builder.columns())
    names = [summary.folder for summary in columns.summaries]
    columns = columns.take(sorted(range(len(names)), key=names.__getitem__))
    if write and stamps != index.stamps:
        _write(out, columns, stamps)
    return columns, problems


def read_index(out: Path) -> Index:
    """The index of a folder as it was last written; empty if there is none that can be used. Nothing is written."""
    try:
        arrays = read_arrays(out / INDEX, "it is written again")
        checksum = arrays.pop(CHECKSUM)
        if checksum.tobytes() != _checksum(arrays):
            raise ValueError("the checksum of the index does not match")
        body = msgspec.json.decode(arrays.pop("text").tobytes(), type=_Body)
        return _parse(out, body, arrays)
    except Exception:  # a derived file may be damaged in any way; the records hold everything
        return Index(out=out, columns=ColumnsBuilder().columns(), stamps={}, positions={})


def _parse(out: Path, body: _Body, arrays: dict[str, Any]) -> Index:
    if (body.version, body.schema, body.csv) != (VERSION, SCHEMA_VERSION, NAMES):
        raise ValueError("another version")
    summaries = tuple(
        msgspec.convert(
            {"folder": folder, "shared": body.shared[shared], **dict(zip(SUMMARY_FIELDS, fields, strict=True))},
            RecordSummary,
        )
        for folder, _, shared, fields in body.records
    )
    stamps = {folder: stamp for folder, stamp, _, _ in body.records}
    columns = Columns(summaries=summaries, score_keys=body.score_keys, **arrays)
    sizes = {len(arrays[name]) for name in SCORE_ARRAYS}
    if sizes != {int(columns.score_counts.sum())} or not len(columns.score_counts) == len(summaries) == len(stamps):
        raise ValueError("the arrays of the index do not match")
    return Index(
        out=out, columns=columns, stamps=stamps, positions={name: number for number, name in enumerate(stamps)}
    )


def _write(out: Path, columns: Columns, stamps: dict[str, Stamp]) -> None:
    positions: dict[int, int] = {}
    shared: list[SharedMetadata] = []
    records = []
    for summary in columns.summaries:
        if id(summary.shared) not in positions:
            positions[id(summary.shared)] = len(shared)
            shared.append(summary.shared)
        fields = [getattr(summary, name) for name in SUMMARY_FIELDS]
        records.append((summary.folder, stamps[summary.folder], positions[id(summary.shared)], fields))
    body = {
        "version": VERSION,
        "schema": SCHEMA_VERSION,
        "csv": NAMES,
        "score_keys": [vars(key) for key in columns.score_keys],
        "shared": [vars(each) for each in shared],
        "records": records,
    }
    # Surrogates of folder names that are not UTF-8 make the text unreadable for msgspec; such an index is ignored.
    arrays: Arrays = {"text": np.frombuffer(json.dumps(body).encode(), np.uint8)}
    arrays |= {name: getattr(columns, name) for name in ARRAYS}
    arrays[CHECKSUM] = np.frombuffer(_checksum(arrays), np.uint8)
    with contextlib.suppress(RecordError), replaced(out / INDEX) as file:  # without write access there is no index
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options


def _checksum(arrays: Arrays) -> bytes:
    """SHA-256 of all arrays with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.digest()


def _stamps(out: Path) -> dict[str, Stamp]:
    """The folders that hold a record, sorted, with the stamps of their records."""
    stamps = {name: stamp_of(f"{out}/{name}") for name in folder_names(out)}
    return {name: stamp for name, stamp in stamps.items() if stamp is not None}


def stamp_of(folder: str) -> Stamp | None:
    """The stamp of the record in a cell folder; None if there is no record. One that cannot be reached has no inode."""
    try:
        status = os.stat(f"{folder}/{RECORD}")  # noqa: PTH116  # creating 10,000 Path objects takes longer than the calls
    except (OSError, ValueError):
        return Stamp(0, 0) if has_record(folder) else None
    return Stamp(status.st_size, status.st_mtime_ns, changed=status.st_ctime_ns, inode=status.st_ino)
