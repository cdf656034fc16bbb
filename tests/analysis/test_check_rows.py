"""What `bench check` reports about each score and cell: not comparable, missing, new or not requested."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_cells import (
    AET,
    ROTATION,
    Check,
    Json,
    cell_score,
    verdicts_of,
    write_cell,
    write_changed_seeds,
    write_failed,
    write_seeds,
)

from benchmark.errors import ExitCode
from benchmark.records.export import export
from benchmark.records.record import CHECKPOINT, RECORD
from benchmark.records.record_files import read_records


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dataset": {"fingerprint": "a" * 64}}, "different dataset fingerprint: aaaaaaaaaaaa and ffffffffffff"),
        ({"dataset": {"subset": 500}}, "different training subset: 500 and all"),
        ({"recipe": {"epochs": 12}}, "different budget or parameters: epochs=12 (baseline 6)"),
        ({"recipe": {"lr": 0.01}}, "different budget or parameters: lr=0.01 (baseline 0.001)"),
        ({"method": {"params": {"transform": "affine"}}}, "method transform=affine (baseline None)"),
        ({"encoder": {"params": {"width": 32}}}, "encoder width=32 (baseline None)"),
    ],
)
def test_different_settings_are_not_comparable(
    check: Check, baseline: Path, runs: Path, fields: Json, reason: str
) -> None:
    write_changed_seeds(runs, 0.80, **fields)
    code, body = check()
    assert (code, verdicts_of(body)) == (ExitCode.NOT_COMPARABLE, {AET: "not comparable"})
    assert reason in body["rows"][0]["remarks"]
    assert (body["rows"][0]["difference"], body["rows"][0]["p"]) == (None, None)
    assert not any(each.startswith("aet") for each in body["ignored"])  # the run requested it


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": "knn@2"}, "different protocol: knn@2 and knn@1"),
        ({"n": 999}, "different number of test images: 999 and 1000"),
        ({"params": {"k": [1]}}, "different evaluator parameters"),
    ],
)
def test_different_score_conditions_are_not_comparable(
    check: Check, baseline: Path, runs: Path, changes: Json, reason: str
) -> None:
    for seed in range(3):
        write_cell(runs, "aet", seed, cell_score(0.8, **changes))
    code, body = check()
    assert (code, verdicts_of(body)) == (4, {AET: "not comparable"})
    assert body["rows"][0]["remarks"].startswith(reason)


def test_only_the_latest_protocol_is_compared(check: Check, runs: Path, tmp_path: Path) -> None:
    for folder, now in ((tmp_path / "earlier", 0.80), (runs, 0.70)):
        for seed in range(3):
            write_cell(folder, "aet", seed, cell_score(0.9), cell_score(now + 0.002 * seed, protocol="knn@2"))
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    code, body = check()
    assert (code, verdicts_of(body)) == (1, {AET: "regressed"})
    assert body["rows"][0]["now"] == pytest.approx(0.702)


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_unfinished_cell_of_the_baseline_is_not_comparable(
    check: Check, baseline: Path, runs: Path, state: str
) -> None:
    write_seeds(runs, "aet", 0.80)
    write_failed(runs, "rotation", 1, state=state)
    code, body = check()
    assert (code, verdicts_of(body)) == (4, {AET: "no evidence", ROTATION: "not comparable"})
    assert f"seed 1 is {state}: loss is NaN" in [row["remarks"] for row in body["rows"]]


def test_unreadable_record_is_not_comparable(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    write_seeds(runs, "rotation", 0.75)
    assert check()[0] == 0
    torn = next(runs.glob("rotation-s1-*")) / RECORD
    torn.write_text(torn.read_text()[:100])
    code, body = check()
    assert code == 4
    assert any("is damaged" in row["remarks"] for row in body["rows"])


def test_cell_without_a_record_is_not_comparable(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    (runs / "rotation-s0-0123456789").mkdir()
    (runs / "rotation-s0-0123456789" / CHECKPOINT).touch()
    code, body = check()
    assert code == 4
    assert body["rows"][-1]["cell"] == "rotation-s0-0123456789"


def test_failed_score_is_not_comparable(check: Check, runs: Path, tmp_path: Path) -> None:
    linear = cell_score(0.9, evaluator="linear", protocol="linear@1", metric="accuracy")
    for seed in range(3):
        write_cell(tmp_path / "earlier", "aet", seed, cell_score(0.8 + 0.002 * seed), linear)
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    failure = {"stage": "evaluate linear", "reason": "linear: singular", "traceback": ""}
    for seed in range(3):
        write_cell(runs, "aet", seed, 0.8 + 0.002 * seed, failure=failure if seed == 1 else None)
    code, body = check()
    assert code == 4
    lost = [row for row in body["rows"] if row["verdict"] == "not comparable"]
    assert [row["score"] for row in lost] == ["linear accuracy at layer4"]
    assert "singular" in lost[0]["remarks"]


def test_scores_that_were_not_requested_are_ignored(check: Check, runs: Path, tmp_path: Path) -> None:
    linear = cell_score(0.9, evaluator="linear", protocol="linear@1", metric="accuracy")
    for seed in range(3):
        write_cell(tmp_path / "earlier", "aet", seed, cell_score(0.8 + 0.002 * seed), linear)
        write_cell(tmp_path / "earlier", "aet", seed, cell_score(0.8 + 0.002 * seed), recipe={"epochs": 12})
    write_seeds(tmp_path / "earlier", "dim", 0.5)
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    write_seeds(runs, "aet", 0.80)
    code, body = check()
    assert (code, verdicts_of(body)) == (0, {AET: "no evidence"})
    assert body["ignored"] == [
        "aet/resnet18/digits (12 epochs)",
        "dim/resnet18/digits (6 epochs)",
        "aet/resnet18/digits: linear accuracy at layer4",
    ]


def test_new_scores_are_listed_and_pass(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    write_cell(runs, "dim", 0, 0.5)
    write_cell(runs, "pixels", None, cell_score(0.7), cell_score(0.1, metric="map"))
    code, body = check()
    assert code == 0
    new = [(row["cell"], row["score"]) for row in body["rows"] if row["verdict"] == "new"]
    assert new == [
        ("dim/resnet18/digits", "knn accuracy@k=20 at layer4"),
        ("pixels/resnet18/digits", "knn map at layer4"),
    ]
