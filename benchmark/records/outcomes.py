"""Per-image outcomes: predictions.npz of a cell folder, and the packed .outcomes.npz of a leaderboard."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import RecordError
from benchmark.records.record import PREDICTIONS, Record

Arrays = dict[str, NDArray[Any]]
RERUN = "run the cell again with --rerun all"
RESTORE = "restore the file from git"


def read_predictions(folder: Path, names: Collection[str] | None = None) -> Arrays:
    """Arrays of a cell's predictions.npz, (images,) each; empty if there is no such file.

    Args:
        folder: the cell's.
        names: arrays to read, those that exist; None: all.

    Raises:
        RecordError: the file is damaged.
    """
    path = folder / PREDICTIONS
    if not path.exists():
        return {}
    with _open_npz(path, RERUN) as file:
        return {name: file[name] for name in file.files if names is None or name in names}


def pack_outcomes(record: Record) -> Arrays:
    """The outcomes of a record's scores in the format of a leaderboard.

    Binary outcomes become packed bits (1.25 KB for 10,000 images), all others float16.

    Raises:
        RecordError: predictions.npz is missing or damaged.
    """
    scores = [score for score in record.scores if score.outcomes]
    packed: Arrays = {}
    with _open_npz(Path(record.folder) / PREDICTIONS, RERUN) as file:
        for score in scores:
            if score.outcomes in file.files:
                values, key = file[score.outcomes], f"{record.id[:16]}|{score.outcomes}"
                if values.dtype == bool:
                    packed[f"{key}|bits={len(values)}"] = np.packbits(values)
                else:
                    packed[f"{key}|float16"] = values.astype(np.float16)
    return packed


def read_packed(path: Path) -> Arrays:
    """The arrays of an .outcomes.npz as they are stored.

    Raises:
        RecordError: the file is missing or damaged.
    """
    with _open_npz(path, RESTORE) as file:
        return {name: file[name] for name in file.files}


def read_outcomes(path: Path) -> Arrays:
    """The outcomes of a leaderboard by `Record.outcomes_key`: (images,) bool, or float32 if they are not binary.

    Raises:
        RecordError: the file is missing or damaged.
    """
    outcomes: Arrays = {}
    for name, packed in read_packed(path).items():
        key, _, encoding = name.rpartition("|")
        if encoding.startswith("bits="):
            outcomes[key] = np.unpackbits(packed, count=int(encoding.removeprefix("bits="))).astype(bool)
        else:
            outcomes[key] = packed.astype(np.float32)
    return outcomes


@contextlib.contextmanager
def _open_npz(path: Path, remedy: str) -> Iterator[Any]:
    """An .npz file. Every way in which it can be damaged becomes a RecordError."""
    try:
        # numpy leaves a damaged file open if it opens the file itself.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            yield file
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"cannot read {path} ({error}); {remedy}") from error
