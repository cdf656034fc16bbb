"""Leaderboards: finished records of one dataset in git, as .jsonl, .outcomes.npz and .csv.

Records are added or replaced by cell id; all others stay. The .csv is always rebuilt from the .jsonl.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.dataframe import records_csv
from benchmark.records.outcomes import Arrays, pack_outcomes, read_packed
from benchmark.records.record import Record
from benchmark.records.record_text import as_json, parse_record, record_text

JSONL = ".jsonl"
OUTCOMES = ".outcomes.npz"
CSV = ".csv"


def export(records: Sequence[Record], to: Path) -> dict[str, int]:
    """Add finished records to the leaderboards in a folder.

    Smoke, failed and interrupted records are left out.

    Returns:
        Leaderboard name -> number of records added or replaced.

    Raises:
        RecordError: a file of a leaderboard is damaged, or the folder cannot be written. Then nothing has changed.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.state == "done":
            groups.setdefault(leaderboard_name(record), []).append(record)
    for leaderboard in [_merged(name, group, to) for name, group in groups.items()]:
        _write(leaderboard)
    return {name: len(group) for name, group in groups.items()}


def leaderboard_name(record: Record) -> str:
    """The dataset's label without its subset, as a file name: all subsets of a dataset share one leaderboard."""
    name = record.labels[2].partition("[subset=")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "dataset"


def read_leaderboard(path: Path) -> list[Record]:
    """The records of a .jsonl; empty if there is no such file. Schema version 1 is upgraded in memory.

    Raises:
        RecordError: a line is not a record; the message names it.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            records.append(parse_record(line, path, "restore the file from git"))
        except RecordError as error:
            raise RecordError(f"line {number}: {error}") from error
    return records


def outcomes_path(leaderboard: Path) -> Path:
    """The .outcomes.npz beside a .jsonl."""
    return leaderboard.with_name(leaderboard.name.removesuffix(JSONL) + OUTCOMES)


@dataclass(frozen=True, kw_only=True)
class _Leaderboard:
    """A leaderboard that is about to be written."""

    path: Path
    """Without the suffixes of its three files."""
    records: list[Record]
    arrays: Arrays
    """Packed outcomes, as stored."""

    def file(self, suffix: str) -> Path:
        """The path of one of its files."""
        return self.path.with_name(self.path.name + suffix)


def _merged(name: str, records: Sequence[Record], to: Path) -> _Leaderboard:
    jsonl = to / f"{name}{JSONL}"
    earlier = {record.id: record for record in read_leaderboard(jsonl)}
    ids = {(record.stored_id or record.id)[:16]: record.id[:16] for record in earlier.values()}
    new = {record.id[:16] for record in records}
    arrays: Arrays = {}
    for key, array in (read_packed(outcomes_path(jsonl)) if outcomes_path(jsonl).exists() else {}).items():
        cell, bar, rest = key.partition("|")
        if ids.get(cell, cell) not in new:
            arrays[f"{ids.get(cell, cell)}{bar}{rest}"] = array
    for record in records:
        earlier[record.id] = record
        arrays.update(pack_outcomes(record))
    return _Leaderboard(path=to / name, records=sorted(earlier.values(), key=_order), arrays=arrays)


def _write(leaderboard: _Leaderboard) -> None:
    arrays = {key: leaderboard.arrays[key] for key in sorted(leaderboard.arrays)}
    with replaced(leaderboard.file(OUTCOMES)) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    with replaced(leaderboard.file(JSONL)) as file:
        file.write("".join(map(_line, leaderboard.records)).encode())
    with replaced(leaderboard.file(CSV)) as file:
        file.write(records_csv(leaderboard.records).encode())


def _order(record: Record) -> tuple[str, ...]:
    method, encoder, dataset = record.labels
    return dataset, method, encoder, f"{-1 if record.seed is None else record.seed:06d}", record.id


def _line(record: Record) -> str:
    body = as_json(record)
    if body["failure"]:
        body["failure"].pop("traceback", None)  # it holds file names of a machine
    return record_text(body, sort_keys=True).decode() + "\n"
