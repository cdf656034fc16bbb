"""Marks: code and weights that have changed since a record was written, in tables, plans and status."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import INLINE
from conftest import Bench, PluginMaker
from flipped_bits import flip_bit
from verified_runs import change_records

from benchmark.api.cells import ScoreRequest
from benchmark.execution import cell_scoring
from benchmark.records.record import Record
from benchmark.records.record_files import read_records

BODY = """
import dataclasses
import bench_third_party as third_party

@benchmark.hookimpl
def bench_{kind}():
    (spec,) = third_party.bench_{kind}()
    yield dataclasses.replace(spec, name="{name}")
"""
CELL = ("--methods", "own_method,mean_color", "--encoders", "tiny", "--dataset", "stripes")
BOTH = ("--evaluators", "centroid,own")
PLUGINS = "third_party,executors,methods_plugin,evaluators_plugin"

Edit = Callable[[str], None]


@pytest.fixture
def edit(third_party: Path, make_plugin: PluginMaker, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Installs a method and an evaluator, each in a plugin of its own. Returns a function that edits one of the plugins."""
    monkeypatch.setenv("BENCH_PLUGINS", PLUGINS)
    folders = {}
    for kind, name in (("methods", "own_method"), ("evaluators", "own")):
        plugin = f"{kind}_plugin"
        site = make_plugin(BODY.format(kind=kind, name=name), plugin, f"repbench-{kind}")
        folders[kind] = site / f"{plugin}_package"
    (folders["methods"] / "data.json").write_text("[]")

    def change(kind: str) -> None:
        path = folders[kind] / "__init__.py"
        path.write_text(path.read_text() + "\n# edited\n")

    return change


@pytest.fixture
def run(edit: Edit, bench: Bench) -> Callable[..., list[Record]]:
    """Runs two cells of one epoch; returns their records, that of `mean_color` first."""

    def finished(*words: str) -> list[Record]:
        result = bench("run", *CELL, *evaluators_of(words), *INLINE, "--quiet", *words)
        assert result.exit_code == 0, result.output
        return read_records(Path("runs"))[0]

    return finished


def evaluators_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """Both evaluators, unless the words name some."""
    return () if "--evaluators" in words else BOTH


def planned(bench: Bench, *words: str) -> dict[str, tuple[str, str, str]]:
    """Method -> action, state and detail of its cell in the plan."""
    result = bench("plan", *CELL, *evaluators_of(words), *INLINE, *words, "--format", "json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    return {row["folder"].split("-")[0]: (row["action"], row["state"], row["detail"]) for row in rows}


def table(bench: Bench, *words: str) -> str:
    """The tables of runs/, each run of white space as one space."""
    return " ".join(bench("table", "runs", "--format", "md", *words).stdout.split())


def test_records_hold_a_fingerprint_of_each_plugin(run: Callable[..., list[Record]]) -> None:
    record = next(each for each in run() if each.labels[0] == "own_method")
    sources = record.provenance["sources"]
    assert sources["method"]["plugin"] == "repbench-methods:methods_plugin"
    assert sources["encoder"] == sources["dataset"]
    assert sources["encoder"]["plugin"] == "repbench-third-party:third_party"
    assert {label: each["plugin"] for label, each in sources["evaluators"].items()} == {
        "centroid": "repbench-third-party:third_party",
        "own": "repbench-evaluators:evaluators_plugin",
    }
    assert len({sources["benchmark"], sources["method"]["source"], sources["encoder"]["source"]}) == 3


def test_unchanged_code_has_no_mark(run: Callable[..., list[Record]], bench: Bench) -> None:
    run()
    assert set(planned(bench).values()) == {("keep", "done", "")}
    assert "since" not in table(bench)
    assert "since" not in bench("status", "runs").stdout


def test_changed_method_is_a_mark_and_trained_again_only_on_request(
    run: Callable[..., list[Record]], edit: Edit, bench: Bench
) -> None:
    before = run()
    edit("methods")
    mark = "plugin code changed since (methods_plugin)"
    assert planned(bench) == {"own_method": ("keep", "stale", mark), "mean_color": ("keep", "done", "")}
    for words in ((), ("--by", "tap"), ("--sort", "cost")):
        assert mark in table(bench, *words), words
    assert table(bench).count(f"{mark} |") == 4  # two taps of two evaluators
    assert "1 finished cells: their plugins' code" in " ".join(bench("status", "runs").stdout.split())
    assert run() == before
    again = run("--rerun", "stale")
    assert again[0] == before[0]
    assert again[1].provenance["sources"]["method"] != before[1].provenance["sources"]["method"]
    assert [score.value for score in again[1].scores] == [score.value for score in before[1].scores]
    assert set(planned(bench).values()) == {("keep", "done", "")}


def test_changed_method_does_not_keep_further_scores_from_being_computed(
    run: Callable[..., list[Record]], edit: Edit, bench: Bench
) -> None:
    before = run("--evaluators", "centroid")
    edit("methods")
    action, state, detail = planned(bench)["own_method"]
    assert (action, state) == ("run", "scores missing")
    assert detail.endswith("; plugin code changed since (methods_plugin)")
    after = run()
    assert [len(each.scores) for each in after] == [4, 4]
    assert after[1].provenance["sources"]["method"] == before[1].provenance["sources"]["method"]
    assert planned(bench)["own_method"][1] == "stale"


def test_changed_evaluator_marks_its_scores_and_only_they_are_computed_again(
    run: Callable[..., list[Record]], edit: Edit, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run()
    edit("evaluators")
    assert set(planned(bench).values()) == {("keep", "stale", "evaluator code changed since own")}
    text = table(bench)
    of_centroid, of_own = text.index("centroid on stripes"), text.index("own on stripes")
    assert text.index("evaluator code changed since") > of_own > of_centroid
    evaluated: list[str] = []

    def evaluate(subject: Any, request: ScoreRequest, *arguments: Any) -> Any:
        evaluated.append(f"{request.evaluator.label} at {request.tap}")
        return evaluate_as_before(subject, request, *arguments)

    evaluate_as_before = cell_scoring.evaluate
    monkeypatch.setattr(cell_scoring, "evaluate", evaluate)
    after = run("--rerun", "stale")
    assert evaluated == ["own at conv", "own at fc"] * 2
    for old, new in zip(before, after, strict=True):
        assert new.provenance["time"] == old.provenance["time"]  # not trained again
        assert {score.key(): score.value for score in new.scores} == {score.key(): score.value for score in old.scores}
    assert {state for _, state, _ in planned(bench).values()} == {"done"}


def test_scores_of_two_codes_of_an_evaluator_are_marked(
    run: Callable[..., list[Record]], edit: Edit, bench: Bench
) -> None:
    run("--taps", "conv")
    edit("evaluators")
    records = run("--taps", "all")
    assert [len(each.provenance["sources"]["evaluators"]["own"]["sources"]) for each in records] == [2, 2]
    assert "evaluator code changed since" in table(bench)
    records = run("--taps", "all", "--rerun", "stale")
    assert [len(each.provenance["sources"]["evaluators"]["own"]["sources"]) for each in records] == [1, 1]


def test_missing_plugin_and_unknown_fingerprints_are_no_change(
    run: Callable[..., list[Record]], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    change_records(Path("runs"), lambda body: body["provenance"]["sources"]["method"].update(plugin="gone:gone"))
    assert {state for _, state, _ in planned(bench).values()} == {"done"}


def test_changed_core_is_a_mark_and_not_stale(run: Callable[..., list[Record]], bench: Bench) -> None:
    run()
    change_records(Path("runs"), lambda body: body["provenance"]["sources"].update(benchmark="0" * 16))
    assert set(planned(bench).values()) == {("keep", "done", "benchmark code changed since")}
    assert "All rows, benchmark code changed since. benchmark code changed since: " in table(bench)


def test_record_of_an_earlier_version_is_unverified(run: Callable[..., list[Record]], bench: Bench) -> None:
    run()
    change_records(Path("runs"), lambda body: (body["provenance"].pop("sources"), body["checks"].pop("model_file")))
    assert set(planned(bench).values()) == {("keep", "done", "unverified")}
    assert "All rows, unverified. unverified: an earlier version wrote the record" in table(bench)
    bench("export", "runs", "--to", "boards")
    assert "unverified" not in bench("table", "boards/stripes.jsonl").stdout


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["flipped bit, time kept", "size", "flipped bit that a run has met"])
def test_changed_weights_are_a_mark_and_trained_again_on_request(
    run: Callable[..., list[Record]], bench: Bench, damage: str
) -> None:
    before = run("--evaluators", "centroid")
    (weights,) = Path("runs").glob("own_method-*/model.safetensors")
    intact = weights.read_bytes()
    if damage == "size":
        weights.write_bytes(intact + b" ")
        os.utime(weights, (0, 0))
    else:
        before_flip = weights.stat().st_mtime_ns
        flip_bit(weights)
    if damage == "flipped bit, time kept":
        os.utime(weights, ns=(before_flip, before_flip))
    if damage == "flipped bit that a run has met":
        assert bench("run", *CELL, *BOTH, *INLINE, "--quiet").exit_code == 3
    assert planned(bench, "--evaluators", "centroid")["own_method"] == ("keep", "stale", "weights changed")
    assert planned(bench)["own_method"][1:] == ("scores missing", "own at conv, own at fc; weights changed")
    assert "weights changed" in table(bench)
    result = bench("run", *CELL, *BOTH, *INLINE, "--quiet")
    assert result.exit_code == 3
    assert f"cannot load {weights.absolute()}" in result.stderr
    assert read_records(Path("runs"))[0][1].scores == before[1].scores
    after = run("--rerun", "stale")
    assert weights.read_bytes() == intact
    assert [len(each.scores) for each in after] == [4, 4]
    assert "weights changed" not in table(bench)


def test_weights_that_were_restored_or_copied_or_deleted_have_no_mark(
    run: Callable[..., list[Record]], bench: Bench
) -> None:
    run()
    (weights,) = Path("runs").glob("own_method-*/model.safetensors")
    intact = weights.read_bytes()
    flip_bit(weights)
    weights.write_bytes(intact)
    assert planned(bench)["own_method"][1] == "done"
    shutil.copytree("runs", "copy", copy_function=shutil.copy)  # with new times
    assert set(planned(bench, "--out", "copy").values()) == {("keep", "done", "")}
    weights.unlink()
    assert planned(bench)["own_method"][1] == "done"


def test_rerun_all_trains_a_cell_with_changed_weights_and_missing_scores(
    run: Callable[..., list[Record]], bench: Bench
) -> None:
    """It is the way out that the message names."""
    run("--evaluators", "centroid")
    (weights,) = Path("runs").glob("own_method-*/model.safetensors")
    intact = weights.read_bytes()
    flip_bit(weights)
    assert [len(each.scores) for each in run("--rerun", "all")] == [4, 4]
    assert weights.read_bytes() == intact


def test_changed_outcomes_are_a_mark_and_computed_again_on_request(
    run: Callable[..., list[Record]], bench: Bench
) -> None:
    before = run()
    for path in Path("runs").glob("*/predictions.npz"):
        flip_bit(path, 200)
    assert {state for _, state, _ in planned(bench).values()} == {"stale"}
    assert "outcomes changed" in planned(bench)["own_method"][2]
    assert table(bench).count("outcomes changed |") == 8
    after = run("--rerun", "stale")
    assert [[score.value for score in each.scores] for each in after] == [
        [s.value for s in each.scores] for each in before
    ]
    assert {state for _, state, _ in planned(bench).values()} == {"done"}
