"""Verdicts and exit codes of `bench check`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from conftest import Bench
from sample_cells import AET, BASELINE, ROTATION, Check, cell_score, verdicts_of, write_cell, write_failed, write_seeds

from benchmark.analysis.check import CheckReport
from benchmark.analysis.check_rows import CheckRow
from benchmark.errors import ExitCode
from benchmark.records.export import export
from benchmark.records.record_files import read_records


def test_check_passes_an_unchanged_run_with_other_seeds(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80, range(3, 6))
    write_seeds(runs, "rotation", 0.75, range(3, 6))
    code, body = check()
    assert code == 0
    assert verdicts_of(body) == {AET: "no evidence", ROTATION: "no evidence"}
    assert body["verdict"].startswith("passed: 2 no evidence (margin 0.005")


def test_check_reports_a_drop_of_five_points_as_regressed(
    check: Check, baseline: Path, runs: Path, bench: Bench
) -> None:
    write_seeds(runs, "aet", 0.75, range(3, 6))
    write_seeds(runs, "rotation", 0.75, range(3, 6))
    code, body = check()
    assert (code, ExitCode.REGRESSED.value) == (ExitCode.REGRESSED, 1)
    assert verdicts_of(body) == {AET: "regressed", ROTATION: "no evidence"}
    row = body["rows"][0]
    assert row["difference"] == pytest.approx(-0.05)
    assert row["low"] < -0.05 < row["high"] < 0
    assert (row["score"], row["seeds_now"], row["seeds_baseline"]) == ("knn accuracy@k=20 at layer4", 3, 3)
    shown = bench("check", "runs", "--baseline", BASELINE)
    assert shown.exit_code == 1
    assert "regressed: 1 regressed, 1 no evidence" in shown.stdout


def test_check_reports_a_gain_of_five_points_as_improved(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.85, range(3, 6))
    code, body = check()
    assert (code, verdicts_of(body)) == (0, {AET: "improved"})


def test_check_inverts_scores_where_lower_is_better(check: Check, runs: Path, tmp_path: Path) -> None:
    for seed in range(3):
        for method, before, now in (("up", 0.5, 0.6), ("down", 0.6, 0.5)):
            for folder, value in ((tmp_path / "earlier", before), (runs, now)):
                write_cell(
                    folder, method, seed, cell_score(value + 0.002 * seed, metric="error", higher_is_better=False)
                )
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    code, body = check()
    assert code == 1
    assert verdicts_of(body) == {"up/resnet18/digits": "regressed", "down/resnet18/digits": "improved"}
    for ending in (".jsonl", ".outcomes.npz"):  # a CSV does not store which side is better; the records of the run do
        (tmp_path / "results" / f"digits{ending}").unlink()
    assert verdicts_of(check()[1]) == {"up/resnet18/digits": "regressed", "down/resnet18/digits": "improved"}


def test_check_ignores_a_drop_within_the_margin(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.75, range(3, 6))
    assert check("--margin", "0.049")[0] == 1
    assert check("--margin", "0.051")[0] == 0


def test_check_adjusts_over_all_scores_of_the_run(check: Check, runs: Path, tmp_path: Path) -> None:
    taps = [f"layer{number}" for number in range(1, 21)]
    for folder, which in ((tmp_path / "earlier", range(3)), (runs, range(3, 6))):
        for seed in which:
            write_cell(folder, "aet", seed, *(cell_score(0.6 + 0.002 * (seed % 3), tap=tap) for tap in taps))
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    code, body = check()
    assert (code, len(body["rows"])) == (0, 20)
    assert min(row["level"] for row in body["rows"]) == pytest.approx(1 - 0.05 / 20)


@pytest.mark.parametrize("margin", ["-0.01", "nan", "inf", "much"])
def test_check_rejects_an_invalid_margin(bench: Bench, baseline: Path, runs: Path, margin: str) -> None:
    write_seeds(runs, "aet", 0.75)
    result = bench("check", "runs", "--baseline", BASELINE, "--margin", margin)
    assert result.exit_code == 2, result.output
    assert "--margin" in result.stderr


def test_one_seed_uses_the_spread_of_the_baseline(check: Check, baseline: Path, runs: Path) -> None:
    write_cell(runs, "aet", 7, 0.70)
    write_cell(runs, "rotation", 7, 0.752)
    code, body = check()
    assert (code, verdicts_of(body)) == (1, {AET: "regressed", ROTATION: "no evidence"})
    assert all(row["remarks"] == "One seed: spread over seeds taken from the baseline" for row in body["rows"])
    assert all(row["seeds_now"] == 1 and row["p"] is not None for row in body["rows"])


def test_one_seed_on_both_sides_never_regresses(check: Check, runs: Path, tmp_path: Path) -> None:
    write_cell(tmp_path / "earlier", "aet", 0, 0.9)
    export(read_records(tmp_path / "earlier")[0], tmp_path / "results")
    write_cell(runs, "aet", 0, 0.2)
    code, body = check()
    assert (code, verdicts_of(body)) == (0, {AET: "checkpoint only"})
    assert (body["rows"][0]["p"], body["rows"][0]["low"]) == (None, None)
    assert body["rows"][0]["difference"] == pytest.approx(-0.7)


def test_seedless_method_can_regress(check: Check, baseline: Path, runs: Path) -> None:
    write_cell(runs, "pixels", None, 0.6)
    assert check()[0] == 1


def test_baseline_without_outcomes_is_compared_across_seeds(check: Check, baseline: Path, runs: Path) -> None:
    (baseline / "digits.jsonl").unlink()
    (baseline / "digits.outcomes.npz").unlink()
    write_seeds(runs, "aet", 0.75, range(3, 6))
    write_cell(runs, "rotation", 9, 0.752)
    code, body = check()
    assert (code, verdicts_of(body)) == (1, {AET: "regressed", ROTATION: "no evidence"})
    assert "no per-image outcomes" in body["notes"][0]
    aet, rotation = body["rows"]
    # By hand: seed means .750 .752 .754 and .800 .802 .804, each of variance 4e-6.
    assert aet["standard_error"] == pytest.approx((2 * 4e-6 / 3) ** 0.5)
    assert aet["degrees_of_freedom"] == pytest.approx(4)
    assert "no per-image outcomes" in aet["remarks"]
    # One value against three: the spread is the baseline's, s sqrt(1 + 1/3).
    assert rotation["standard_error"] == pytest.approx(0.002 * (4 / 3) ** 0.5)
    assert rotation["degrees_of_freedom"] == 2
    assert "spread over seeds taken from the baseline" in rotation["remarks"]


def test_seeds_without_spread_are_not_comparable_after_a_drop(check: Check, baseline: Path, runs: Path) -> None:
    for folder, value in ((runs.parent / "earlier", 0.9), (runs, 0.8)):
        for seed in range(2):
            write_cell(folder, "still", seed, cell_score(value, outcomes=None), arrays={})
    export([r for r in read_records(runs.parent / "earlier")[0] if r.cell["method"]["name"] == "still"], baseline)
    code, body = check()
    assert (code, verdicts_of(body)) == (4, {"still/resnet18/digits": "not comparable"})
    assert "no spread over seeds" in body["rows"][0]["remarks"]


def test_exit_code_is_regressed_then_not_comparable_then_failed(check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "aet", 0.80)
    write_failed(runs, "dim", 0)
    code, body = check()
    assert (code, body["failed"]) == (ExitCode.FAILED_CELLS, ["dim/resnet18/digits: seed 0 is failed: loss is NaN"])
    assert code == 3
    write_failed(runs, "rotation", 0)
    assert check()[0] == 4
    write_cell(runs, "pixels", None, 0.6)
    assert check()[0] == 1


def test_exit_code_is_not_comparable_if_every_score_is_new(check: Check, baseline: Path, runs: Path) -> None:
    write_cell(runs, "dim", 0, 0.5)
    assert check()[0] == 4


def test_check_rejects_a_run_without_records(bench: Bench, baseline: Path, runs: Path) -> None:
    assert bench("check", "runs", "--baseline", BASELINE).exit_code == 2
    runs.mkdir()
    result = bench("check", "runs", "--baseline", BASELINE)
    assert result.exit_code == 2
    assert "no record in runs" in result.stderr


def test_check_ignores_smoke_records(bench: Bench, check: Check, baseline: Path, runs: Path) -> None:
    write_seeds(runs, "rotation", 0.75)
    write_cell(runs, "aet", 0, 0.1, state="smoke")
    assert verdicts_of(check()[1]) == {ROTATION: "no evidence"}
    text = (baseline / "digits.csv").read_text()
    (baseline / "scores.csv").write_text(text.replace(",done,", ",smoke,"))
    code, body = check(against="results/scores.csv")
    assert code == 4
    assert "has no finished cell" in body["missing"]


def test_check_rejects_a_run_of_smoke_records_only(bench: Bench, baseline: Path, runs: Path) -> None:
    write_cell(runs, "aet", 0, 0.9, state="smoke")
    result = bench("check", "runs", "--baseline", BASELINE)
    assert result.exit_code == 2
    assert "no record in runs" in result.stderr
    assert bench("check", "runs", "--baseline", BASELINE, "--update").exit_code == 2


def test_check_compares_cells_of_real_runs(third_party: Path, bench: Bench) -> None:
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


def test_report_counts_its_verdicts() -> None:
    row = CheckRow(cell="a/b/c", score="knn", verdict="new", now=0.5)
    report = CheckReport(baseline="b.csv", margin=0.005, rows=(row,))
    assert (report.count("new"), report.count("regressed"), report.exit_code) == (1, 0, 4)
    assert dataclasses.replace(report, rows=()).summary.startswith("not comparable: no scores")
