"""Finished records become a leaderboard that lives in git: one .jsonl, one .outcomes.npz and one .csv for each dataset.

Records are added or replaced by cell id; whatever else is there stays. The .csv is always rebuilt from the .jsonl.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.dataframe import write_csv
from benchmark.records.record import PREDICTIONS, Record, from_json

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def export(records: Sequence[Record], to: Path) -> dict[str, int]:
    """Adds finished records to the leaderboards under `to`, and gives the number added for each dataset.

    Smoke records, failed and interrupted ones stay out.

    Raises:
        RecordError: a file of the leaderboard is damaged, or the folder cannot be written; nothing is changed then.
    """
    done = [record for record in records if record.state == "done"]
    groups: dict[str, list[Record]] = {}
    for record in done:
        groups.setdefault(board_name(record), []).append(record)
    boards = [_merged(name, group, to) for name, group in groups.items()]
    for board in boards:
        _write(board)
    return {name: len(group) for name, group in groups.items()}


def board_name(record: Record) -> str:
    """The dataset's name without its subset, as a file name: every subset of a dataset shares its leaderboard."""
    name = str(record.cell["dataset"]["label"]).partition("[subset=")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "dataset"


def read_board(path: Path) -> list[Record]:
    """The records of a leaderboard's .jsonl; none where there is no such file.

    Raises:
        RecordError: a line is no record; it is named.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(from_json(json.loads(line), path))
        except (ValueError, RecordError) as error:
            raise RecordError(f"{path}, line {number}, is not whole ({error}); restore the file from git") from error
    return found


def read_outcomes(path: Path) -> Arrays:
    """Per-image outcomes of a leaderboard: `<cell>|<score>` -> (n,) bool, or float32 where they are no yes or no."""
    found: Arrays = {}
    for name, packed in _stored(path).items():
        key, _, kind = name.rpartition("|")
        if kind.startswith("bits="):
            found[key] = np.unpackbits(packed, count=int(kind.removeprefix("bits="))).astype(bool)
        else:
            found[key] = packed.astype(np.float32)
    return found


@dataclass(frozen=True, kw_only=True)
class _Board:
    """A leaderboard as it is to be written."""

    path: Path
    """Without the endings of its three files."""
    records: list[Record]
    arrays: Arrays
    """Packed outcomes, as stored."""


def _merged(name: str, records: Sequence[Record], to: Path) -> _Board:
    path = to / name
    board = {record.id: record for record in read_board(_ending(path, ".jsonl"))}
    stored = _ending(path, ".outcomes.npz")
    new = {record.id[:16] for record in records}
    earlier = _stored(stored) if stored.exists() else {}
    arrays = {key: array for key, array in earlier.items() if key.partition("|")[0] not in new}
    for record in records:
        board[record.id] = record
        arrays.update(_packed(record))
    return _Board(path=path, records=sorted(board.values(), key=_order), arrays=arrays)


def _write(board: _Board) -> None:
    with replaced(_ending(board.path, ".outcomes.npz")) as file:
        np.savez_compressed(file, **{key: board.arrays[key] for key in sorted(board.arrays)})  # type: ignore[arg-type]  # numpy's stub takes the keywords for its own options
    with replaced(_ending(board.path, ".jsonl")) as file:
        file.write("".join(_line(record) for record in board.records).encode())
    with replaced(_ending(board.path, ".csv")) as file:
        file.write(write_csv(board.records).encode())


def _ending(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _stored(path: Path) -> Arrays:
    with _opened(path, "restore the file from git") as file:
        return {name: file[name] for name in file.files}


@contextlib.contextmanager
def _opened(path: Path, remedy: str) -> Iterator[Any]:
    """An .npz file; what can be wrong with it becomes a RecordError that says what to do."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            yield file
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} is not whole ({error}); {remedy}") from error


def _order(record: Record) -> tuple[str, ...]:
    cell = record.cell
    labels = (str(cell[kind]["label"]) for kind in ("dataset", "method", "encoder"))
    return (*labels, f"{-1 if cell['seed'] is None else cell['seed']:06d}", record.id)


def _line(record: Record) -> str:
    body = dataclasses.asdict(record)
    del body["folder"]
    if body["failure"]:
        del body["failure"]["traceback"]  # names files of somebody's machine
    return json.dumps(body, sort_keys=True) + "\n"


def _packed(record: Record) -> Mapping[str, np.ndarray[Any, np.dtype[Any]]]:
    """Yes or no as packed bits (1.25 KB for 10,000 images), everything else as float16."""
    path = Path(record.folder) / PREDICTIONS
    with _opened(path, "run the cell again with --rerun all") as file:
        outcomes = {s.outcomes: file[s.outcomes] for s in record.scores if s.outcomes and s.outcomes in file.files}
    packed = {}
    for name, values in outcomes.items():
        key = f"{record.id[:16]}|{name}"
        if values.dtype == bool:
            packed[f"{key}|bits={len(values)}"] = np.packbits(values)
        else:
            packed[f"{key}|float16"] = values.astype(np.float16)
    return packed
