"""Leaderboards: finished records of one dataset in git, as .jsonl, .outcomes.npz and .csv.

Records are added or replaced by cell id; the lines of all others stay as they are. The .csv is always rebuilt from the .jsonl.
The three files are replaced one after the other. If an export is killed between two of them, the checksums in the .jsonl
show which outcomes are not those of their scores: they are not used, and the next export of these cells writes them again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.dataframe import records_csv
from benchmark.records.number_arrays import Arrays
from benchmark.records.outcomes import DIGESTS, pack_outcomes, packed_digests, read_packed
from benchmark.records.record import Record
from benchmark.records.record_files import log_left_out
from benchmark.records.record_text import as_json, parse_record, record_text
from benchmark.records.stored_file import RECORD_BYTES, open_regular

JSONL = ".jsonl"
OUTCOMES = ".outcomes.npz"
CSV = ".csv"
FILE_BYTES = 2**34
"""Largest .jsonl that is read: 16 GiB. Only one line is in memory."""
RESTORE = "restore the file from git"


def export(records: Sequence[Record], to: Path, left_out: list[str] | None = None) -> dict[str, int]:
    """Add finished records to the leaderboards in a folder.

    Smoke, failed and interrupted records are left out.

    Args:
        records: from a folder of records.
        to: folder of the leaderboards.
        left_out: gets one message for each record whose outcomes are missing, damaged or not its own; None: raise an error.

    Returns:
        Leaderboard name -> number of records added or replaced.

    Raises:
        RecordError: a file of a leaderboard is damaged, or the folder cannot be written. Then nothing has changed.
    """
    groups: dict[str, list[_Entry]] = {}
    owners: dict[str, str | None] = {}
    for record in records:
        if record.state == "done":
            try:
                entry = _entry(record)
            except RecordError as error:
                if left_out is None:
                    raise
                left_out.append(str(error))
                continue
            groups.setdefault(_own_name(record, to, owners), []).append(entry)
    for leaderboard in [_merged(name, group, to) for name, group in groups.items()]:
        _write(leaderboard)
    return {name: len(group) for name, group in groups.items()}


def leaderboard_name(record: Record) -> str:
    """The dataset's label without its subset, as a file name: all subsets of a dataset share one leaderboard.

    The name of a label with letters beyond ASCII ends with digits of its hash, since these letters are left out.
    """
    label = _label(record)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.") or "dataset"
    return name if label.isascii() else f"{name}-{_digits(label)}"


def _own_name(record: Record, to: Path, owners: dict[str, str | None]) -> str:
    """The leaderboard of a record: with digits of a hash if a dataset of another label has the same file name.

    Args:
        record: of any state.
        to: folder of the leaderboards.
        owners: file name -> label of its dataset, filled in here.
    """
    name, label = leaderboard_name(record), _label(record)
    if name not in owners:
        first = next(_lines(to / f"{name}{JSONL}"), None)
        owners[name] = None if first is None else _label(parse_line(first, 1, to / f"{name}{JSONL}"))
    owner = owners[name] = label if owners[name] is None else owners[name]
    return name if owner == label else f"{name}-{_digits(label)}"


def _label(record: Record) -> str:
    return record.labels[2].partition("[subset=")[0]


def _digits(label: str) -> str:
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def read_leaderboard(path: Path, left_out: list[str] | None = None, name: str = "") -> list[Record]:
    """The records of a .jsonl; empty if there is no such file. Schema version 1 is upgraded in memory.

    Args:
        path: of the file.
        left_out: gets one message for each line that is not a record; None: raise an error.
        name: the file in messages, such as `HEAD:results/digits.jsonl`.

    Raises:
        RecordError: the file cannot be read, or a line is not a record; the message names it.
    """
    records = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            records.append(parse_line(line, number, Path(name or path)))
        except RecordError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
    if left_out:
        log_left_out(left_out)
    return records


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a .jsonl without their ends.

    Raises:
        RecordError: the file cannot be read. A line may be longer than a record; the rest of it is not read.
    """
    if not path.exists() and not path.is_symlink():
        return
    try:
        with open_regular(path, FILE_BYTES) as file:
            while line := file.readline(RECORD_BYTES):
                yield line.rstrip(b"\r\n")
                if len(line) == RECORD_BYTES:
                    return
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}; {RESTORE}") from error


def parse_line(line: bytes, number: int, path: Path) -> Record:
    """The record of a line.

    Args:
        line: with or without its end.
        number: of the line, from 1, for messages.
        path: the file, for messages.

    Raises:
        RecordError: the line is not a record.
    """
    try:
        return parse_record(line, path, RESTORE)
    except RecordError as error:
        raise type(error)(f"line {number}: {error}") from error


def outcomes_path(leaderboard: Path) -> Path:
    """The .outcomes.npz beside a .jsonl."""
    return leaderboard.with_name(leaderboard.name.removesuffix(JSONL) + OUTCOMES)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A record of a leaderboard that is about to be written."""

    record: Record
    line: bytes
    """Its text, without the end of the line."""
    arrays: Arrays
    """Its packed outcomes; empty for a record that stays."""


@dataclass(frozen=True, kw_only=True)
class _Leaderboard:
    """A leaderboard that is about to be written."""

    path: Path
    """Without the suffixes of its three files."""
    entries: list[_Entry]
    arrays: Arrays
    """Packed outcomes, as stored."""

    def file(self, suffix: str) -> Path:
        """The path of one of its files."""
        return self.path.with_name(self.path.name + suffix)


def _entry(record: Record) -> _Entry:
    """A record with its outcomes, and with their checksums in its line."""
    arrays = pack_outcomes(record)
    exported = dataclasses.replace(record, checks={**record.checks, DIGESTS: packed_digests(record, arrays)})
    return _Entry(record=record, line=_line(exported), arrays=arrays)


def _merged(name: str, new: Sequence[_Entry], to: Path) -> _Leaderboard:
    jsonl = to / f"{name}{JSONL}"
    entries = {entry.record.id: entry for entry in _stored_entries(jsonl)}
    ids = {(each.record.stored_id or each.record.id)[:16]: each.record.id[:16] for each in entries.values()}
    replaced_ids = {entry.record.id[:16] for entry in new}
    arrays: Arrays = {}
    for key, array in (read_packed(outcomes_path(jsonl)) if outcomes_path(jsonl).exists() else {}).items():
        cell, bar, rest = key.partition("|")
        if cell in ids and ids[cell] not in replaced_ids:
            arrays[f"{ids[cell]}{bar}{rest}"] = array
    for entry in new:
        entries[entry.record.id] = entry
        arrays.update(entry.arrays)
    return _Leaderboard(path=to / name, entries=sorted(entries.values(), key=_order), arrays=arrays)


def _stored_entries(jsonl: Path) -> Iterator[_Entry]:
    for number, line in enumerate(_lines(jsonl), start=1):
        record = parse_line(line, number, jsonl)
        yield _Entry(record=record, line=_line(record) if record.stored_id else line, arrays={})


def _write(leaderboard: _Leaderboard) -> None:
    arrays = {key: leaderboard.arrays[key] for key in sorted(leaderboard.arrays)}
    with replaced(leaderboard.file(OUTCOMES)) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    with replaced(leaderboard.file(JSONL)) as file:
        file.writelines(entry.line + b"\n" for entry in leaderboard.entries)
    with replaced(leaderboard.file(CSV)) as file:
        file.write(records_csv([entry.record for entry in leaderboard.entries]).encode())


def _order(entry: _Entry) -> tuple[str, ...]:
    record = entry.record
    method, encoder, dataset = record.labels
    return dataset, method, encoder, f"{-1 if record.seed is None else record.seed:06d}", record.id


def _line(record: Record) -> bytes:
    body = as_json(record)
    if body["failure"]:
        body["failure"].pop("traceback", None)  # it holds file names of a machine
    return record_text(body, sort_keys=True)
