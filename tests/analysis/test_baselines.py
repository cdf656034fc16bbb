"""Reading, choosing and updating the baseline of `bench check`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Bench
from sample_cells import (
    AET,
    BASELINE,
    IMAGES,
    Check,
    Json,
    cell_score,
    changed_cell,
    commit_all,
    outcomes_of,
    verdicts_of,
    write_cell,
    write_changed_seeds,
    write_seeds,
)

from benchmark.records.export import export
from benchmark.records.record_files import read_records


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"dataset": {"fingerprint": "a" * 64}}, "different dataset fingerprint"),
        ({"recipe": {"epochs": 12}}, "epochs=12 (baseline 6)"),
        ({"method": {"params": {"transform": "affine"}}}, "method transform=affine (baseline None)"),
    ],
)
def test_csv_baseline_detects_different_settings(
    check: Check, baseline: Path, runs: Path, fields: Json, reason: str
) -> None:
    (baseline / "digits.jsonl").unlink()
    write_changed_seeds(runs, 0.80, **fields)
    code, body = check()
    assert (code, verdicts_of(body)) == (4, {AET: "not comparable"})
    assert reason in body["rows"][0]["remarks"]
    assert "lr" not in body["rows"][0]["remarks"]  # a CSV does not store it


def test_baseline_with_the_same_settings_is_preferred(check: Check, baseline: Path, runs: Path, tmp_path: Path) -> None:
    other = changed_cell(dataset={"fingerprint": "a" * 64})
    for folder in (tmp_path / "later", runs):
        for seed in range(3):
            write_cell(folder, "aet", seed, 0.6 + 0.002 * seed, cell={**other, "seed": seed}, id=f"{seed}" * 64)
    export(read_records(tmp_path / "later")[0], baseline)
    code, body = check()
    assert (code, verdicts_of(body)) == (0, {AET: "no evidence"})
    assert body["rows"][0]["difference"] == 0


def test_update_writes_a_baseline_that_the_run_passes(check: Check, bench: Bench, runs: Path, tmp_path: Path) -> None:
    precisions = np.random.default_rng(0).random((3, IMAGES)).astype(np.float32)
    for seed in range(3):
        hits, scored = cell_score(0.8 + 0.002 * seed), cell_score(float(precisions[seed].mean()), metric="map")
        arrays = {hits.outcomes: outcomes_of(seed, hits.value), scored.outcomes: precisions[seed]}
        write_cell(runs, "aet", seed, hits, scored, arrays=arrays)
    write_cell(runs, "pixels", None, 0.7)
    write_cell(runs, "smoke", 0, 0.9, state="smoke")
    shown = bench("check", "runs", "--baseline", BASELINE)
    assert shown.exit_code == 4
    assert "no baseline results/digits.csv yet" in shown.stdout
    assert "--update writes one" in shown.stdout
    assert check()[1]["missing"] in check()[1]["verdict"]
    assert not (tmp_path / "results").exists()
    made = bench("check", "runs", "--baseline", BASELINE, "--update")
    assert (made.exit_code, made.stdout) == (0, "results/digits.csv: 4 cells added or replaced\n")
    code, body = check()
    assert code == 0
    assert {row["verdict"] for row in body["rows"]} == {"no evidence"}
    assert len(body["rows"]) == 3
    assert all(row["difference"] == 0 and row["p"] == 1 for row in body["rows"])  # exactly
    (tmp_path / "results" / "digits.jsonl").unlink()
    assert check()[0] == 0  # rounding to the six digits of a CSV is not a difference


def test_baseline_is_read_from_a_git_revision(
    check: Check, bench: Bench, baseline: Path, runs: Path, tmp_path: Path
) -> None:
    (baseline / "alone.csv").write_bytes((baseline / "digits.csv").read_bytes())
    commit_all(tmp_path)
    for path in baseline.iterdir():
        path.unlink()
    write_seeds(runs, "aet", 0.75, range(3, 6))
    for name in ("digits.csv", "digits.jsonl", "alone.csv"):
        code, body = check(against=f"HEAD:results/{name}")
        assert (code, verdicts_of(body)) == (1, {AET: "regressed"}), name
        assert bool(body["notes"]) == (name == "alone.csv")  # without outcomes
    assert check(against="HEAD:results/none.csv")[0] == 4
    assert check(against="nowhere:results/digits.csv")[0] == 4
    result = bench("check", "runs", "--baseline", "HEAD:results/digits.csv", "--update")
    assert result.exit_code == 2
    assert "names a git revision" in result.stderr
    assert not (tmp_path / "HEAD:results").exists()


@pytest.mark.parametrize("words", [("results",), ("results/digits.txt",), ("runs",)])
def test_baseline_must_be_a_leaderboard(bench: Bench, baseline: Path, runs: Path, words: tuple[str]) -> None:
    write_seeds(runs, "aet", 0.80)
    for more in ((), ("--update",)):
        result = bench("check", "runs", "--baseline", *words, *more)
        assert result.exit_code == 2, result.output
        assert "is not a leaderboard" in result.stderr


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
def test_damaged_baseline_is_reported_and_unchanged(
    bench: Bench, baseline: Path, runs: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    if name == "digits.csv":
        (baseline / "digits.jsonl").unlink()
    write_seeds(runs, "aet", 0.80)
    path = baseline / name
    before = damage(path.read_bytes())
    assert before != path.read_bytes()
    path.write_bytes(before)
    result = bench("check", "runs", "--baseline", BASELINE)
    assert result.exit_code == 2, result.output
    assert f"results/{name}" in result.stderr
    assert "from git" in result.stderr
    assert path.read_bytes() == before


def test_update_does_not_overwrite_a_damaged_baseline(bench: Bench, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    path = baseline / "digits.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    before = {each.name: each.read_bytes() for each in baseline.iterdir()}
    result = bench("check", "runs", "--baseline", BASELINE, "--update")
    assert result.exit_code == 2
    assert "results/digits.jsonl is damaged" in result.stderr
    assert {each.name: each.read_bytes() for each in baseline.iterdir()} == before


def test_update_names_the_leaderboard_of_the_cells(bench: Bench, runs: Path, tmp_path: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    result = bench("check", "runs", "--baseline", "results/cifar10.csv", "--update")
    assert result.exit_code == 2
    assert "results/digits.csv" in result.stderr
    assert not (tmp_path / "results").exists()
