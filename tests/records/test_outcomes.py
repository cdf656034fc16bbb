"""Per-image outcomes of cell folders and leaderboards."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sample_records import sample_record, sample_score

from benchmark.errors import RecordError
from benchmark.records.outcomes import pack_outcomes, read_outcomes, read_predictions
from benchmark.records.record import PREDICTIONS

HITS = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1], dtype=bool)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cell folder with two arrays."""
    np.savez_compressed(tmp_path / PREDICTIONS, hits=HITS, classes=np.arange(9))
    return tmp_path


def test_read_predictions_reads_all_or_named_arrays(folder: Path) -> None:
    assert sorted(read_predictions(folder)) == ["classes", "hits"]
    (name,) = named = read_predictions(folder, ["hits", "absent"])
    assert name == "hits"
    np.testing.assert_array_equal(named["hits"], HITS)


def test_missing_predictions_are_empty(tmp_path: Path) -> None:
    assert read_predictions(tmp_path) == {}


@pytest.mark.parametrize("position", range(0, 200, 10))
def test_damaged_predictions_raise_nothing_but_a_record_error(position: int, folder: Path) -> None:
    whole = (folder / PREDICTIONS).read_bytes()
    damaged = whole[:position] + bytes(20) + whole[position + 20 :]
    (folder / PREDICTIONS).write_bytes(damaged)
    with contextlib.suppress(RecordError):
        np.testing.assert_array_equal(read_predictions(folder)["hits"], HITS)


@pytest.mark.parametrize("length", [0, 1, 30, -30])
def test_truncated_predictions_are_a_record_error(length: int, folder: Path) -> None:
    (folder / PREDICTIONS).write_bytes((folder / PREDICTIONS).read_bytes()[:length])
    with pytest.raises(RecordError, match=r"cannot read .*predictions\.npz .*--rerun all"):
        read_predictions(folder)


def test_pickled_predictions_are_refused(folder: Path) -> None:
    np.savez(folder / PREDICTIONS, hits=np.array([{"a": 1}], dtype=object))
    with pytest.raises(RecordError, match=r"cannot read .*predictions\.npz"):
        read_predictions(folder)


def test_packed_outcomes_are_read_back(folder: Path, tmp_path: Path) -> None:
    score = sample_score(float(HITS.mean()), n=len(HITS), outcomes="hits")
    record = dataclasses.replace(sample_record(scores=(score,)), folder=str(folder))
    np.savez(tmp_path / "x.outcomes.npz", **pack_outcomes(record))  # type: ignore[arg-type]  # numpy's stub
    outcomes = read_outcomes(tmp_path / "x.outcomes.npz")
    assert list(outcomes) == [record.outcomes_key(record.scores[0])]
    np.testing.assert_array_equal(outcomes[record.outcomes_key(record.scores[0])], HITS)
