"""`bench check`: a run held against its baseline, with an exit code that a CI can act on."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import Bench
from numpy.typing import NDArray
from sample_records import sample_record, sample_score

from benchmark.analysis import check, check_report
from benchmark.records.leaderboard import export
from benchmark.records.record import CHECKPOINT, PREDICTIONS, RECORD, Record, Score, read_records, write_record
from benchmark.stats.comparison import Comparison

ROOT = Path(__file__).parents[2]
IMAGES = 1000
BOARD = "results/digits.csv"
AET, ROTATION = "aet/resnet18/digits", "rotation/resnet18/digits"
Json = dict[str, Any]
Checked = Callable[..., tuple[int, Json]]


def answers(seed: int, share: float) -> NDArray[np.bool_]:
    """Images get harder from the first to the last, for every method; a tenth of the answers is luck."""
    generator = np.random.default_rng(seed)
    ease = np.linspace(1, 0, IMAGES)
    return np.asarray(np.argsort(np.argsort(-(ease + generator.normal(0, 0.1, IMAGES)))) < share * IMAGES)


def one(value: float, **changes: Any) -> Score:
    """A score with outcomes of its own."""
    fields = {"tap": "layer4", "protocol": "knn@1", "metric": "accuracy@k=20", "n": IMAGES, **changes}
    name = f"{fields['tap']}|average|{fields.get('evaluator', 'knn')}|{fields['protocol']}|{fields['metric']}"
    return sample_score(value, **{"outcomes": name, **fields})


def leave(out: Path, method: str, seed: int | None, *scores: Score | float, **changes: Any) -> Record:
    """A finished cell under `out`; of the images behind each score exactly its value is right."""
    kept = tuple(one(score) if isinstance(score, float) else score for score in scores)
    arrays = changes.pop("arrays", None)
    record = sample_record(method, seed=seed, scores=kept, **changes)
    folder = out / f"{record.cell['method']['name']}-s{seed}-{record.id[:8]}"
    write_record(folder, record)
    if arrays is None:
        luck = sum(map(ord, method)) * 100 + (seed or 0)
        arrays = {each.outcomes: answers(luck, each.value)[: each.n] for each in kept if each.outcomes}
    np.savez_compressed(folder / PREDICTIONS, **arrays)
    return record


def seeds(out: Path, method: str, value: float, which: range = range(3), **changes: Any) -> None:
    """One method over several seeds, a few images apart."""
    for seed in which:
        leave(out, method, seed, round(value + 0.002 * (seed % 3), 6), **changes)


def changed(**fields: Json) -> Json:
    """What makes a record of `aet` that of another cell: settings of `dataset`, `encoder`, `method` or `recipe`."""
    cell: Json = json.loads(json.dumps(sample_record("aet").cell))
    for part, values in fields.items():
        cell[part].update(values)
    return cell


def leave_changed(out: Path, value: float, **fields: Json) -> None:
    """Three seeds of `aet` under its own label, but with other settings."""
    for seed in range(3):
        leave(out, "aet", seed, value + 0.002 * seed, cell={**changed(**fields), "seed": seed}, id=f"{seed}" * 64)


def fail(out: Path, method: str, seed: int | None, **changes: Any) -> None:
    """A cell that did not come to its end."""
    failure = {"stage": "train", "reason": "loss is NaN", "traceback": ""}
    leave(out, method, seed, **{"state": "failed", "failure": failure, **changes})


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Where the run under test leaves its records."""
    return tmp_path / "runs"


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """A leaderboard of two methods and a floor, in `results/`."""
    earlier = tmp_path / "earlier"
    seeds(earlier, "aet", 0.80)
    seeds(earlier, "rotation", 0.75)
    leave(earlier, "pixels", None, 0.7)
    export(read_records(earlier)[0], tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def checked(bench: Bench, runs: Path) -> Checked:
    """Exit code and JSON of a check of the run."""

    def of(*words: str, against: str = BOARD) -> tuple[int, Json]:
        result = bench("check", "runs", "--baseline", against, *words, "--format", "json")
        body: Json = json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
        assert body["exit_code"] == result.exit_code
        return result.exit_code, body

    return of


def told(body: Json) -> dict[str, str]:
    """Verdict of each cell that has one score."""
    return {row["cell"]: row["verdict"] for row in body["rows"]}


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_an_honest_run_with_other_seeds_is_green(checked: Checked, baseline: Path, runs: Path) -> None:
    seeds(runs, "aet", 0.80, range(3, 6))
    seeds(runs, "rotation", 0.75, range(3, 6))
    code, body = checked()
    assert code == 0
    assert told(body) == {AET: "no evidence", ROTATION: "no evidence"}
    assert body["verdict"].startswith("passed: 2 no evidence (margin 0.005")


def test_five_points_lost_are_regressed_and_named(checked: Checked, baseline: Path, runs: Path, bench: Bench) -> None:
    seeds(runs, "aet", 0.75, range(3, 6))
    seeds(runs, "rotation", 0.75, range(3, 6))
    code, body = checked()
    assert code == check.REGRESSION == 1
    assert told(body) == {AET: "regressed", ROTATION: "no evidence"}
    row = body["rows"][0]
    assert row["difference"] == pytest.approx(-0.05)
    assert row["low"] < -0.05 < row["high"] < 0
    assert (row["score"], row["seeds_now"], row["seeds_baseline"]) == ("knn accuracy@k=20 at layer4", 3, 3)
    shown = bench("check", "runs", "--baseline", BOARD)
    assert shown.exit_code == 1
    assert "regressed: 1 regressed, 1 no evidence" in shown.stdout


def test_five_points_won_are_improved_and_green(checked: Checked, baseline: Path, runs: Path) -> None:
    seeds(runs, "aet", 0.85, range(3, 6))
    code, body = checked()
    assert (code, told(body)) == (0, {AET: "improved"})


def test_where_less_is_better_the_larger_is_regressed(checked: Checked, runs: Path, tmp_path: Path) -> None:
    for seed in range(3):
        for method, before, now in (("up", 0.5, 0.6), ("down", 0.6, 0.5)):
            for folder, value in ((tmp_path / "earlier", before), (runs, now)):
                leave(folder, method, seed, one(value + 0.002 * seed, metric="error", higher_is_better=False))
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    code, body = checked()
    assert code == 1
    assert told(body) == {"up/resnet18/digits": "regressed", "down/resnet18/digits": "improved"}
    for ending in (".jsonl", ".outcomes.npz"):  # a CSV does not tell which side is better; the run's records do
        (tmp_path / "results" / f"digits{ending}").unlink()
    assert told(checked()[1]) == {"up/resnet18/digits": "regressed", "down/resnet18/digits": "improved"}


def test_a_loss_within_the_margin_is_no_regression(checked: Checked, baseline: Path, runs: Path) -> None:
    seeds(runs, "aet", 0.75, range(3, 6))
    assert checked("--margin", "0.049")[0] == 1
    assert checked("--margin", "0.051")[0] == 0


def test_many_scores_share_one_chance_of_a_false_alarm(checked: Checked, runs: Path, tmp_path: Path) -> None:
    taps = [f"layer{number}" for number in range(1, 21)]
    for folder, which in ((tmp_path / "earlier", range(3)), (runs, range(3, 6))):
        for seed in which:
            leave(folder, "aet", seed, *(one(0.6 + 0.002 * (seed % 3), tap=tap) for tap in taps))
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    code, body = checked()
    assert (code, len(body["rows"])) == (0, 20)
    assert min(row["level"] for row in body["rows"]) == pytest.approx(1 - 0.05 / 20)


@pytest.mark.parametrize("margin", ["-0.01", "nan", "inf", "much"])
def test_a_margin_that_cannot_be_is_refused(bench: Bench, baseline: Path, runs: Path, margin: str) -> None:
    seeds(runs, "aet", 0.75)
    result = bench("check", "runs", "--baseline", BOARD, "--margin", margin)
    assert result.exit_code == 2, result.output
    assert "--margin" in result.stderr


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_one_seed_borrows_the_spread_of_the_baseline(checked: Checked, baseline: Path, runs: Path) -> None:
    leave(runs, "aet", 7, 0.70)
    leave(runs, "rotation", 7, 0.752)
    code, body = checked()
    assert (code, told(body)) == (1, {AET: "regressed", ROTATION: "no evidence"})
    assert all(row["remarks"] == "1 seed: the spread over seeds is the baseline's" for row in body["rows"])
    assert all(row["seeds_now"] == 1 and row["p"] is not None for row in body["rows"])


def test_one_seed_on_both_sides_is_checkpoint_only_and_never_regressed(
    checked: Checked, runs: Path, tmp_path: Path
) -> None:
    leave(tmp_path / "earlier", "aet", 0, 0.9)
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    leave(runs, "aet", 0, 0.2)
    code, body = checked()
    assert (code, told(body)) == (0, {AET: "checkpoint only"})
    assert (body["rows"][0]["p"], body["rows"][0]["low"]) == (None, None)
    assert body["rows"][0]["difference"] == pytest.approx(-0.7)


def test_what_has_no_seed_can_regress(checked: Checked, baseline: Path, runs: Path) -> None:
    leave(runs, "pixels", None, 0.6)
    assert checked()[0] == 1


def test_without_outcomes_seeds_alone_are_compared_and_that_is_said(
    checked: Checked, baseline: Path, runs: Path
) -> None:
    (baseline / "digits.jsonl").unlink()
    (baseline / "digits.outcomes.npz").unlink()
    seeds(runs, "aet", 0.75, range(3, 6))
    leave(runs, "rotation", 9, 0.752)
    code, body = checked()
    assert (code, told(body)) == (1, {AET: "regressed", ROTATION: "no evidence"})
    assert "seeds alone are compared" in body["notes"][0]
    aet, rotation = body["rows"]
    # By hand: seed means .750 .752 .754 and .800 .802 .804, each of variance 4e-6.
    assert aet["standard_error"] == pytest.approx((2 * 4e-6 / 3) ** 0.5)
    assert aet["degrees_of_freedom"] == pytest.approx(4)
    assert "unpaired" in aet["remarks"]
    # One value against three: the spread is the baseline's, s sqrt(1 + 1/3).
    assert rotation["standard_error"] == pytest.approx(0.002 * (4 / 3) ** 0.5)
    assert rotation["degrees_of_freedom"] == 2
    assert "the spread over seeds is the baseline's" in rotation["remarks"]


def test_seeds_without_any_spread_do_not_hide_a_loss(checked: Checked, baseline: Path, runs: Path) -> None:
    for folder, value in ((runs.parent / "earlier", 0.9), (runs, 0.8)):
        for seed in range(2):
            leave(folder, "still", seed, one(value, outcomes=None), arrays={})
    export([r for r in read_records(runs.parent / "earlier")[0] if r.cell["method"]["name"] == "still"], baseline)
    code, body = checked()
    assert (code, told(body)) == (4, {"still/resnet18/digits": "not comparable"})
    assert "no spread over seeds" in body["rows"][0]["remarks"]


# --- not comparable ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dataset": {"fingerprint": "a" * 64}}, "other dataset fingerprint: aaaaaaaaaaaa and ffffffffffff"),
        ({"dataset": {"subset": 500}}, "other training subset: 500 and all"),
        ({"recipe": {"epochs": 12}}, "another budget or other parameters: epochs=12 (baseline 6)"),
        ({"recipe": {"lr": 0.01}}, "another budget or other parameters: lr=0.01 (baseline 0.001)"),
        ({"method": {"params": {"transform": "affine"}}}, "method transform=affine (baseline None)"),
        ({"encoder": {"params": {"width": 32}}}, "encoder width=32 (baseline None)"),
    ],
)
def test_other_conditions_are_not_comparable(
    checked: Checked, baseline: Path, runs: Path, fields: Json, reason: str
) -> None:
    leave_changed(runs, 0.80, **fields)
    code, body = checked()
    assert (code, told(body)) == (check.BASELINE, {AET: "not comparable"})
    assert reason in body["rows"][0]["remarks"]
    assert (body["rows"][0]["difference"], body["rows"][0]["p"]) == (None, None)
    assert not any(each.startswith("aet") for each in body["ignored"])  # it was asked for


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dataset": {"fingerprint": "a" * 64}}, "other dataset fingerprint"),
        ({"recipe": {"epochs": 12}}, "epochs=12 (baseline 6)"),
        ({"method": {"params": {"transform": "affine"}}}, "method transform=affine (baseline None)"),
    ],
)
def test_a_csv_alone_tells_other_conditions_too(
    checked: Checked, baseline: Path, runs: Path, fields: Json, reason: str
) -> None:
    (baseline / "digits.jsonl").unlink()
    leave_changed(runs, 0.80, **fields)
    code, body = checked()
    assert (code, told(body)) == (4, {AET: "not comparable"})
    assert reason in body["rows"][0]["remarks"]
    assert "lr" not in body["rows"][0]["remarks"]  # of which a CSV knows nothing


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": "knn@2"}, "other protocol: knn@2 and knn@1"),
        ({"n": 999}, "other test set: 999 and 1000"),
        ({"params": {"k": [1]}}, "other parameters of the evaluator"),
    ],
)
def test_another_protocol_is_not_comparable(
    checked: Checked, baseline: Path, runs: Path, changes: Json, reason: str
) -> None:
    for seed in range(3):
        leave(runs, "aet", seed, one(0.8, **changes))
    code, body = checked()
    assert (code, told(body)) == (4, {AET: "not comparable"})
    assert body["rows"][0]["remarks"].startswith(reason)


def test_scores_of_an_earlier_protocol_are_not_mixed_in(checked: Checked, runs: Path, tmp_path: Path) -> None:
    for folder, now in ((tmp_path / "earlier", 0.80), (runs, 0.70)):
        for seed in range(3):
            leave(folder, "aet", seed, one(0.9), one(now + 0.002 * seed, protocol="knn@2"))
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    code, body = checked()
    assert (code, told(body)) == (1, {AET: "regressed"})
    assert body["rows"][0]["now"] == pytest.approx(0.702)


def test_of_several_baselines_of_one_name_the_one_that_fits_is_taken(
    checked: Checked, baseline: Path, runs: Path, tmp_path: Path
) -> None:
    other = changed(dataset={"fingerprint": "a" * 64})
    for folder in (tmp_path / "later", runs):
        for seed in range(3):
            leave(folder, "aet", seed, 0.6 + 0.002 * seed, cell={**other, "seed": seed}, id=f"{seed}" * 64)
    export(read_records(tmp_path / "later")[0], baseline)
    code, body = checked()
    assert (code, told(body)) == (0, {AET: "no evidence"})
    assert body["rows"][0]["difference"] == 0


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_a_cell_that_is_missing_is_not_comparable(checked: Checked, baseline: Path, runs: Path, state: str) -> None:
    seeds(runs, "aet", 0.80)
    fail(runs, "rotation", 1, state=state)
    code, body = checked()
    assert (code, told(body)) == (4, {AET: "no evidence", ROTATION: "not comparable"})
    assert f"seed 1 is {state}: loss is NaN" in [row["remarks"] for row in body["rows"]]


def test_a_record_that_cannot_be_read_is_not_passed_over(checked: Checked, baseline: Path, runs: Path) -> None:
    seeds(runs, "aet", 0.80)
    seeds(runs, "rotation", 0.75)
    assert checked()[0] == 0
    torn = next(runs.glob("rotation-s1-*")) / RECORD
    torn.write_text(torn.read_text()[:100])
    code, body = checked()
    assert code == 4
    assert any("is not readable or not whole" in row["remarks"] for row in body["rows"])


def test_a_cell_that_was_killed_is_not_passed_over(checked: Checked, baseline: Path, runs: Path) -> None:
    seeds(runs, "aet", 0.80)
    (runs / "rotation-s0-0123456789").mkdir()
    (runs / "rotation-s0-0123456789" / CHECKPOINT).touch()
    code, body = checked()
    assert code == 4
    assert body["rows"][-1]["cell"] == "rotation-s0-0123456789"


def test_a_score_that_failed_is_not_comparable(checked: Checked, runs: Path, tmp_path: Path) -> None:
    linear = one(0.9, evaluator="linear", protocol="linear@1", metric="accuracy")
    for seed in range(3):
        leave(tmp_path / "earlier", "aet", seed, one(0.8 + 0.002 * seed), linear)
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    failure = {"stage": "evaluate linear", "reason": "linear: singular", "traceback": ""}
    for seed in range(3):
        leave(runs, "aet", seed, 0.8 + 0.002 * seed, failure=failure if seed == 1 else None)
    code, body = checked()
    assert code == 4
    lost = [row for row in body["rows"] if row["verdict"] == "not comparable"]
    assert [row["score"] for row in lost] == ["linear accuracy at layer4"]
    assert "singular" in lost[0]["remarks"]


def test_what_was_not_asked_for_is_listed_and_ignored(checked: Checked, runs: Path, tmp_path: Path) -> None:
    linear = one(0.9, evaluator="linear", protocol="linear@1", metric="accuracy")
    for seed in range(3):
        leave(tmp_path / "earlier", "aet", seed, one(0.8 + 0.002 * seed), linear)
        leave(tmp_path / "earlier", "aet", seed, one(0.8 + 0.002 * seed), recipe={"epochs": 12})
    seeds(tmp_path / "earlier", "dim", 0.5)
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    seeds(runs, "aet", 0.80)
    code, body = checked()
    assert (code, told(body)) == (0, {AET: "no evidence"})
    assert body["ignored"] == [
        "aet/resnet18/digits (12 epochs)",
        "dim/resnet18/digits (6 epochs)",
        "aet/resnet18/digits: linear accuracy at layer4",
    ]


def test_what_is_new_is_listed_and_does_not_fail(checked: Checked, baseline: Path, runs: Path) -> None:
    seeds(runs, "aet", 0.80)
    leave(runs, "dim", 0, 0.5)
    leave(runs, "pixels", None, one(0.7), one(0.1, metric="map"))
    code, body = checked()
    assert code == 0
    new = [(row["cell"], row["score"]) for row in body["rows"] if row["verdict"] == "new"]
    assert new == [
        ("dim/resnet18/digits", "knn accuracy@k=20 at layer4"),
        ("pixels/resnet18/digits", "knn map at layer4"),
    ]


def test_where_nothing_could_be_compared_the_baseline_is_to_blame(checked: Checked, baseline: Path, runs: Path) -> None:
    leave(runs, "dim", 0, 0.5)
    assert checked()[0] == 4


# --- precedence -------------------------------------------------------------------------------------------------------


def test_regressed_comes_before_not_comparable_and_that_before_failed(
    checked: Checked, baseline: Path, runs: Path
) -> None:
    seeds(runs, "aet", 0.80)
    fail(runs, "dim", 0)
    code, body = checked()
    assert (code, body["failed"]) == (check.FAILED, ["dim/resnet18/digits: seed 0 is failed: loss is NaN"])
    assert code == 3
    fail(runs, "rotation", 0)
    assert checked()[0] == 4
    leave(runs, "pixels", None, 0.6)
    assert checked()[0] == 1


# --- baselines --------------------------------------------------------------------------------------------------------


def test_a_first_run_is_told_how_to_get_a_baseline_and_then_is_green(
    checked: Checked, bench: Bench, runs: Path, tmp_path: Path
) -> None:
    precisions = np.random.default_rng(0).random((3, IMAGES)).astype(np.float32)
    for seed in range(3):
        hits, scored = one(0.8 + 0.002 * seed), one(float(precisions[seed].mean()), metric="map")
        arrays = {hits.outcomes: answers(seed, hits.value), scored.outcomes: precisions[seed]}
        leave(runs, "aet", seed, hits, scored, arrays=arrays)
    leave(runs, "pixels", None, 0.7)
    leave(runs, "smoke", 0, 0.9, state="smoke")
    shown = bench("check", "runs", "--baseline", BOARD)
    assert shown.exit_code == 4
    assert "there is no baseline results/digits.csv yet" in shown.stdout
    assert "--update writes one" in shown.stdout
    assert checked()[1]["missing"] in checked()[1]["verdict"]
    assert not (tmp_path / "results").exists()
    made = bench("check", "runs", "--baseline", BOARD, "--update")
    assert (made.exit_code, made.stdout) == (0, "results/digits.csv: 4 cells added or replaced\n")
    code, body = checked()
    assert code == 0
    assert {row["verdict"] for row in body["rows"]} == {"no evidence"}
    assert len(body["rows"]) == 3
    assert all(row["difference"] == 0 and row["p"] == 1 for row in body["rows"])  # exactly
    (tmp_path / "results" / "digits.jsonl").unlink()
    assert checked()[0] == 0  # of a CSV's six places, no difference is made


def test_a_smoke_record_never_enters_a_check(bench: Bench, checked: Checked, baseline: Path, runs: Path) -> None:
    seeds(runs, "rotation", 0.75)
    leave(runs, "aet", 0, 0.1, state="smoke")
    assert told(checked()[1]) == {ROTATION: "no evidence"}
    text = (baseline / "digits.csv").read_text()
    (baseline / "scores.csv").write_text(text.replace(",done,", ",smoke,"))
    code, body = checked(against="results/scores.csv")
    assert code == 4
    assert "holds no finished cell" in body["missing"]


def test_a_run_of_smoke_records_alone_cannot_be_checked(bench: Bench, baseline: Path, runs: Path) -> None:
    leave(runs, "aet", 0, 0.9, state="smoke")
    result = bench("check", "runs", "--baseline", BOARD)
    assert result.exit_code == 2
    assert "no record under runs" in result.stderr
    assert bench("check", "runs", "--baseline", BOARD, "--update").exit_code == 2


def _git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def test_a_baseline_is_read_from_a_git_revision(
    checked: Checked, bench: Bench, baseline: Path, runs: Path, tmp_path: Path
) -> None:
    (baseline / "alone.csv").write_bytes((baseline / "digits.csv").read_bytes())
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", "results")
    _git(tmp_path, "commit", "-q", "-m", "before")
    for path in baseline.iterdir():
        path.unlink()
    seeds(runs, "aet", 0.75, range(3, 6))
    for name in ("digits.csv", "digits.jsonl", "alone.csv"):
        code, body = checked(against=f"HEAD:results/{name}")
        assert (code, told(body)) == (1, {AET: "regressed"}), name
        assert bool(body["notes"]) == (name == "alone.csv")  # unpaired
    assert checked(against="HEAD:results/none.csv")[0] == 4
    assert checked(against="nowhere:results/digits.csv")[0] == 4
    result = bench("check", "runs", "--baseline", "HEAD:results/digits.csv", "--update")
    assert result.exit_code == 2
    assert "names a git revision" in result.stderr
    assert not (tmp_path / "HEAD:results").exists()


@pytest.mark.parametrize("words", [("results",), ("results/digits.txt",), ("runs",)])
def test_a_baseline_that_is_no_leaderboard_is_refused(
    bench: Bench, baseline: Path, runs: Path, words: tuple[str]
) -> None:
    seeds(runs, "aet", 0.80)
    for more in ((), ("--update",)):
        result = bench("check", "runs", "--baseline", *words, *more)
        assert result.exit_code == 2, result.output
        assert "cannot be" in result.stderr


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("digits.jsonl", lambda data: data[:-20]),
        ("digits.jsonl", lambda data: b"\xff\xfe" + data),
        ("digits.jsonl", lambda data: data.replace(b'"value": 0.8', b'"value": "?0.8"')),
        ("digits.jsonl", lambda data: data.replace(b'"value": 0.8}', b'"value": NaN}')),
        ("digits.outcomes.npz", lambda data: data[:-200]),
        ("digits.csv", lambda data: data[:-60]),
        ("digits.csv", lambda data: b"\xff" + data),
        ("digits.csv", lambda data: data.replace(b",0.8,", b",nan,")),
        ("digits.csv", lambda data: data.replace(b"fingerprint", b"finger")),
    ],
)
def test_a_damaged_baseline_is_told_of_and_left_alone(
    bench: Bench, baseline: Path, runs: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    if name == "digits.csv":
        (baseline / "digits.jsonl").unlink()
    seeds(runs, "aet", 0.80)
    path = baseline / name
    before = damage(path.read_bytes())
    assert before != path.read_bytes()
    path.write_bytes(before)
    result = bench("check", "runs", "--baseline", BOARD)
    assert result.exit_code == 2, result.output
    assert "is not whole" in result.stderr
    assert path.read_bytes() == before


def test_a_damaged_baseline_is_not_written_over(bench: Bench, baseline: Path, runs: Path) -> None:
    seeds(runs, "aet", 0.80)
    path = baseline / "digits.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    before = {each.name: each.read_bytes() for each in baseline.iterdir()}
    result = bench("check", "runs", "--baseline", BOARD, "--update")
    assert result.exit_code == 2
    assert "is not whole" in result.stderr
    assert {each.name: each.read_bytes() for each in baseline.iterdir()} == before


def test_update_names_the_leaderboard_that_the_cells_belong_to(bench: Bench, runs: Path, tmp_path: Path) -> None:
    seeds(runs, "aet", 0.80)
    result = bench("check", "runs", "--baseline", "results/cifar10.csv", "--update")
    assert result.exit_code == 2
    assert "results/digits.csv" in result.stderr
    assert not (tmp_path / "results").exists()


# --- what is written --------------------------------------------------------------------------------------------------

STRANGE = "aet[path=<a & \"b\">'c'|d]"


@pytest.fixture
def every(runs: Path, baseline: Path) -> Path:
    """A run with each verdict, in labels that XML, Markdown and terminals stumble over."""
    seeds(runs, "aet", 0.75, range(3, 6))
    fail(runs, "rotation", 0, failure={"stage": "train", "reason": "\x1b[31m<b>loss & co\x00", "traceback": ""})
    leave(runs, "pixels", None, 0.7)
    leave(runs, STRANGE, 0, 0.5)
    fail(runs, "dim", 0)
    return runs


def test_junit_is_well_formed_and_counts_its_cases(bench: Bench, every: Path, tmp_path: Path) -> None:
    assert bench("check", "runs", "--baseline", BOARD, "--junit", "check.xml").exit_code == 1
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    cases = list(suite.iter("testcase"))
    found = {case.get("classname"): [child.tag for child in case] for case in cases}
    assert found == {
        AET: ["failure"],
        ROTATION: ["error"],
        "pixels/resnet18/digits": [],
        f"{STRANGE}/resnet18/digits": ["skipped"],
        "dim/resnet18/digits": ["error"],
    }
    assert int(suite.get("tests", "")) == len(cases)
    for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(counted, "")) == sum(len(case.findall(tag)) for case in cases)
    (failure,) = suite.iter("failure")
    assert "-0.0500" in failure.get("message", "")
    assert any("<b>loss & co" in error.get("message", "") for error in suite.iter("error"))


def test_junit_is_not_green_where_there_is_no_baseline(bench: Bench, runs: Path, tmp_path: Path) -> None:
    leave(runs, "aet", 0, 0.5)
    assert bench("check", "runs", "--baseline", BOARD, "--junit", "check.xml").exit_code == 4
    suite = ElementTree.parse(tmp_path / "check.xml").getroot()
    (error,) = suite.iter("error")
    assert "there is no baseline" in error.get("message", "")
    assert (suite.get("tests"), suite.get("errors"), suite.get("skipped")) == ("2", "1", "1")


def test_a_summary_is_added_with_its_heading_first(bench: Bench, every: Path, tmp_path: Path) -> None:
    words = ("check", "runs", "--baseline", BOARD, "--summary", "summary.md")
    assert bench(*words).exit_code == 1
    first = (tmp_path / "summary.md").read_text()
    assert first.startswith("## ❌ bench check: regressed: 1 regressed")
    (tmp_path / "summary.md").write_text("another step")
    bench(*words)
    text = (tmp_path / "summary.md").read_text()
    assert text == f"another step\n\n{first}"
    assert first.count("bench check:") == 1
    assert "passed" not in first  # no part of the page has a verdict of its own
    assert first.index("regressed") < first.index("<details>") < first.index("&lt;a &amp;")
    assert "<b>" not in first
    assert "failed, not in the baseline: dim/resnet18/digits" in first


def test_json_and_csv_have_every_number_unrounded(bench: Bench, checked: Checked, every: Path) -> None:
    code, body = checked()
    assert (code, body["exit_code"], body["margin"]) == (1, 1, 0.005)
    assert body["verdict"].startswith("regressed:")
    (row,) = [row for row in body["rows"] if row["cell"] == AET]
    exact = check.check_records(Path("runs"), BOARD)
    answer = next(each.answer for each in exact.rows if each.cell == AET)
    assert answer is not None
    assert answer.interval is not None
    assert (row["low"], row["high"]) == answer.interval
    assert (row["difference"], row["p"], row["smallest"]) == (answer.difference, answer.p, answer.minimal)
    assert row["now"] == pytest.approx(0.752, abs=1e-15)
    shown = bench("check", "runs", "--baseline", BOARD, "--format", "csv")
    assert shown.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert [list(each) for each in rows] == [list(each) for each in body["rows"]]
    for text, number in zip(rows, body["rows"], strict=True):
        number["remarks"] = number["remarks"].replace(
            "\x1b[31m", ""
        )  # click takes colors out where there is no terminal
        assert text == {name: "" if value is None else str(value) for name, value in number.items()}


def test_json_holds_no_infinity() -> None:
    answer = Comparison(
        question="trained again",
        difference=-0.1,
        center=-0.1,
        error=float("inf"),
        degrees=2.0,
        images=8,
        seeds=(2, 2),
    )
    row = check.CheckRow(cell="a", score="b", verdict="no evidence", baseline=0.5, now=0.4, answer=answer)
    found = check.CheckReport(baseline="b.csv", margin=0.005, rows=(row,))
    (body,) = json.loads(check_report.as_json(found), parse_constant=pytest.fail)["rows"]
    assert (body["low"], body["standard_error"], body["difference"]) == (None, None, -0.1)


@pytest.mark.parametrize("form", ["table", "md", "latex"])
def test_people_read_what_regressed_first(bench: Bench, every: Path, form: str) -> None:
    shown = bench("check", "runs", "--baseline", BOARD, "--format", form)
    assert shown.exit_code == 1, shown.output
    lines = shown.stdout.splitlines()
    place = {word: next(i for i, line in enumerate(lines) if line.count(word)) for word in ("aet/", "pixels/")}
    assert place["aet/"] < place["pixels/"]
    for words in ("-0.0500", "smallest to be seen", "not comparable", "regressed: 1 regressed"):
        assert words in shown.stdout


def test_files_that_cannot_be_written_are_told_of(bench: Bench, every: Path) -> None:
    for option in ("--junit", "--summary"):
        result = bench("check", "runs", "--baseline", BOARD, option, "no/such/folder/file")
        assert result.exit_code == 2
        assert "cannot be written" in result.stderr


def test_a_run_without_records_is_no_run(bench: Bench, baseline: Path, runs: Path) -> None:
    assert bench("check", "runs", "--baseline", BOARD).exit_code == 2
    runs.mkdir()
    result = bench("check", "runs", "--baseline", BOARD)
    assert result.exit_code == 2
    assert "no record under runs" in result.stderr


# --- real runs --------------------------------------------------------------------------------------------------------


def test_cells_that_were_run_are_checked(third_party: Path, bench: Bench) -> None:
    words = (
        *("run", "--methods", "mean_color", "--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid"),
        *("--executor", "inline", "--device", "cpu", "--no-floors", "-q"),
    )
    assert bench(*words, "--epochs", "1", "--seeds", "2").exit_code == 0
    against = ("--baseline", "results/stripes.csv")
    assert bench("check", "runs", *against).exit_code == 4
    assert bench("check", "runs", *against, "--update").exit_code == 0
    again = bench("check", "runs", *against)
    assert again.exit_code == 0, again.output
    assert "no evidence" in again.stdout
    assert bench(*words, "--epochs", "2", "--seeds", "2", "--out", "longer").exit_code == 0
    longer = bench("check", "longer", *against)
    assert longer.exit_code == 4
    assert "epochs=2 (baseline 1)" in " ".join(longer.stdout.split())


# --- the action -------------------------------------------------------------------------------------------------------

ACTION = ROOT / ".github" / "actions" / "bench-check" / "action.yml"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "plugins/README.md")


def test_the_action_hands_every_input_through_the_environment() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; bench does not need it")
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    assert action["runs"]["using"] == "composite"
    assert list(action["inputs"]) == ["run", "baseline", "margin", "junit", "install"]
    handed = set()
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"], "an input in the shell's text would be run as such"
        for name, value in step.get("env", {}).items():
            assert f"${name}" in step["run"], f"{name} is not used"
            handed.add(value.removeprefix("${{ inputs.").removesuffix(" }}"))
    assert handed == set(action["inputs"])
    assert all(each.get("description") for each in action["inputs"].values())


@pytest.mark.parametrize(("value", "code"), [(0.80, 0), (0.75, 1)])
def test_the_shell_of_the_action_passes_the_exit_code_on(
    bench: Bench, baseline: Path, runs: Path, tmp_path: Path, launch: Any, value: float, code: int
) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; bench does not need it")
    steps = yaml.safe_load(ACTION.read_text(encoding="utf-8"))["runs"]["steps"]
    script = next(step["run"] for step in steps if "bench check" in step["run"])
    seeds(runs, "aet", value, range(3, 6))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bench").write_text(_BENCH)
    (tmp_path / "bin" / "bench").chmod(0o755)
    settings = {"RUN": "runs", "BASELINE": BOARD, "MARGIN": "0.005", "JUNIT": "a $(touch evil).xml"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**_environment(tmp_path / "bin"), **settings, "GITHUB_STEP_SUMMARY": str(tmp_path / "page.md")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert (tmp_path / "page.md").read_text().startswith("## ")
    ElementTree.parse(tmp_path / "a $(touch evil).xml")
    assert not (tmp_path / "evil").exists()


def _environment(first: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{first}:{os.environ['PATH']}"}


_BENCH = f'#!/bin/sh\nexec {sys.executable} -m benchmark "$@"\n'


def test_a_document_shows_a_workflow_with_the_action() -> None:
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    blocks = [block for text in texts for block in text.split("```yaml\n")[1:] if "bench-check" in block]
    assert len(blocks) == 1
    block = blocks[0].partition("```")[0]
    assert len(block.splitlines()) <= 14
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed; bench does not need it")
    workflow = yaml.safe_load(block)
    (job,) = workflow["jobs"].values()
    (step,) = [step for step in job["steps"] if "bench-check" in step.get("uses", "")]
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    assert set(step["with"]) <= set(action["inputs"])
    assert (ROOT / step["uses"] / "action.yml").is_file()
    assert {name for name, each in action["inputs"].items() if each.get("required")} <= set(step["with"])


def test_the_readme_tells_what_the_exit_codes_mean() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "bench check" in readme
    line = next(line for line in readme.splitlines() if "**Exit codes**" in line)
    assert "1 " in line
    assert "4 " in line


def test_a_report_counts_what_it_holds() -> None:
    row = check.CheckRow(cell="a/b/c", score="knn", verdict="new", now=0.5)
    found = check.CheckReport(baseline="b.csv", margin=0.005, rows=(row,))
    assert (found.count("new"), found.count("regressed"), found.exit_code) == (1, 0, 4)
    assert dataclasses.replace(found, rows=()).sentence.startswith("not comparable: no scores")
