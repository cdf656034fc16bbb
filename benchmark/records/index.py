"""The records of an output folder as columns, kept in one file beside them, so that ten thousand are not read for each table.

The file is derived: it may be deleted at any time and is never believed beyond its records. A record is known by its
folder's name, its size and the time of its last change; what differs is read again at every use. A file system's clock
ticks: a record that had changed less than two seconds before it was read could change again within the same tick, so it
is read again as well. An index that is damaged, of another version or not to be written is done without.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.columns import (
    COST,
    Columns,
    ColumnsBuilder,
    RecordSummary,
    ScoreKey,
    SharedMetadata,
    concatenate,
)
from benchmark.records.record import RECORD, SCHEMA_VERSION, read_record

INDEX = ".index.npz"
VERSION = 3
"""Raised whenever the same records give another index."""
TICK = 2 * 10**9
"""Nanoseconds within which a file may change twice without showing it."""
WORDS = ("id", "state", "seed", *COST, "dull", "trained", "failure")
"""Of a brief, as the index holds them in order."""
ARRAYS = ("count", "kind", "value", "low", "high", "n")


class Stamp(NamedTuple):
    """By what a record's file is known again."""

    size: int
    """Bytes."""
    changed: int
    """Nanoseconds since 1970."""
    settled: bool = True
    """Whether its last change was long enough ago, when it was read, to be told from the next."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """What was known of an output folder when its index was written."""

    out: Path
    columns: Columns
    stamps: dict[str, Stamp]
    """Folder -> stamp, in the order of the columns."""
    places: dict[str, int]
    """Folder -> place in the columns."""

    def place(self, folder: str) -> int | None:
        """Where the columns hold a folder's record; None where it is not known as it is now."""
        stamp = self.stamps.get(folder)
        return self.places[folder] if stamp is not None and stamp == stamp_of(f"{self.out}/{folder}") else None


def read(out: Path) -> tuple[Columns, list[str]]:
    """Every record below a folder, sorted by folder name, and a sentence for each that could not be read.

    The same as `records.read_records`, but as columns. The index is brought up to date where that can be done.
    """
    start = time.time_ns()
    there = _there(out)
    index = opened(out)
    known = [name for name, stamp in there.items() if stamp == index.stamps.get(name)]
    if len(known) == len(there) == len(index.stamps):
        return index.columns, []
    gathered, problems, stamps = ColumnsBuilder(), [], {name: there[name] for name in known}
    for name in [name for name in there if name not in stamps]:
        try:
            gathered.add(read_record(out / name), folder=name)
        except RecordError as error:
            problems.append(str(error))
            continue
        stamp = there[name]
        stamps[name] = Stamp(size=stamp.size, changed=stamp.changed, settled=stamp.changed + TICK < start)
    if not gathered.briefs and len(known) == len(index.stamps):
        return index.columns, problems
    columns = concatenate(index.columns.chosen([index.places[name] for name in known]), gathered.columns())
    names = [brief.folder for brief in columns.briefs]
    order = sorted(range(len(names)), key=names.__getitem__)
    columns = columns.chosen(order)
    if stamps != index.stamps:
        _write(out, columns, stamps)
    return columns, problems


def opened(out: Path) -> Index:
    """The index of a folder as it was written last; an empty one where there is none that can be used. Writes nothing."""
    try:
        with (out / INDEX).open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
            body = json.loads(file["text"].tobytes())
        return _parsed(out, body, arrays)
    except Exception:  # whatever is wrong with a derived file, its records have everything that it had
        return Index(out=out, columns=ColumnsBuilder().columns(), stamps={}, places={})


def _parsed(out: Path, body: Any, arrays: dict[str, np.ndarray[Any, np.dtype[Any]]]) -> Index:
    if (body["version"], body["schema"]) != (VERSION, SCHEMA_VERSION):
        raise ValueError("another version's")
    commons = [SharedMetadata(**fields) for fields in body["commons"]]
    stamps, briefs = {}, []
    for folder, size, changed, settled, common, *words, refused, marks in body["briefs"]:
        stamps[folder] = Stamp(size, changed, settled)
        fields = dict(zip(WORDS, words, strict=True))
        told, found = (tuple(tuple(each) for each in pairs) if pairs else () for pairs in (refused, marks))
        briefs.append(RecordSummary(folder=folder, common=commons[common], refused=told, marks=found, **fields))
    columns = Columns(briefs=tuple(briefs), kinds=tuple(ScoreKey(**fields) for fields in body["kinds"]), **arrays)
    sizes = {len(arrays[name]) for name in ARRAYS if name != "count"}
    if sizes != {int(columns.count.sum())} or len(columns.count) != len(briefs) or len(stamps) != len(briefs):
        raise ValueError("its parts do not fit")
    return Index(out=out, columns=columns, stamps=stamps, places={name: place for place, name in enumerate(stamps)})


def _write(out: Path, columns: Columns, stamps: dict[str, Stamp]) -> None:
    commons: dict[int, int] = {}
    texts: dict[str, int] = {}
    briefs = []
    for brief in columns.briefs:
        place = commons.get(id(brief.common))
        if place is None:
            place = commons[id(brief.common)] = texts.setdefault(json.dumps(vars(brief.common)), len(texts))
        stamp = stamps[brief.folder]
        words = (getattr(brief, name) for name in WORDS)
        briefs.append([brief.folder, *stamp, place, *words, brief.refused, brief.marks])
    body = {
        "version": VERSION,
        "schema": SCHEMA_VERSION,
        "kinds": [vars(kind) for kind in columns.kinds],
        "briefs": briefs,
    }
    text = json.dumps(body)[:-1] + f', "commons": [{", ".join(texts)}]}}'
    arrays = {name: getattr(columns, name) for name in ARRAYS}
    with contextlib.suppress(RecordError), replaced(out / INDEX) as file:  # no place to write: it is done without
        np.savez(file, text=np.frombuffer(text.encode(), np.uint8), **arrays)


def _there(out: Path) -> dict[str, Stamp]:
    """The folders that hold a record, sorted, each with its record's stamp."""
    try:
        with os.scandir(out) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        return {}
    found = {name: stamp_of(f"{out}/{name}") for name in names}
    return {name: stamp for name, stamp in found.items() if stamp is not None}


def stamp_of(folder: str) -> Stamp | None:
    """By what the record of a cell's folder is known again; None where there is none."""
    try:
        status = os.stat(f"{folder}/{RECORD}")  # noqa: PTH116  # a Path for each of ten thousand takes longer than to ask
    except OSError:
        return None
    return Stamp(status.st_size, status.st_mtime_ns)
