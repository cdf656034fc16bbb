"""Leaderboards: adding and replacing records, outcomes, damage."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_records import sample_record, sample_score

from benchmark.errors import RecordError
from benchmark.records.dataframe import records_csv
from benchmark.records.export import export
from benchmark.records.leaderboard import leaderboard_name, read_leaderboard
from benchmark.records.outcomes import read_outcomes
from benchmark.records.record import PREDICTIONS, Record
from benchmark.records.record_files import read_record, write_record

HITS = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1], dtype=bool)
PRECISIONS = np.array([0.0, 1.0, 0.5, 1 / 3, np.nan, 0.1, 0.999, 0.25, 0.7, 0.2, 0.6], dtype=np.float32)


ACCURACY = "layer4|average|knn|knn@1|accuracy@k=20"
MAP = "layer4|average|knn|knn@1|map"


def _cell(runs: Path, arrays: dict[str, Any] | None = None, **words: Any) -> Record:
    """A finished cell in a folder of its own, with outcomes."""
    arrays = {ACCURACY: HITS, MAP: PRECISIONS, "layer4|prediction|class": np.arange(11)} | (arrays or {})
    accuracy, precision = (
        sample_score(float(np.nanmean(arrays[name])), outcomes=name, n=len(arrays[name]))
        if arrays[name].dtype != object
        else sample_score(outcomes=name)
        for name in (ACCURACY, MAP)
    )
    precision = dataclasses.replace(precision, metric="map", headline=False)
    record = sample_record(
        scores=(accuracy, precision, sample_score(0.25, metric="rank", ci_low=None, ci_high=None)), **words
    )
    folder = runs / record.id[:12]
    write_record(folder, record)
    np.savez_compressed(folder / PREDICTIONS, **arrays)
    return read_record(folder)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.exists() else {}


# --- what is written --------------------------------------------------------------------------------------------------


def test_export_writes_three_files_per_dataset(tmp_path: Path) -> None:
    records = [_cell(tmp_path), _cell(tmp_path, seed=1), _cell(tmp_path, dataset="cifar10")]
    assert export(records, tmp_path / "results") == {"digits": 2, "cifar10": 1}
    assert sorted(_bytes(tmp_path / "results")) == [
        *("cifar10.csv", "cifar10.jsonl", "cifar10.outcomes.npz"),
        *("digits.csv", "digits.jsonl", "digits.outcomes.npz"),
    ]


def test_exported_records_are_read_back_and_the_csv_agrees(tmp_path: Path) -> None:
    records = [_cell(tmp_path, seed=seed) for seed in (1, 0, None)]
    export(records, tmp_path / "results")
    board = read_leaderboard(tmp_path / "results" / "digits.jsonl")
    assert [record.cell["seed"] for record in board] == [None, 0, 1]
    plain = {record.id: dataclasses.replace(record, folder="") for record in records}
    exported = {record.id: dataclasses.replace(record, folder="") for record in board}
    assert all(record.checks.pop("arrays_sha256") for record in exported.values())
    assert exported == plain
    assert (tmp_path / "results" / "digits.csv").read_text() == records_csv(board)
    assert str(tmp_path) not in (tmp_path / "results" / "digits.jsonl").read_text()


def test_jsonl_has_one_record_per_line(tmp_path: Path) -> None:
    export([_cell(tmp_path, seed=seed) for seed in range(3)], tmp_path / "results")
    lines = (tmp_path / "results" / "digits.jsonl").read_text().splitlines()
    assert [json.loads(line)["cell"]["seed"] for line in lines] == [0, 1, 2]


def test_outcomes_are_exact_bits_or_half_precision(tmp_path: Path) -> None:
    record = _cell(tmp_path)
    export([record], tmp_path / "results")
    outcomes = read_outcomes(tmp_path / "results" / "digits.outcomes.npz")
    hits, precisions = (outcomes[f"{record.id[:16]}|{score.outcomes}"] for score in record.scores[:2])
    assert len(outcomes) == 2, "predictions stay with the run"
    assert hits.dtype == bool
    np.testing.assert_array_equal(hits, HITS)
    assert precisions.dtype == np.float32
    np.testing.assert_array_equal(precisions, PRECISIONS.astype(np.float16).astype(np.float32))
    np.testing.assert_allclose(precisions, PRECISIONS, atol=5e-4)


def test_binary_outcomes_take_one_bit_each(tmp_path: Path) -> None:
    name, hits = ACCURACY, np.random.default_rng(0).random(10_000) < 0.5
    record = _cell(tmp_path, arrays={name: hits})
    export([record], tmp_path / "results")
    with np.load(tmp_path / "results" / "digits.outcomes.npz") as file:
        assert file[f"{record.id[:16]}|{name}|bits=10000"].nbytes == 1250
    np.testing.assert_array_equal(
        read_outcomes(tmp_path / "results" / "digits.outcomes.npz")[f"{record.id[:16]}|{name}"], hits
    )


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    record = _cell(tmp_path, arrays={MAP: np.array([{"a": 1}], dtype=object)})
    with pytest.raises(RecordError, match=r"cannot read .*predictions\.npz"):
        export([record], tmp_path / "results")


# --- adding and replacing ---------------------------------------------------------------------------------------------


def test_repeated_export_changes_no_byte(tmp_path: Path) -> None:
    records = [_cell(tmp_path, seed=seed) for seed in range(3)]
    export(records, tmp_path / "results")
    before = _bytes(tmp_path / "results")
    export(records[::-1], tmp_path / "results")
    assert _bytes(tmp_path / "results") == before


def test_export_one_by_one_gives_the_same_bytes(tmp_path: Path) -> None:
    records = [_cell(tmp_path, seed=seed, method=method) for seed in (10, 9) for method in ("dim", "aet")]
    export(records, tmp_path / "at once")
    for record in records:
        export([record], tmp_path / "one by one")
    assert _bytes(tmp_path / "one by one") == _bytes(tmp_path / "at once")
    board = read_leaderboard(tmp_path / "at once" / "digits.jsonl")
    order = [(record.cell["method"]["label"], record.cell["seed"]) for record in board]
    assert order == [("aet", 9), ("aet", 10), ("dim", 9), ("dim", 10)]


def test_export_of_another_cell_keeps_existing_rows(tmp_path: Path) -> None:
    export([_cell(tmp_path, seed=seed) for seed in (0, 2)], tmp_path / "results")
    before = (tmp_path / "results" / "digits.csv").read_text().splitlines()
    outcomes = read_outcomes(tmp_path / "results" / "digits.outcomes.npz")
    export([_cell(tmp_path, seed=1)], tmp_path / "results")
    after = (tmp_path / "results" / "digits.csv").read_text().splitlines()
    assert [row for row in after if row in before] == before
    assert len(after) == len(before) + 3
    again = read_outcomes(tmp_path / "results" / "digits.outcomes.npz")
    assert len(again) == 6
    for key, values in outcomes.items():
        np.testing.assert_array_equal(again[key], values)


def test_export_replaces_a_cell_with_its_outcomes(tmp_path: Path) -> None:
    first = _cell(tmp_path / "first")
    other = _cell(tmp_path / "first", seed=1)
    export([first, other], tmp_path / "results")
    # Scored again, without the mean precision of before.
    second = _cell(tmp_path / "second", arrays={ACCURACY: ~HITS})
    second = dataclasses.replace(second, scores=second.scores[:1])
    assert second.id == first.id
    export([second], tmp_path / "results")
    board = read_leaderboard(tmp_path / "results" / "digits.jsonl")
    assert [record.scores[0].value for record in board] == [4 / 11, 7 / 11]
    outcomes = read_outcomes(tmp_path / "results" / "digits.outcomes.npz")
    assert len(outcomes) == 1 + 2, "outcomes of a score that is no longer there are gone"
    np.testing.assert_array_equal(outcomes[f"{first.id[:16]}|{first.scores[0].outcomes}"], ~HITS)
    np.testing.assert_array_equal(outcomes[f"{other.id[:16]}|{other.scores[0].outcomes}"], HITS)


@pytest.mark.parametrize("state", ["failed", "interrupted", "smoke"])
def test_unfinished_and_smoke_records_are_not_exported(state: Any, tmp_path: Path) -> None:
    done, other = _cell(tmp_path), dataclasses.replace(_cell(tmp_path, seed=1), state=state)
    assert export([done, other], tmp_path / "results") == {"digits": 1}
    assert [record.id for record in read_leaderboard(tmp_path / "results" / "digits.jsonl")] == [done.id]
    assert export([other], tmp_path / "none") == {}
    assert not (tmp_path / "none").exists()


def test_record_that_failed_to_learn_is_exported_as_did_not_learn(tmp_path: Path) -> None:
    record = dataclasses.replace(_cell(tmp_path), checks={"trained": True, "failed_to_learn": True})
    export([record], tmp_path / "results")
    assert "did not learn" in (tmp_path / "results" / "digits.csv").read_text()


# --- names ------------------------------------------------------------------------------------------------------------


def test_subsets_share_a_leaderboard(tmp_path: Path) -> None:
    records = [_cell(tmp_path), _cell(tmp_path, dataset="digits[subset=100]")]
    assert export(records, tmp_path / "results") == {"digits": 2}
    assert [record.cell["dataset"]["label"] for record in read_leaderboard(tmp_path / "results" / "digits.jsonl")] == [
        "digits",
        "digits[subset=100]",
    ]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("../../outside", "outside"),
        ("/etc/passwd", "etc-passwd"),
        ("..", "dataset"),
        ("", "dataset"),
        ("my photos[subset=50]", "my-photos"),
        ("photos [2024]", "photos-2024"),
        ("日本", "dataset-cf2abf"),
        ("猫", "dataset-a810bf"),
        ("cifar10", "cifar10"),
        ("v1.2_b", "v1.2_b"),
    ],
)
def test_leaderboard_name_is_a_safe_file_name(label: str, name: str, tmp_path: Path) -> None:
    record = _cell(tmp_path / "runs", dataset=label)
    assert leaderboard_name(record) == name
    export([record], tmp_path / "results")
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "results"}
    assert (tmp_path / "results" / f"{name}.csv").exists()


def test_datasets_with_the_same_file_name_have_separate_leaderboards(tmp_path: Path) -> None:
    first, second = (
        _cell(tmp_path / "runs", dataset=label, method=method) for label, method in (("a b", "aet"), ("a+b", "dim"))
    )
    names = list(export([first, second], tmp_path / "results"))
    assert names[0] == "a-b"
    assert names[1].startswith("a-b-")
    for records in ([second], [second, first]):
        assert sorted(export(records, tmp_path / "results")) == sorted(names)[-len(records) :]
    read = [read_leaderboard(tmp_path / "results" / f"{name}.jsonl") for name in names]
    assert [[record.labels[2] for record in records] for records in read] == [["a b"], ["a+b"]]


# --- damage -----------------------------------------------------------------------------------------------------------


def test_missing_leaderboard_is_empty(tmp_path: Path) -> None:
    assert read_leaderboard(tmp_path / "digits.jsonl") == []


@pytest.mark.parametrize("damage", ['{"id": "half', "<<<<<<< HEAD", '{"schema_version": 9}', '{"schema_version": 1}'])
def test_damaged_line_is_named_and_nothing_changes(damage: str, tmp_path: Path) -> None:
    export([_cell(tmp_path, seed=0), _cell(tmp_path, dataset="cifar10")], tmp_path / "results")
    path = tmp_path / "results" / "digits.jsonl"
    path.write_text(path.read_text() + damage + "\n")
    before = _bytes(tmp_path / "results")
    # The undamaged leaderboard comes first and must not be written before the other is read.
    with pytest.raises(
        RecordError, match=r"line 2: .*digits\.jsonl .*(restore the file from git|the repbench that wrote it)"
    ):
        export([_cell(tmp_path, dataset="cifar10", seed=1), _cell(tmp_path, seed=1)], tmp_path / "results")
    assert _bytes(tmp_path / "results") == before


@pytest.mark.parametrize("length", [0, 10, 100, -30])
def test_damaged_outcomes_are_named_and_nothing_changes(length: int, tmp_path: Path) -> None:
    export([_cell(tmp_path)], tmp_path / "results")
    path = tmp_path / "results" / "digits.outcomes.npz"
    path.write_bytes(path.read_bytes()[:length])
    before = _bytes(tmp_path / "results")
    with pytest.raises(RecordError, match=r"cannot read .*digits\.outcomes\.npz .*restore the file from git"):
        export([_cell(tmp_path, seed=1)], tmp_path / "results")
    assert _bytes(tmp_path / "results") == before
    with pytest.raises(RecordError, match="cannot read"):
        read_outcomes(path)


@pytest.mark.parametrize("length", [None, 0, 10, -30])
def test_damaged_predictions_are_named_and_nothing_changes(length: int | None, tmp_path: Path) -> None:
    record = _cell(tmp_path)
    path = Path(record.folder) / PREDICTIONS
    if length is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RecordError, match=r"cannot read .*predictions\.npz.*--rerun all"):
        export([_cell(tmp_path, seed=1, dataset="cifar10"), record], tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_unwritable_folder_is_a_record_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(RecordError, match="cannot be written"):
        export([_cell(tmp_path)], tmp_path / "results")


@pytest.mark.parametrize("label", ["speed", "Speed", "x" * 5000])
def test_name_of_a_leaderboard_is_short_and_not_that_of_the_speed_file(label: str, tmp_path: Path) -> None:
    (name,) = export([sample_record(dataset=label)], tmp_path)
    assert len(name) < 120
    assert re.fullmatch(r"(?i)(speed|x+)-[0-9a-f]{6}", name)
    assert not (tmp_path / "speed.csv").exists()


def test_csv_without_its_records_is_not_overwritten(tmp_path: Path) -> None:
    export([sample_record()], tmp_path)
    (tmp_path / "digits.jsonl").unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RecordError, match="so its rows would be lost"):
        export([sample_record(seed=1), sample_record(dataset="other")], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
