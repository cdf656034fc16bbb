"""The Python API: benchmark.run and benchmark.read_results give what the command line prints."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import INLINE, STRIPES
from conftest import DATA, Bench
from sample_cells import write_cell, write_seeds
from sample_records import sample_record, sample_score

import benchmark
from benchmark.records.csv_columns import NAMES
from benchmark.records.record_files import write_record
from benchmark.reports.render import FORMATS, render_report

Run = Callable[..., benchmark.Results]


@pytest.fixture
def run(third_party: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`benchmark.run` for one epoch in this process, on the third-party encoder, dataset and evaluator."""
    monkeypatch.chdir(tmp_path)

    def with_defaults(methods: str | list[str], **changes: Any) -> benchmark.Results:
        fields = {"encoders": "tiny", "datasets": "stripes", "evaluators": "centroid", "epochs": 1, "floors": False}
        where = {"executor": "inline", "device": "cpu", "quiet": True}
        return benchmark.run(methods, **{**fields, **where, **changes})

    return with_defaults


def cells(results: benchmark.Results) -> set[tuple[str, int | None]]:
    return {(record.labels[0], record.seed) for record in results.records}


# --- benchmark.run ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_run_equals_bench_run(run: Run, bench: Bench, form: Any) -> None:
    results = run("mean_color,byol")
    command = bench("run", "--methods", "mean_color,byol", *STRIPES, *INLINE, "--format", form)
    assert render_report(results.report(), form) == command.stdout
    assert f"{len(results.records)} finished before" in command.stderr


@pytest.mark.parametrize("methods", ["mean_color,byol", ["mean_color", "byol"], ["mean_color,byol"]])
def test_items_are_a_text_or_a_list(run: Run, methods: str | list[str]) -> None:
    assert cells(run(methods)) == {("mean_color", 0), ("byol", 0)}


@pytest.mark.parametrize("seeds", [2, "2", "0,1", [0, 1], range(2)], ids=repr)
def test_seeds_are_a_number_a_text_or_a_list(run: Run, seeds: Any) -> None:
    assert cells(run("mean_color", seeds=seeds)) == {("mean_color", 0), ("mean_color", 1)}


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.5, "schedule": "milestones", "milestones": [1, 2], "nesterov": False},
        "lr=.5,schedule=milestones,milestones=1;2,nesterov=false",
        ["lr=.5", "schedule=milestones,milestones=1;2", "nesterov=false"],
    ],
)
def test_settings_are_a_mapping_or_texts(run: Run, settings: Any) -> None:
    recipe = run("mean_color", settings=settings).records[0].cell["recipe"]
    assert (recipe["lr"], recipe["milestones"], recipe["nesterov"]) == (0.5, [1, 2], False)


@pytest.mark.parametrize("taps", ["conv", ["conv"], "conv,"])
def test_taps_are_a_text_or_a_list(run: Run, taps: Any) -> None:
    assert {score.tap for score in run("mean_color", taps=taps).records[0].scores} == {"conv"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": "mean_colour"}, "did you mean 'mean_color'"),
        ({"methods": ["mean_color[part=top]"]}, "one of center, left"),
        ({"seeds": []}, "seeds are integers"),
        ({"seeds": [-1]}, "seeds are integers"),
        ({"seeds": True}, "seeds are integers"),
        ({"budget": "rich"}, "budget='rich' is not valid; choose one of quick, paper"),
        ({"rerun": "some"}, "choose one of none, failed, stale, all"),
        ({"accelerate": "fast"}, "choose one of auto, off, compile"),
        ({"epochs": 0}, "epochs=0 is not valid; write an integer from 1 to 1000000"),
        ({"epochs": 1.5}, "epochs=1.5"),
        ({"threads_per_cell": 0}, "threads_per_cell=0"),
        ({"checkpoint_epochs": True}, "checkpoint_epochs=True"),
        ({"timeout": 0}, "timeout=0 is not valid; write a number above 0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"timeout": float("inf")}, "timeout=inf"),
        ({"timeout": "5"}, "timeout='5'"),
        ({"timeout": True}, "timeout=True"),
        ({"epochs": 10**30}, "epochs=1000"),
        ({"threads_per_cell": None}, "threads_per_cell=None"),
        ({"checkpoint_minutes": float("nan")}, "checkpoint_minutes=nan"),
        ({"evaluators": ""}, "evaluators='' names nothing"),
        ({"evaluators": []}, "evaluators=[] names nothing"),
        ({"methods": None}, "methods=None names nothing"),
        ({"encoders": ["tiny", " "]}, "encoders=['tiny', ' '] names nothing"),
        ({"taps": " , "}, "taps=' , ' names nothing"),
        ({"settings": " "}, "settings=' ' names nothing"),
        ({"seeds": ""}, "--seeds '': seeds are integers"),
        ({"seeds": 2.5}, "seeds=2.5 is not valid"),
        ({"seeds": range(10**9)}, "at most 10000 seeds"),
        ({"seeds": 10**9}, "at most 10000 seeds"),
        ({"seeds": [2**40]}, "a seed is at most"),
        ({"device": ""}, "device='' is empty"),
        ({"executor": "\n"}, "executor='\\n' is empty"),
        ({"out": ""}, "out='' is empty"),
        ({"out": 5}, "out=5 is not valid; write a path"),
        ({"out": "a\0b"}, "must not contain \\x00"),
        ({"data_dir": " "}, "data_dir=' ' is empty"),
        ({"checkpoint_minutes": -1}, "checkpoint_minutes=-1"),
        ({"per_device": 0}, "per-device 0"),
        ({"settings": {"lrr": 1}}, "did you mean 'lr'"),
        ({"settings": {"lr": {"a": 1}}}, "lr"),
        ({"executor": "inline,local"}, "exactly one executor"),
    ],
    ids=str,
)
def test_invalid_argument_is_a_usage_error_and_nothing_runs(
    run: Run, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(benchmark.UsageError, match=re.escape(message)):
        run(**{"methods": "mean_color", **arguments})
    assert list(tmp_path.glob("runs/*/record.json")) == []


def test_failed_cell_is_listed_with_reason_and_traceback(run: Run) -> None:
    results = run("fault_loss,mean_color")
    (failed,) = results.failed
    assert "the third-party loss failed" in failed.reason
    assert "Traceback" in failed.traceback
    (missing,) = results.missing
    assert (missing.method, missing.seed) == ("fault_loss", 0)
    assert "1 failed" in results.summary[0]
    assert repr(results) == "<Results of 1 cells from runs: 1 missing, 1 failed>"
    assert [outcome.reason for outcome in benchmark.read_results("runs").failed] == [failed.reason]


def test_run_returns_requested_cells_and_read_results_all(run: Run) -> None:
    run("mean_color,byol")
    assert cells(run("byol")) == {("byol", 0)}
    assert cells(benchmark.read_results("runs")) == {("byol", 0), ("mean_color", 0)}


def test_interrupt_keeps_finished_cells(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    monkeypatch.setenv("THIRD_PARTY_GATE", str(gate))

    def interrupt() -> None:
        while not list(tmp_path.glob("runs/mean_color-*/record.json")):
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    # A test run in the background ignores SIGINT.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            run("mean_color,fault_waits")
        thread.join()
    finally:
        signal.signal(signal.SIGINT, handler)
    gate.unlink()
    assert ("mean_color", 0) in cells(benchmark.read_results("runs"))
    assert "1 done, 1 finished before" in run("mean_color,fault_waits").summary[0]


# --- benchmark.read_results -------------------------------------------------------------------------------------------


def test_leaderboard_has_the_results_of_its_folder(bench: Bench, tmp_path: Path) -> None:
    for method in ("aet", "dim"):
        write_cell(tmp_path / "runs", method, 0, 0.5)
    bench("export", "runs", "--to", "boards")
    of_folder, of_jsonl, of_csv = map(
        benchmark.read_results, ("runs", "boards/digits.jsonl", Path("boards/digits.csv"))
    )
    assert cells(of_folder) == cells(of_jsonl) == cells(of_csv) == {("aet", 0), ("dim", 0)}
    assert of_folder.to_frame().equals(of_jsonl.to_frame())
    assert str(of_folder) == str(of_csv)


@pytest.mark.parametrize("path", ["nowhere", "nowhere.jsonl", "nowhere.csv", "empty"])
def test_path_without_records_is_a_usage_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(benchmark.UsageError, match="no record in"):
        benchmark.read_results(tmp_path / path)


def test_damaged_record_is_left_out_and_named(tmp_path: Path) -> None:
    damaged, whole = (write_cell(tmp_path, method, 0, 0.5) for method in ("aet", "dim"))
    (Path(damaged.folder) / "record.json").write_text("{")
    results = benchmark.read_results(tmp_path)
    assert cells(results) == {("dim", 0)}
    (problem,) = results.problems
    assert damaged.folder in problem
    (Path(whole.folder) / "record.json").write_text("{")
    with pytest.raises(benchmark.UsageError, match=re.escape(whole.folder)):
        benchmark.read_results(tmp_path)


# --- Results ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path: Path) -> benchmark.Results:
    """Scores of two evaluators on two datasets, one of them with one evaluator."""
    linear, knn = sample_score(evaluator="linear", protocol="linear@1", metric="accuracy"), sample_score(0.75)
    write_record(tmp_path / "a", sample_record("aet", scores=(linear, knn)))
    write_record(tmp_path / "b", sample_record("dim", dataset="cifar10", scores=(knn,)))
    return benchmark.read_results(tmp_path)


def test_table_is_named_by_evaluator_and_dataset(results: benchmark.Results) -> None:
    assert results.table("linear").title.startswith("linear on digits")
    assert results.table("knn", "cifar10").rows[0][0] == "dim"
    assert results.table("knn", dataset="digits").rows[0][0] == "aet"
    assert len(results.tables()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lineer",), "no table of 'lineer'; available: "),
        (("linear", "cifar10"), "linear on digits"),
        (("knn",), "2 tables of 'knn': "),
    ],
)
def test_unknown_or_ambiguous_table_is_a_usage_error(
    results: benchmark.Results, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises(benchmark.UsageError, match=re.escape(message)):
        results.table(*arguments)


def test_table_text_is_that_of_bench_table(results: benchmark.Results, bench: Bench) -> None:
    shown = bench("table", str(results.source)).stdout
    assert str(results.table("linear")) in shown
    assert str(results).rstrip() == shown.rstrip()


def test_html_escapes_every_text(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"
    scores = (sample_score(evaluator=name, metric=name),)
    write_record(tmp_path / "a", sample_record(name, name, name, scores=scores))
    results = benchmark.read_results(tmp_path)
    for html in (results._repr_html_(), results.tables()[0]._repr_html_(), results.report()._repr_html_()):
        assert "<script>" not in html
        assert html.count("&lt;script&gt;") >= 5


def test_frame_has_one_row_per_score_with_the_csv_columns(results: benchmark.Results) -> None:
    frame = results.to_frame()
    assert list(frame.columns) == list(NAMES)
    assert frame["value"].tolist() == [0.75, 0.75, 0.5]


def test_compare_equals_bench_compare(run: Run, bench: Bench) -> None:
    results = run("mean_color,byol", seeds=3)
    sides = ("mean_color/tiny/stripes", "byol/tiny/stripes")
    assert str(results.compare(*sides)).rstrip() == bench("compare", *sides).stdout.rstrip()
    with_cka = results.compare(f"{sides[0]}/0", f"{sides[1]}/0", cka=True)
    assert "cka" in with_cka.facts
    with pytest.raises(benchmark.RecordError, match="no record matches"):
        results.compare("mean_color/tiny/stripes", "nobody")


def test_check_passes_against_its_own_leaderboard(run: Run, bench: Bench) -> None:
    results = run("mean_color", seeds=3)
    bench("export", "runs", "--to", "boards")
    for checked in (results, benchmark.read_results("boards/stripes.jsonl")):
        check = checked.check("boards/stripes.csv", margin=0.01)
        assert (check.exit_code, {row.verdict for row in check.rows}) == (0, {"no evidence"})
        assert check.summary in str(check)
        assert "<table>" in check._repr_html_()


def test_check_reports_a_regression(bench: Bench, tmp_path: Path) -> None:
    write_seeds(tmp_path / "good", "aet", 0.9)
    write_seeds(tmp_path / "runs", "aet", 0.5)
    bench("export", "good", "--to", "boards")
    check = benchmark.read_results("runs").check("boards/digits.csv")
    command = bench("check", "runs", "--baseline", "boards/digits.csv")
    assert check.exit_code == command.exit_code == 1
    assert str(check).rstrip() == command.stdout.rstrip()


# --- a script ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_notebook_example_runs_without_a_main_guard(tmp_path: Path) -> None:
    script = DATA / "notebook_example.py"
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "knn on digits[subset=200]" in ran.stdout
    assert "methods across seeds" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "5 cells"
    assert len(list(tmp_path.glob("runs/*/record.json"))) == 5


@pytest.mark.parametrize(
    "value", ["", " ", "a\0b", "a\x1bb", "x" * 5000, "x" * 300, None, 5], ids=lambda each: repr(each)[:9]
)
def test_paths_and_names_that_mean_nothing_are_usage_errors(value: Any) -> None:
    results = benchmark.Results(source=Path("runs"))
    for call in (
        lambda: benchmark.read_results(value),
        lambda: benchmark.load_encoder(value),
        lambda: results.compare(value, "mean_color/tiny/stripes"),
        lambda: results.check(value),
    ):
        with pytest.raises(benchmark.UsageError, match=r"(path|record|a|baseline)=.* (is empty|is not valid)"):
            call()


def test_unknown_device_of_an_encoder_is_a_usage_error(run: Run) -> None:
    results = run("mean_color")
    with pytest.raises(benchmark.UsageError, match="device=nosuch cannot be used"):
        benchmark.load_encoder(results.records[0].folder, device="nosuch")
