"""Per-image outcomes: predictions.npz of a cell folder, and the packed .outcomes.npz of a leaderboard.

Both files are replaced separately from the record, and may be exchanged or edited. Outcomes are used only if they are those of
their score: the checksum in the record is theirs, they are as many as the images, and their mean is the value. Those of other
scores are left out, and logged.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.api.evaluators import Measurement
from benchmark.errors import RecordError
from benchmark.records.npz_reader import DAMAGE, FILE_BYTES, NpzReader, read_arrays
from benchmark.records.number_arrays import Arrays, digest_of
from benchmark.records.record import PREDICTIONS, Record, Score
from benchmark.records.stored_file import open_kept

LOG = logging.getLogger("benchmark")
PREDICTIONS_FILE = "predictions_file"
"""Key among a record's checks: size and checksum of predictions.npz."""
DIGESTS = "arrays_sha256"
"""Key among a record's checks: name of an array -> its checksum. In a leaderboard: of the packed array."""
ABSENT = "the file lacks them"
RERUN = "run the cell again with --rerun all"
RESTORE = "restore the file from git, or export the cell again"
ROUNDING = 1e-5
"""Largest difference of a value and the mean of its outcomes, which evaluators compute in float32; relative above 1."""
KEPT_RECORDS = 100
"""Records of a leaderboard whose outcomes stay located."""
NO_ARRAYS = b"PK\x05\x06" + bytes(18)
"""An .npz file without arrays."""
HALF_ROUNDING = 2.0**-11
"""Largest relative error of a float16."""
SMALLEST_HALF = 2.0**-25
"""Largest absolute error of a float16 near 0."""


# --- are these the outcomes of this score? ----------------------------------------------------------------------------


def digests_of(arrays: Mapping[str, Any]) -> dict[str, str]:
    """The checksums of arrays by their names, as a record holds them."""
    return {name: digest_of(np.asarray(array)) for name, array in arrays.items()}


def mismatch(score: Score | Measurement, outcomes: NDArray[Any]) -> str:
    """Why outcomes are not those of a score; empty if they may be.

    Args:
        score: with its value and its number of images.
        outcomes: as stored: bool, or any float. NaN for an image without a value.
    """
    if outcomes.ndim != 1 or outcomes.dtype.kind not in "biuf":
        return f"an array of {outcomes.dtype} with shape {outcomes.shape} instead of one number for each image"
    if outcomes.dtype == bool and score.n == len(outcomes) > 0:  # most of them: a fifth of the time
        share = np.count_nonzero(outcomes) / score.n
        return "" if abs(share - score.value) <= ROUNDING else _mean_text(share)
    if len(outcomes) == score.n > 0 and abs(_mean(outcomes) - score.value) <= ROUNDING:
        return ""  # the usual case; never true with NaN
    values = outcomes.astype(np.float64)
    defined = values[~np.isnan(values)]
    if score.n not in (len(values), len(defined)) or not len(defined):
        return f"{len(values)} outcomes for {score.n} images"
    mean, size = float(defined.mean()), float(np.abs(defined).mean())
    half = outcomes.dtype == np.float16
    if half and np.isinf(size):
        return ""  # beyond the range of float16
    half = half or _is_half_precision(outcomes)
    tolerance = ROUNDING * max(1.0, size) + (HALF_ROUNDING * size + SMALLEST_HALF if half else 0.0)
    return "" if abs(mean - score.value) <= tolerance else _mean_text(mean)


def _mean_text(mean: float) -> str:
    return f"the mean of its outcomes is {mean:.6g}"


def _mean(outcomes: NDArray[Any]) -> float:
    if outcomes.dtype == bool:
        return np.count_nonzero(outcomes) / len(outcomes)
    return float(outcomes.sum(dtype=np.float64)) / len(outcomes)


def _is_half_precision(outcomes: NDArray[Any]) -> bool:
    """Whether all values are float16 numbers, as after a leaderboard was unpacked."""
    with np.errstate(over="ignore"):
        return outcomes.dtype.kind == "f" and np.array_equal(outcomes.astype(np.float16), outcomes, equal_nan=True)


def problem_with(record: Record, score: Score, outcomes: NDArray[Any] | None, stored: NDArray[Any] | None) -> str:
    """Why outcomes cannot be used for a score of a record; empty if they can.

    Args:
        record: with the checksums of its arrays, if it was written with any.
        score: one of its scores.
        outcomes: unpacked; None if the file lacks them.
        stored: as the file holds them.
    """
    if outcomes is None or stored is None:
        return ABSENT
    digest = (record.checks.get(DIGESTS) or {}).get(score.outcomes)
    if digest is not None and digest != digest_of(stored):
        return "their checksum is not that in the record"
    return mismatch(score, outcomes if stored.dtype != np.float16 else stored)


def _is_expected(record: Record, score: Score) -> bool:
    """Whether the outcomes of a score were written. Those of records of earlier versions may not have been kept."""
    return score.outcomes in (record.checks.get(DIGESTS) or {})


def _text(path: Path, record: Record, score: Score, problem: str, remedy: str) -> str:
    return (
        f"outcomes of {score.metric} of {score.evaluator} at {score.tap} of {record.name} ({record.short_id}) in {path}: "
        f"{problem}; {remedy}"
    )


# --- cell folders -----------------------------------------------------------------------------------------------------


def read_predictions(folder: Path, names: Collection[str] | None = None) -> Arrays:
    """Arrays of a cell's predictions.npz, (images, ...) each, not compared with the record; empty if there is no such file.

    Args:
        folder: the cell's.
        names: arrays to read, those that exist; None: all.

    Raises:
        RecordError: the file is damaged.
    """
    path = folder / PREDICTIONS
    return read_arrays(path, RERUN, names) if path.exists() or path.is_symlink() else {}


def read_outcome(record: Record, score: Score) -> NDArray[Any] | None:
    """The outcomes of one score, (images,), from the folder of its record; None if it has none, or they are not its own.

    Raises:
        RecordError: predictions.npz is damaged.
    """
    if score.outcomes is None:
        return None
    return _checked(record, score, read_predictions(Path(record.folder), [score.outcomes]))


class FolderOutcomes:
    """Reads the outcomes of scores from the folders of their records.

    Each folder is read once for all headline scores, and once more if others are needed.
    """

    def __init__(self) -> None:
        self._by_folder: dict[tuple[str, bool], Arrays] = {}

    def __call__(self, record: Record, score: Score) -> NDArray[Any] | None:
        """(images,) outcomes; None if the score has none, or they are damaged or not its own, which is logged."""
        if score.outcomes is None:
            return None
        key = record.folder, score.headline
        if key not in self._by_folder:
            self._by_folder[key] = self._read(record, headline=score.headline)
        return _checked(record, score, self._by_folder[key])

    def _read(self, record: Record, *, headline: bool) -> Arrays:
        names = {score.outcomes for score in record.scores if score.headline is headline and score.outcomes}
        try:
            return read_predictions(Path(record.folder), names)
        except RecordError as error:
            LOG.warning("left out: %s", error)
            return {}


def _checked(record: Record, score: Score, arrays: Arrays) -> NDArray[Any] | None:
    stored = arrays.get(score.outcomes or "")
    if stored is None and not _is_expected(record, score):
        return None
    problem = problem_with(record, score, stored, stored)
    if problem:
        LOG.warning("left out: %s", _text(Path(record.folder) / PREDICTIONS, record, score, problem, RERUN))
        return None
    return stored


def verified_predictions(record: Record) -> Arrays:
    """All arrays of a record's folder, outcomes and predictions.

    Raises:
        RecordError: predictions.npz is missing or damaged, or an array is not that of the record.
    """
    path = Path(record.folder) / PREDICTIONS
    arrays = read_arrays(path, RERUN)
    _check_outcomes(record, arrays)
    used = {score.outcomes for score in record.scores}
    digests: dict[str, str] = record.checks.get(DIGESTS) or {}
    for name, digest in digests.items():
        if name in used:
            continue
        if name not in arrays or digest_of(arrays[name]) != digest:
            raise RecordError(f"cannot use '{name}' in {path}: its checksum is not that in the record; {RERUN}")
    return arrays


def _check_outcomes(record: Record, arrays: Arrays) -> None:
    """Raises a RecordError if the outcomes of a score are missing or not its own."""
    for score in record.scores:
        if score.outcomes:
            stored = arrays.get(score.outcomes)
            problem = problem_with(record, score, stored, stored)
            if problem:
                path = Path(record.folder) / PREDICTIONS
                raise RecordError(f"cannot use the {_text(path, record, score, problem, RERUN)}")


# --- leaderboards -----------------------------------------------------------------------------------------------------


def pack_outcomes(record: Record) -> Arrays:
    """The outcomes of a record's scores in the format of a leaderboard.

    Binary outcomes become packed bits (1.25 KB for 10,000 images), all others float16.

    Raises:
        RecordError: predictions.npz is missing or damaged, or an array is not that of the record.
    """
    scores = [score for score in record.scores if score.outcomes]
    names = {str(score.outcomes) for score in scores}
    arrays = read_arrays(Path(record.folder) / PREDICTIONS, RERUN, names) if scores else {}
    _check_outcomes(record, arrays)
    packed: Arrays = {}
    for score in scores:
        values, key = arrays[str(score.outcomes)], f"{record.id[:16]}|{score.outcomes}"
        if values.dtype == bool:
            packed[f"{key}|bits={len(values)}"] = np.packbits(values)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # beyond the range of float16: infinite
                packed[f"{key}|float16"] = values.astype(np.float16)
    return packed


def packed_digests(record: Record, packed: Arrays) -> dict[str, str]:
    """The checksums of a record's packed outcomes by the names that its scores use."""
    start = len(record.id[:16]) + 1
    return {name.rpartition("|")[0][start:]: digest_of(array) for name, array in packed.items()}


def read_packed(path: Path) -> Arrays:
    """The arrays of an .outcomes.npz as they are stored.

    Raises:
        RecordError: the file is missing or damaged.
    """
    return read_arrays(path, RESTORE)


def read_outcomes(path: Path) -> Arrays:
    """The outcomes of a leaderboard by `Record.outcomes_key`, not compared with the records: (images,) bool, or float32 if
    they are not binary.

    Raises:
        RecordError: the file is missing or damaged.
    """
    stored = {name.rpartition("|")[0]: (name, array) for name, array in read_packed(path).items()}
    try:
        return {key: _unpack(name, array) for key, (name, array) in stored.items()}
    except ValueError as error:
        raise RecordError(f"cannot read {path} ({error}); {RESTORE}") from error


class LeaderboardOutcomes:
    """Reads the outcomes of scores from the .outcomes.npz of a leaderboard, each when it is needed.

    Args:
        path: of the file; without one there are no outcomes.
        name: the file in messages.
        strict: whether damaged outcomes are an error.

    Raises:
        RecordError: the file is damaged.
    """

    def __init__(self, path: Path, name: str = "", *, strict: bool = False) -> None:
        self._path = Path(name or path)
        self._strict = strict
        self._positions: dict[str, dict[str, tuple[str, int]]] = {}  # group -> key -> name, position
        try:
            self._file = NpzReader(open_kept(path, FILE_BYTES))
        except FileNotFoundError:
            self._file = NpzReader(io.BytesIO(NO_ARRAYS))
        except DAMAGE as error:
            raise RecordError(f"cannot read {self._path} ({error}); {RESTORE}") from error

    def __call__(self, record: Record, score: Score) -> NDArray[Any] | None:
        """(images,) bool, or float32; None if the score has none, or they are not its own, which is logged.

        Raises:
            RecordError: they are damaged, if the reader is strict.
        """
        if score.outcomes is None:
            return None
        try:
            name, position = self._positions_of(record).get(record.outcomes_key(score), ("", -1))
            if position < 0:
                if _is_expected(record, score):
                    self._leave_out(record, score, ABSENT)
                return None
            stored = self._file.read(self._file.member(position))
            outcomes = _unpack(name, stored)
        except DAMAGE as error:
            if self._strict:
                raise RecordError(f"cannot read {self._path} ({error}); {RESTORE}") from error
            self._leave_out(record, score, str(error))
            return None
        problem = problem_with(record, score, outcomes, stored)
        if problem:
            self._leave_out(record, score, problem)
            return None
        return outcomes

    def _positions_of(self, record: Record) -> dict[str, tuple[str, int]]:
        """The outcomes of a record by `Record.outcomes_key`; those of the last records are kept."""
        group = record.outcomes_group
        if group not in self._positions:
            if len(self._positions) >= KEPT_RECORDS:
                self._positions.clear()
            positions = self._file.positions(group)
            self._positions[group] = {name.rpartition("|")[0]: (name, at) for name, at in positions.items()}
        return self._positions[group]

    def _leave_out(self, record: Record, score: Score, problem: str) -> None:
        LOG.warning("left out: %s", _text(self._path, record, score, problem, RESTORE))


def _unpack(name: str, stored: NDArray[Any]) -> NDArray[Any]:
    """Outcomes from their packed form.

    Raises:
        ValueError: the name does not describe the array.
    """
    encoding = name.rpartition("|")[2]
    if encoding == "float16":
        return stored.astype(np.float32)
    count = encoding.removeprefix("bits=")
    if not count.isdecimal() or stored.dtype != np.uint8 or stored.shape != ((int(count[:18]) + 7) // 8,):
        raise ValueError(f"'{name}' does not describe an array of {stored.dtype} with shape {stored.shape}")
    return np.unpackbits(stored, count=int(count)).astype(bool)
