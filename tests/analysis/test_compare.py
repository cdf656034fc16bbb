"""The two questions that `bench compare` answers, and what cannot be compared."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Bench
from sample_cells import AET, IMAGES, ROTATION, Compare, cell_score, changed_cell, outcomes_of, write_cell

from benchmark.records.export import export
from benchmark.records.record import PREDICTIONS
from benchmark.records.record_files import read_records

SHORTER = outcomes_of(0, 0.5)[:999]
LONGER = np.append(outcomes_of(0, 0.5).astype(np.float32), np.float32(np.nan))
OTHER_DATA = changed_cell("other", dataset={"fingerprint": "a" * 64})


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["verdict"] for row in rows]


def test_compare_detects_five_points_in_both_questions(compare: Compare) -> None:
    checkpoints, methods = compare(AET, ROTATION)
    assert checkpoints["question"] == "these checkpoints"
    assert methods["question"] == "methods across seeds"
    for row in (checkpoints, methods):
        assert row["verdict"] == "better"
        assert row["difference"] == pytest.approx(0.05)
        assert 0 < row["low"] < 0.05 < row["high"]
        assert row["p"] < 0.01
        assert 0 < row["minimal_detectable"] < 0.05
        assert (row["seeds_a"], row["seeds_b"], row["images"]) == (3, 3, IMAGES)


def test_compare_of_a_method_with_itself_gives_no_evidence(compare: Compare) -> None:
    rows = compare(AET, AET)
    assert verdicts(rows) == ["no evidence", "no evidence"]
    assert [(row["difference"], row["p"]) for row in rows] == [(0.0, 1.0), (0.0, 1.0)]
    assert verdicts(compare(f"{AET}/0", f"{AET}/0")) == ["no evidence", "checkpoint only"]


def test_compare_swaps_signs_with_the_sides(compare: Compare) -> None:
    for row, swapped in zip(compare(AET, ROTATION), compare(ROTATION, AET), strict=True):
        assert swapped["verdict"] == "worse"
        assert swapped["difference"] == pytest.approx(-row["difference"])
        assert (swapped["low"], swapped["high"]) == pytest.approx((-row["high"], -row["low"]))
        assert swapped["p"] == pytest.approx(row["p"])


def test_compare_inverts_scores_where_lower_is_better(compare: Compare, two_methods: Path) -> None:
    for seed in range(3):
        for method, share in (("low", 0.7), ("high", 0.8)):
            write_cell(two_methods, method, seed, cell_score(share, higher_is_better=False))
    assert verdicts(compare("high/resnet18/digits", "low/resnet18/digits")) == ["worse", "worse"]


def test_compare_with_one_seed_tests_checkpoints_only(compare: Compare) -> None:
    checkpoints, methods = compare(f"{AET}/0", ROTATION)
    assert checkpoints["verdict"] == "better"
    assert methods["verdict"] == "checkpoint only"
    assert methods["p"] is methods["low"] is methods["minimal_detectable"] is None
    assert methods["remarks"] == "One seed of A: variance across seeds unknown"


def test_compare_tests_seedless_methods(compare: Compare, two_methods: Path) -> None:
    write_cell(two_methods, "pixels", None, 0.7)
    assert verdicts(compare(AET, "pixels/resnet18/digits")) == ["better", "better"]


def test_compare_excludes_images_without_an_outcome(compare: Compare, two_methods: Path) -> None:
    for method, share in (("one", 0.8), ("two", 0.7)):
        for seed in range(2):
            outcomes = outcomes_of(seed, share).astype(np.float32)
            outcomes[::10] = np.nan
            score = cell_score(float(np.nanmean(outcomes)), n=900)
            write_cell(two_methods, method, seed, score, arrays={score.outcomes or "": outcomes})
    for row in compare("one/resnet18/digits", "two/resnet18/digits"):
        assert row["images"] == 900
        assert row["difference"] == pytest.approx(0.1, abs=0.02)


def test_compare_without_outcomes_uses_seeds_only(compare: Compare, two_methods: Path) -> None:
    for seed in range(3):
        record = write_cell(two_methods, "bare", seed, 0.6 + 0.001 * seed)
        (Path(record.folder) / PREDICTIONS).unlink()
    checkpoints, methods = compare(AET, "bare/resnet18/digits")
    assert (checkpoints["verdict"], checkpoints["remarks"]) == ("not comparable", "no per-image outcomes")
    assert methods["verdict"] == "better"
    assert "variance over test images not included" in methods["remarks"]


def test_compare_adjusts_over_all_scores(bench: Bench, two_methods: Path) -> None:
    for seed in range(3):
        for method in ("first", "second"):
            write_cell(two_methods, method, seed, *(cell_score(0.8, tap=tap) for tap in ("layer3", "layer4")))
    result = bench("compare", "first/resnet18/digits", "second/resnet18/digits", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["score"] for row in rows[::2]] == ["knn accuracy@k=20 at layer3", "knn accuracy@k=20 at layer4"]
    assert float(rows[0]["level"]) == pytest.approx(0.975)
    assert float(rows[0]["adjusted_p"]) >= float(rows[0]["p"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"score": {"protocol": "knn@2"}}, "different protocol: knn@1 and knn@2"),
        ({"score": {"n": 999}, "outcomes": SHORTER}, "different number of test images: 1000 and 999"),
        ({"score": {"params": {"k": [1]}}}, "different evaluator parameters"),
        ({"score": {"metric": "map"}}, "A has no such score"),
        ({"outcomes": LONGER}, "different test images: 1000 images against 1001"),
        ({"cell": OTHER_DATA}, "different dataset fingerprint: ffffffffffff and aaaaaaaaaaaa"),
        ({"cell": changed_cell("other", dataset={"subset": 500})}, "different training subset: all and 500"),
        ({"cell": changed_cell("other", dataset={"name": "cifar10"})}, "different dataset: digits and cifar10"),
        ({"state": "smoke"}, "B has no result: its state is smoke"),
    ],
)
def test_compare_names_the_condition_that_differs(
    compare: Compare, two_methods: Path, changes: dict[str, Any], reason: str
) -> None:
    name = "layer4|average|knn|knn@1|accuracy@k=20"
    score = cell_score(0.5, **{"outcomes": name, **changes.get("score", {})})
    arrays = {name: changes.get("outcomes", outcomes_of(0, 0.5))}
    cell = {key: value for key, value in changes.items() if key not in ("score", "outcomes")}
    record = write_cell(two_methods, "other", 0, score, arrays=arrays, **cell)
    rows = compare(f"{AET}/0", record.folder)
    named = [row for row in rows if row["remarks"].startswith(reason)]
    assert named, rows
    assert set(verdicts(named)) == {"not comparable"}
    assert all(row["p"] is None and row["difference"] is None for row in named)


def test_compare_uses_the_last_taps_of_encoders_without_a_common_tap(compare: Compare, two_methods: Path) -> None:
    record = write_cell(two_methods, "deep", 0, cell_score(0.5, tap="conv4"), encoder="blocknet")
    (row, _) = compare(f"{AET}/0", record.folder)
    assert row["score"] == "knn accuracy@k=20 at layer4 - conv4"
    assert row["verdict"] == "better"


def test_compare_lists_cells_of_one_side_only(bench: Bench, two_methods: Path, tmp_path: Path) -> None:
    export(read_records(two_methods)[0], tmp_path / "results")
    write_cell(two_methods, "extra", 0, 0.5)
    export(read_records(two_methods)[0], tmp_path / "more")
    result = bench("compare", "more/digits.jsonl", "results/digits.jsonl")
    assert result.exit_code == 0, result.output
    assert "Only in A: extra/resnet18/digits." in result.stdout


@pytest.mark.parametrize("form", ["table", "md", "latex"])
def test_compare_prints_both_questions_in_every_format(bench: Bench, two_methods: Path, form: str) -> None:
    result = bench("compare", AET, ROTATION, "--format", form)
    assert result.exit_code == 0, result.output
    for words in ("these checkpoints", "methods across seeds", "detectable", "+0.0500", "better"):
        assert words in result.stdout


def test_compare_of_real_runs_includes_cka(third_party: Path, bench: Bench) -> None:
    finished = bench(
        *("run", "--methods", "mean_color", "--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid"),
        *("--executor", "inline", "--device", "cpu", "--epochs", "1", "--no-floors", "--seeds", "2", "-q"),
    )
    assert finished.exit_code == 0, finished.output
    words = ("mean_color/tiny/stripes", "mean_color/tiny/stripes/1")
    result = bench("compare", *words, "--cka", "--format", "json")
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    assert verdicts(body["rows"][1:2]) == ["checkpoint only"]
    assert [row["pair"] for row in body["cka"]] == ["A with B", "A, two seeds"]
    assert all(0 <= row["cka"] <= 1 for row in body["cka"])
    table = bench("compare", words[0], words[0], "--cka")
    assert "linear CKA of average-pooled test features" in table.stdout
    assert "1.000" in table.stdout
