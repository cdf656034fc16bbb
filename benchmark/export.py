"""Finished records become a leaderboard that lives in git: one .jsonl, one .outcomes.npz and one .csv for each dataset.

Records are added or replaced by cell id; whatever else is there stays. The .csv is always rebuilt from the .jsonl.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.atomic import replaced
from benchmark.errors import RecordError
from benchmark.records import PREDICTIONS, Record, from_json
from benchmark.tables import write_csv

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
    for name, group in groups.items():
        _export_board(name, group, to)
    return {name: len(group) for name, group in groups.items()}


def board_name(record: Record) -> str:
    """The dataset's name without its subset: every subset of a dataset shares its leaderboard."""
    return str(record.cell["dataset"]["label"]).partition("[")[0]


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
        except ValueError as error:
            raise RecordError(f"{path}, line {number}, is not whole ({error}); restore the file from git") from error
    return found


def read_outcomes(path: Path) -> Arrays:
    """Per-image outcomes of a leaderboard: `<cell>|<score>` -> (n,) bool, or float32 where they are no yes or no."""
    found: Arrays = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            key, _, kind = name.rpartition("|")
            packed = file[name]
            if kind.startswith("bits="):
                found[key] = np.unpackbits(packed, count=int(kind.removeprefix("bits="))).astype(bool)
            else:
                found[key] = packed.astype(np.float32)
    return found


def _export_board(name: str, records: Sequence[Record], to: Path) -> None:
    path = to / f"{name}.jsonl"
    board = {record.id: record for record in read_board(path)}
    stored = to / f"{name}.outcomes.npz"
    arrays: Arrays = {}
    if stored.exists():
        with np.load(stored, allow_pickle=False) as file:
            new = {record.id[:16] for record in records}
            arrays = {key: file[key] for key in file.files if key.partition("|")[0] not in new}
    for record in records:
        board[record.id] = record
        arrays.update(_packed(record))
    ordered = sorted(board.values(), key=_order)
    with replaced(stored) as file_out:
        np.savez_compressed(file_out, allow_pickle=False, **{key: arrays[key] for key in sorted(arrays)})
    with replaced(path) as file_out:
        file_out.write("".join(_line(record) for record in ordered).encode())
    with replaced(to / f"{name}.csv") as file_out:
        file_out.write(write_csv(ordered).encode())


def _order(record: Record) -> tuple[str, ...]:
    cell = record.cell
    labels = (str(cell[kind]["label"]) for kind in ("dataset", "method", "encoder"))
    return (*labels, f"{-1 if cell['seed'] is None else cell['seed']:06d}", record.id)


def _line(record: Record) -> str:
    body = dataclasses.asdict(record)
    del body["folder"]
    return json.dumps(body, sort_keys=True) + "\n"


def _packed(record: Record) -> Mapping[str, np.ndarray[Any, np.dtype[Any]]]:
    """Yes or no as packed bits (1.25 KB for 10,000 images), everything else as float16."""
    path = Path(record.folder) / PREDICTIONS
    try:
        with np.load(path, allow_pickle=False) as file:
            outcomes = {s.outcomes: file[s.outcomes] for s in record.scores if s.outcomes and s.outcomes in file.files}
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be read ({error}); run the cell again with --rerun all") from error
    packed = {}
    for name, values in outcomes.items():
        key = f"{record.id[:16]}|{name}"
        if values.dtype == bool:
            packed[f"{key}|bits={len(values)}"] = np.packbits(values)
        else:
            packed[f"{key}|float16"] = values.astype(np.float16)
    return packed
