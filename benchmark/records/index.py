"""The records of an output folder as columns, cached in one file, so that 10,000 records are not read for each table.

The file may be deleted at any time; the records are the only source. A record is recognized by its folder's name, its
size and its modification time, and read again if one of them differs. A record modified less than two seconds before it
was read could change again within the same tick of the file system's clock, so it is read again, too. An index that is
damaged, of another version or not writable is ignored.
"""

from __future__ import annotations

import contextlib
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
from benchmark.records.record import RECORD, SCHEMA_VERSION
from benchmark.records.record_files import read_record

INDEX = ".index.npz"
VERSION = 4
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
        return self.positions[folder] if stamp is not None and stamp == stamp_of(f"{self.out}/{folder}") else None


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


def read(out: Path) -> tuple[Columns, list[str]]:
    """All records of an output folder, sorted by folder name, and one message for each that cannot be read.

    The same as `record.read_records`, as columns. The index is updated if it can be written.
    """
    start = time.time_ns()
    present = _stamps(out)
    index = read_index(out)
    known = [name for name, stamp in present.items() if stamp == index.stamps.get(name)]
    if len(known) == len(present) == len(index.stamps):
        return index.columns, []
    builder, problems, stamps = ColumnsBuilder(), [], {name: present[name] for name in known}
    for name in [name for name in present if name not in stamps]:
        try:
            builder.add(read_record(out / name), folder=name)
        except RecordError as error:
            problems.append(str(error))
            continue
        stamp = present[name]
        stamps[name] = stamp._replace(settled=stamp.modified + TICK < start)
    if not builder.summaries and len(known) == len(index.stamps):
        return index.columns, problems
    columns = concatenate(index.columns.take([index.positions[name] for name in known]), builder.columns())
    names = [summary.folder for summary in columns.summaries]
    columns = columns.take(sorted(range(len(names)), key=names.__getitem__))
    if stamps != index.stamps:
        _write(out, columns, stamps)
    return columns, problems


def read_index(out: Path) -> Index:
    """The index of a folder as it was last written; empty if there is none that can be used. Nothing is written."""
    try:
        with (out / INDEX).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
            body = msgspec.json.decode(file["text"].tobytes(), type=_Body)
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
    arrays = {name: getattr(columns, name) for name in ARRAYS}
    # Surrogates of folder names that are not UTF-8 make the text unreadable for msgspec; such an index is ignored.
    text = np.frombuffer(json.dumps(body).encode(), np.uint8)
    with contextlib.suppress(RecordError), replaced(out / INDEX) as file:  # without write access there is no index
        np.savez(file, text=text, **arrays)


def _stamps(out: Path) -> dict[str, Stamp]:
    """The folders that hold a record, sorted, with the stamps of their records."""
    try:
        with os.scandir(out) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        return {}
    stamps = {name: stamp_of(f"{out}/{name}") for name in names}
    return {name: stamp for name, stamp in stamps.items() if stamp is not None}


def stamp_of(folder: str) -> Stamp | None:
    """The stamp of the record in a cell folder; None if there is no record."""
    try:
        status = os.stat(f"{folder}/{RECORD}")  # noqa: PTH116  # creating 10,000 Path objects takes longer than the calls
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)
