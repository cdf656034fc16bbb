"""The command line: bad input gets a sentence and an exit code and loses nothing; good input prints what was asked for."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from conftest import Bench
from PIL import Image
from sample_figures import record_of, scored

from benchmark.api.parameters import as_dict
from benchmark.execution import devices, runner, session
from benchmark.records.record import Record, read_records, write_record

QUICK = ("--executor", "inline", "--device", "cpu", "--epochs", "1", "--no-floors")
STRIPES = ("--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid")


@pytest.fixture
def run(third_party: Path, bench: Bench) -> Bench:
    """`bench run` inline on the third-party encoder, dataset and evaluator, and on what is named besides."""

    def with_defaults(methods: str, *words: str) -> Result:
        return bench("run", "--methods", methods, *STRIPES, *QUICK, *words)

    return with_defaults


def refused(result: Result, *words: str, code: int = 2) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


# --- unknown names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mean_colour",), ("no method called 'mean_colour'", "did you mean 'mean_color'?", "byol")),
        (("z*",), ("no method called 'z*'",)),
        (("mean_color", "--encoders", "tinny"), ("no encoder called 'tinny'", "did you mean 'tiny'?")),
        (("mean_color", "--dataset", "stripe"), ("no dataset called 'stripe'", "did you mean 'stripes'?")),
        (("mean_color", "--evaluators", "centroids"), ("no evaluator called", "did you mean 'centroid'?")),
        (("mean_color", "--executor", "loca"), ("no executor called 'loca'", "inline")),
        (("mean_color[prat=left]",), ("no parameter of method 'mean_color' called 'prat'", "did you mean 'part'?")),
        (("mean_color", "--dataset", "stripes[trian=20]"), ("did you mean 'train'?",)),
        (("mean_color", "--evaluators", "centroid[k=3]"), ("no parameter of evaluator 'centroid' called 'k'",)),
        (("mean_color", "--executor", "inline[workers=2]"), ("no parameter of executor 'inline'", "'workers'")),
        (("mean_color", "--set", "lrr=.1"), ("no recipe key called 'lrr'", "did you mean 'lr'?")),
        (("repbench:mean_color",), ("no method called 'repbench:mean_color'",)),
        (("mean_color", "--taps", "nowhere"), ("tiny has no tap 'nowhere'; it has conv, fc",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0] != "" else None,
)
def test_an_unknown_name_gets_the_nearest_one_and_nothing_runs(
    run: Bench, tmp_path: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused(run(*words), *said)
    assert list(tmp_path.glob("runs/*/record.json")) == []


# --- wrong values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mean_color[part=top]",), ("part=top cannot be; part is one of center, left",)),
        (("byol[momentum=high]",), ("momentum=high cannot be; momentum is a number",)),
        (("byol[momentum=1.5]",), ("momentum=1.5 cannot be; it is 0 or more and below 1",)),
        (("byol[width=2.5]",), ("width=2.5 cannot be; width is a whole number",)),
        (("mean_color", "--dataset", "stripes[train=many]"), ("train=many cannot be",)),
        (("mean_color", "--dataset", "stripes[subset=0]"), ("subset=0 cannot be",)),
        (("mean_color", "--dataset", "stripes[subset=1000]"), ("subset=1000 is more than its 48 training images",)),
        (("mean_color", "--dataset", "stripes[subset=3]"), ("subset=3 is fewer than its 4 classes",)),
        (("mean_color", "--evaluators", "centroid[pool=max]"), ("pool=max cannot be; pool is average or flat",)),
        (("mean_color", "--set", "lr=fast"), ("lr=fast cannot be; lr is a number",)),
        (("mean_color", "--set", "batch=1"), ("batch=1", "2 images a batch")),
        (("mean_color", "--set", "schedule=sine"), ("one of constant, cosine, linear, milestones",)),
        (("mean_color", "--set", "lr"), ("'lr' is no parameter; write key=value",)),
        (("mean_color[part=left",), ("mean_color[part=left", "does not close")),
        (("mean_color[left]",), ("'left' is no parameter; write key=value",)),
        (("mean_color", "--seeds", "x"), ("--seeds x", "whole numbers")),
        (("mean_color", "--seeds", "0"), ("no seed at all",)),
        (("mean_color", "--seeds", "-1"), ("seeds are whole numbers",)),
        (("mean_color", "--epochs", "0"), ("--epochs",)),
        (("mean_color", "--epochs", "few"), ("--epochs",)),
        (("mean_color", "--budget", "rich"), ("--budget", "quick", "paper")),
        (("mean_color", "--rerun", "some"), ("--rerun", "stale")),
        (("mean_color", "--format", "html"), ("--format", "latex")),
        (("mean_color", "--threads-per-cell", "0"), ("--threads-per-cell",)),
        (("mean_color", "--executor", "inline,local"), ("--executor inline,local: name one executor",)),
        (("mean_color", "--dataset", "fault_specks"), ("4 x 4 pixels; the smallest side is 8",)),
        (("mean_color", "--device", "gpu"), ("--device gpu", "cuda:0,1")),
        (("mean_color", "--encoder", "tiny"), ("--encoders",)),
        (("mean_color", "--per-device", "0"), ("--per-device 0", "a whole number from 1, or auto")),
        (("mean_color", "--per-device", "many"), ("--per-device many", "a whole number from 1, or auto")),
        (("mean_color", "--timeout", "0"), ("--timeout",)),
        (("mean_color", "--timeout", "nan"), ("--timeout nan cannot be",)),
        (("mean_color", "--checkpoint-minutes", "-1"), ("--checkpoint-minutes",)),
        (("mean_color", "--checkpoint-minutes", "inf"), ("--checkpoint-minutes inf cannot be",)),
        (("mean_color", "--checkpoint-epochs", "0"), ("--checkpoint-epochs",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_wrong_value_is_told_what_would_be_right_and_nothing_runs(
    run: Bench, tmp_path: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused(run(*words), *said)
    assert list(tmp_path.glob("runs/*/record.json")) == []


@pytest.mark.parametrize(
    ("device", "gpus", "said"),
    [
        ("cuda", 0, ("--device cuda: torch sees no GPU here", "--device cpu")),
        ("cuda:0", 0, ("there is no GPU '0'; torch sees no GPU",)),
        ("cuda:2", 2, ("there is no GPU '2'; torch sees GPUs 0 to 1",)),
        ("cuda:0,x", 2, ("there is no GPU 'x'",)),
        ("cuda:", 2, ("there is no GPU ''",)),
    ],
)
def test_a_device_that_is_not_there_is_an_error_and_leaves_no_trace(
    run: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, said: tuple[str, ...]
) -> None:
    monkeypatch.setattr(devices, "_gpus", lambda: gpus)
    refused(run("mean_color", "--device", device), *said)
    assert not (tmp_path / "runs" / "scores.csv").exists()


def test_a_method_is_required(bench: Bench, third_party: Path) -> None:
    refused(bench("run", *QUICK), "--methods")


def test_a_clash_wants_the_distribution(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,third_party_rotation,rotation,executors")
    refused(run("rotation"), "write repbench:rotation or repbench-third-party:rotation")
    assert run("repbench-third-party:rotation").exit_code == 0


def test_an_unknown_plugin_in_bench_plugins_is_told_of(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "strager")
    refused(run("mean_color"), "no plugin called 'strager'", "BENCH_PLUGINS")


def test_a_broken_plugin_is_mentioned_where_a_name_is_missing(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,third_party_absent,executors")
    refused(run("absent"), "broken plugins: third_party_absent (see bench list plugins)")
    assert run("mean_color").exit_code == 0


# --- image folders ----------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, third_party: Path) -> Path:
    """Two classes with eight images each, in train and in test."""
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,executors,images")
    for split in ("train", "test"):
        for label, color in (("blue", (20, 20, 200)), ("red", (200, 20, 20))):
            place = tmp_path / "photos" / split / label
            place.mkdir(parents=True)
            for number in range(8):
                Image.new("RGB", (10, 10), tuple(value + number for value in color)).save(place / f"{number}.png")
    return tmp_path / "photos"


FOLDER = ("--dataset", "folder[path=photos,size=8]")


def test_a_folder_of_images_is_a_dataset(run: Bench, photos: Path) -> None:
    result = run("mean_color", *FOLDER, "--format", "csv")
    assert result.exit_code == 0, result.output
    (first, *_) = csv.DictReader(io.StringIO(result.stdout))
    assert (first["dataset"], float(first["value"]), first["n"]) == ("photos", 1.0, "16")
    assert str(photos) not in result.stdout


def test_a_folder_that_is_not_there_is_told_of(run: Bench, photos: Path) -> None:
    refused(run("mean_color", "--dataset", "folder[path=nowhere]"), "nowhere does not exist", "train/<class>")
    refused(run("mean_color", "--dataset", "folder"), "write 'folder[path=DIR]'")


def test_a_folder_without_a_test_split_is_told_of(run: Bench, photos: Path) -> None:
    (photos / "test").rename(photos / "val")
    refused(run("mean_color", *FOLDER), "there is no folder 'test'", "'val'")


def test_a_folder_with_one_class_is_told_of(run: Bench, photos: Path) -> None:
    for split in ("train", "test"):
        (photos / split / "red").rename(photos.parent / f"red-{split}")
    refused(run("mean_color", *FOLDER), "one class only, 'blue'")


def test_a_broken_image_is_named_and_nothing_runs(run: Bench, photos: Path, tmp_path: Path) -> None:
    path = photos / "train" / "blue" / "3.png"
    path.write_bytes(path.read_bytes()[:40])
    refused(run("mean_color", *FOLDER), "train/blue/3.png", "cannot be decoded")
    assert list(tmp_path.glob("runs/*/record.json")) == []


def test_a_folder_of_specks_is_refused(run: Bench, photos: Path) -> None:
    refused(run("mean_color", "--dataset", "folder[path=photos,size=4]"), "size=4 is too small")


# --- output folders ---------------------------------------------------------------------------------------------------


def test_an_output_folder_that_cannot_be_written_is_told_of(run: Bench, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    refused(run("mean_color"), "--out runs cannot be written", "choose another folder")
    refused(run("mean_color", "--out", "runs/below"), "--out runs/below cannot be written")
    assert (tmp_path / "runs").read_text() == "a file in the way"


def test_a_truncated_record_is_done_again_and_kept_aside(run: Bench, tmp_path: Path) -> None:
    assert run("mean_color").exit_code == 0
    (path,) = tmp_path.glob("runs/*/record.json")
    path.write_bytes(path.read_bytes()[:50])
    assert "unreadable" in run("mean_color", "--dry-run").stdout
    again = run("mean_color")
    assert again.exit_code == 0
    assert "record.json.unreadable-1" in again.stderr
    assert json.loads(path.read_text())["state"] == "done"


def test_a_record_of_another_schema_version_stops_the_run_and_stays(run: Bench, tmp_path: Path) -> None:
    assert run("mean_color").exit_code == 0
    (path,) = tmp_path.glob("runs/*/record.json")
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 7'))
    before = path.read_bytes()
    refused(run("mean_color"), "schema version 7, this repbench reads 1", "another --out")
    refused(run("mean_color", "--dry-run"), "schema version 7")
    refused(run("mean_color", "--rerun", "all"), "schema version 7")
    assert path.read_bytes() == before


# --- methods that go wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("fault_build", "RuntimeError: the third-party build failed"),
        ("fault_loss", "RuntimeError: the third-party loss failed"),
        ("fault_nan", "the loss was not finite in step 3"),
        ("fault_detached", "its loss does not depend on the encoder"),
    ],
)
def test_a_method_that_goes_wrong_costs_exit_code_3_and_no_other_cell(
    run: Bench, tmp_path: Path, method: str, said: str
) -> None:
    result = run(f"{method},mean_color")
    refused(result, said, "1 cells done, 0 finished before, 1 failed", code=3)
    rows = [line for line in result.stdout.splitlines() if method in line]
    assert rows
    assert "failed" in rows[0]
    states = {record.cell["method"]["name"]: record.state for record in read_records(tmp_path / "runs")[0]}
    assert states == {method: "failed", "mean_color": "done"}


def test_v_shows_tracebacks_of_failed_cells(run: Bench) -> None:
    assert "Traceback" in run("fault_loss", "-v").stderr


def test_an_evaluator_that_fails_is_named_and_the_others_scores_are_shown(run: Bench) -> None:
    result = run("mean_color", "--evaluators", "fault_raises,centroid")
    refused(result, "fault_raises at conv: ZeroDivisionError: the third-party evaluator failed", code=3)
    assert "centroid on stripes" in result.stdout
    assert "not all scores" in result.stdout


def test_all_is_well_after_the_cause_is_gone(run: Bench) -> None:
    assert run("mean_color", "--evaluators", "fault_raises").exit_code == 3
    result = run("mean_color")
    assert result.exit_code == 0
    assert "1 cells done" in result.stderr


# --- dry runs ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_lists_cells_with_their_state_and_runs_nothing(run: Bench, tmp_path: Path) -> None:
    run("mean_color,fault_loss")
    before = sorted(path.name for path in (tmp_path / "runs").iterdir())
    shown = run("mean_color,fault_loss,byol", "--seeds", "2", "--dry-run")
    assert shown.exit_code == 0
    *cells, counts, time = shown.stdout.splitlines()
    states = {line.split()[2].rpartition("-")[0]: line.split()[:2] for line in cells}
    assert states == {
        "mean_color-tiny-stripes-s0": ["keep", "done"],
        "mean_color-tiny-stripes-s1": ["run", "new"],
        "fault_loss-tiny-stripes-s0": ["run", "failed"],
        "fault_loss-tiny-stripes-s1": ["run", "new"],
        "byol-tiny-stripes-s0": ["run", "new"],
        "byol-tiny-stripes-s1": ["run", "new"],
    }
    assert counts == "6 cells, 5 to run, 0 combinations skipped"
    assert "s of work, " in time
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == before


def test_plan_is_run_dry_run(run: Bench, bench: Bench, tmp_path: Path) -> None:
    dry = run("mean_color,byol", "--seeds", "2", "--dry-run")
    planned = bench("plan", "--methods", "mean_color,byol", *STRIPES, *QUICK, "--seeds", "2")
    assert planned.stdout == dry.stdout
    assert not (tmp_path / "runs").exists()


# --- configuration files ----------------------------------------------------------------------------------------------

CONFIG = """
methods = ["mean_color", "byol[momentum=0.5]"]
encoders = "tiny"
dataset = "stripes"
evaluators = ["centroid"]
executor = "inline"
device = "cpu"
no-floors = true
epochs = 3
seeds = [0, 2]
taps = ["conv"]
format = "csv"
out = "elsewhere"

[set]
lr = 0.02
schedule = "milestones"
milestones = [1, 2]
nesterov = false
"""


def test_a_configuration_file_holds_the_options_of_the_command_line(
    third_party: Path, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "bench.toml").write_text(CONFIG)
    result = bench("run", "--config", "bench.toml")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["method"], row["seed"], row["epochs"], row["tap"]) for row in rows] == [
        (method, seed, "3", "conv") for method in ("byol[momentum=0.5]", "mean_color") for seed in ("0", "2")
    ]
    records, _ = read_records(tmp_path / "elsewhere")
    recipe = records[0].cell["recipe"]
    assert (recipe["lr"], recipe["schedule"], recipe["milestones"], recipe["nesterov"]) == (
        0.02,
        "milestones",
        [1, 2],
        False,
    )


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(
    third_party: Path, bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "bench.toml").write_text(CONFIG)
    shown = bench("run", "--methods", "mean_color", "--config", "bench.toml", "--seeds", "1", "--dry-run").stdout
    assert "1 cells, 1 to run" in shown
    result = bench("run", "--config", "bench.toml", "--methods", "mean_color", "--seeds", "1", "--epochs", "1")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    assert (row["epochs"], row["seed"], row["tap"]) == ("1", "0", "conv")


def test_plan_reads_a_file_that_was_written_for_run(third_party: Path, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(CONFIG)
    planned = bench("plan", "--config", "bench.toml")
    assert planned.exit_code == 0, planned.output
    assert planned.stdout == bench("run", "--config", "bench.toml", "--dry-run").stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('methds = "mean_color"', ("no key called 'methds'", "did you mean 'methods'?", "bench.toml")),
        ('form = "csv"', ("no key called 'form'", "did you mean 'format'?")),
        ('settings = "lr=.1"', ("no key called 'settings'", "set")),
        ('methods = "mean_color', ("--config bench.toml",)),
        ('methods = "mean_color"\nepochs = "many"', ("--epochs", "many")),
        ('methods = "mean_color"\nepochs = [1]', ("epochs = [1] cannot be",)),
        ('methods = "mean_color"\n[device]\nname = "cpu"', ("device = {'name': 'cpu'} cannot be",)),
        ('methods = "mean_color"\nbudget = "rich"', ("--budget", "rich")),
        ('methods = "mean_color"\n[set]\nlrr = 0.1', ("no recipe key called 'lrr'", "did you mean 'lr'?")),
    ],
)
def test_a_mistake_in_a_file_is_told_of(
    third_party: Path, bench: Bench, tmp_path: Path, text: str, said: tuple[str, ...]
) -> None:
    (tmp_path / "bench.toml").write_text(text)
    refused(bench("run", *STRIPES, *QUICK[:4], "--config", "bench.toml"), *said)
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_not_there_or_no_text_is_told_of(third_party: Path, bench: Bench, tmp_path: Path) -> None:
    refused(bench("run", "--config", "nowhere.toml"), "--config nowhere.toml", "No such file")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    refused(bench("run", "--config", "bytes.toml"), "--config bytes.toml")
    refused(bench("run", "--config", "."), "--config")


# --- where cells run --------------------------------------------------------------------------------------------------


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[runner.RunConfig]:
    """Where the runner was to run something, which it then does not."""
    given: list[runner.RunConfig] = []

    def noted(
        errands: object, catalog: object, place: runner.RunConfig, *rest: object, **more: object
    ) -> Iterator[Any]:
        given.append(place)
        return iter(())

    monkeypatch.setattr(runner, "run", noted)
    return given


def test_slots_silence_and_checkpoints_are_handed_on(run: Bench, places: list[runner.RunConfig]) -> None:
    run("mean_color", "--per-device", "3", "--timeout", "90", "--checkpoint-minutes", ".5", "--checkpoint-epochs", "7")
    (place,) = places
    assert (place.slots, place.timeout, place.checkpoint_seconds, place.checkpoint_epochs) == (3, 90.0, 30.0, 7)


def test_left_alone_each_core_takes_a_cell_and_none_is_ever_ended(run: Bench, places: list[runner.RunConfig]) -> None:
    run("mean_color")
    run("mean_color", "--threads-per-cell", str(devices.cores()))
    assert [place.slots for place in places] == [devices.cores(), 1]
    assert (places[0].timeout, places[0].checkpoint_seconds, places[0].checkpoint_epochs) == (None, 60.0, None)


def test_cells_on_the_host_may_hold_what_it_has_left_less_a_tenth(
    run: Bench, places: list[runner.RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.training.batches.free_memory", lambda device: 1000)
    run("mean_color")
    assert dict(places[0].memory) == {"cpu": 900}


def test_gpus_take_one_cell_each_and_nine_tenths_of_their_memory(
    run: Bench, places: list[runner.RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_gpus", lambda: 2)
    monkeypatch.setattr(
        "torch.cuda.get_device_properties", lambda name: SimpleNamespace(total_memory=2000 + 1000 * int(name[-1]))
    )
    run("mean_color", "--device", "cuda")
    run("mean_color", "--device", "cuda:1", "--per-device", "2")
    assert [(place.devices, place.slots) for place in places] == [(("cuda:0", "cuda:1"), 1), (("cuda:1",), 2)]
    assert [dict(place.memory) for place in places] == [{"cuda:0": 1800, "cuda:1": 2700}, {"cuda:1": 2700}]


def test_a_file_holds_them_too(run: Bench, tmp_path: Path, places: list[runner.RunConfig]) -> None:
    (tmp_path / "bench.toml").write_text(
        "per-device = 2\ntimeout = 30\ncheckpoint-minutes = 2.5\ncheckpoint-epochs = 4\n"
    )
    run("mean_color", "--config", "bench.toml")
    (place,) = places
    assert (place.slots, place.timeout, place.checkpoint_seconds, place.checkpoint_epochs) == (2, 30.0, 150.0, 4)


# --- being stopped ----------------------------------------------------------------------------------------------------


def test_sigterm_is_as_ctrl_c_however_often_it_comes_and_is_given_back(
    run: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def interrupted(*_: object, **__: object) -> None:
        for _turn in range(2):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt:
                heard.append(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(session, "run", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    refused(run("mean_color"), "interrupted; what is finished is kept", code=130)
    assert len(heard) == 2
    assert signal.getsignal(signal.SIGTERM) is before


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(run: Bench) -> Bench:
    """Two finished cells in runs/."""
    assert run("mean_color,byol").exit_code == 0
    return run


def test_csv_is_what_stands_in_scores_csv(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    shown = bench("table", "runs", "--format", "csv").stdout
    assert shown == (tmp_path / "runs" / "scores.csv").read_text()
    assert finished("mean_color,byol", "--format", "csv").stdout == shown


def test_json_is_the_same_rows(finished: Bench, bench: Bench) -> None:
    rows = json.loads(bench("table", "--format", "json").stdout)
    written = list(csv.DictReader(io.StringIO(bench("table", "--format", "csv").stdout)))
    assert [row["method"] for row in rows] == [row["method"] for row in written]
    assert [row["value"] for row in rows] == pytest.approx([float(row["value"]) for row in written], rel=1e-5)
    assert {row["seed"] for row in rows} == {0}


def test_markdown_and_latex_are_tables_of_their_kind(finished: Bench, bench: Bench) -> None:
    markdown = bench("table", "--format", "md").stdout
    assert "### centroid on stripes" in markdown
    assert "| mean_color" in markdown
    latex = bench("table", "--format", "latex").stdout
    assert r"\begin{tabular}" in latex
    assert r"mean\_color" in latex


def test_a_table_goes_to_standard_output_and_everything_else_to_standard_error(run: Bench) -> None:
    result = run("mean_color", "--format", "json")
    assert {row["tap"] for row in json.loads(result.stdout)} == {"conv", "fc"}
    assert "1 cells done" in result.stderr


def test_lines_are_plain_where_there_is_no_terminal(run: Bench) -> None:
    result = run("mean_color,byol")
    assert "\x1b" not in result.output
    assert "mean_color / tiny / stripes / seed 0: started on cpu" in result.stderr
    assert "[2/2] byol / tiny / stripes / seed 0: done after" in result.stderr


def test_q_leaves_only_the_table_and_the_summary(run: Bench) -> None:
    result = run("mean_color", "-q")
    assert "started" not in result.stderr
    assert "centroid on stripes" in result.stdout


def test_bench_table_of_an_empty_or_absent_folder_says_what_to_do(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(bench("table", "empty"), "no record under empty; bench run --out empty makes some")
    refused(bench("table", "nowhere"), "nowhere", "does not exist")
    refused(bench("table"), "runs")


def test_bench_table_leaves_damaged_records_out_and_says_so(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("runs/byol-*/record.json")
    path.write_text("{")
    result = bench("table")
    assert result.exit_code == 0
    assert "bench: left out:" in result.stderr
    assert "byol" in result.stderr
    assert "mean_color" in result.stdout


# --- features ---------------------------------------------------------------------------------------------------------


def test_features_are_written_with_their_labels(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    result = bench("features", "mean_color/tiny/stripes/0", "-o", "vectors.npz")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "vectors.npz", allow_pickle=False) as file:
        shapes = {name: file[name].shape for name in file.files}
        assert file["train"].dtype == np.float32
        assert file["train_labels"].tolist() == [number % 4 for number in range(48)]
    assert shapes == {"train": (48, 16), "test": (24, 16), "train_labels": (48,), "test_labels": (24,)}
    assert "vectors.npz: " in result.stdout


@pytest.mark.parametrize(("pool", "width"), [("average", 8), ("flat", 128)])
def test_features_of_a_map_are_averaged_or_flat(
    finished: Bench, bench: Bench, tmp_path: Path, pool: str, width: int
) -> None:
    words = ("features", "mean_color/tiny/stripes/0", "-o", "v.npz", "--tap", "conv", "--pool", pool)
    assert bench(*words).exit_code == 0
    with np.load(tmp_path / "v.npz") as file:
        assert file["test"].shape == (24, width)


def test_features_are_those_that_were_scored(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    bench("features", "mean_color/tiny/stripes/0", "-o", "v.npz")
    (cell,) = tmp_path.glob("runs/mean_color-*")
    with np.load(tmp_path / "v.npz") as file, np.load(cell / "predictions.npz") as scored:
        means = np.stack([file["train"][file["train_labels"] == label].mean(axis=0) for label in range(4)])
        predicted = np.linalg.norm(file["test"][:, None] - means, axis=2).argmin(axis=1)
        assert np.array_equal(predicted, scored["fc|average|centroid|centroid@1|prediction|class"])


def test_features_of_a_subset_are_those_of_its_images(run: Bench, bench: Bench, tmp_path: Path) -> None:
    run("mean_color", "--dataset", "stripes[subset=20]")
    (cell,) = tmp_path.glob("runs/mean_color-*-subset-20-*")
    assert bench("features", str(cell), "-o", "v.npz").exit_code == 0
    with np.load(tmp_path / "v.npz") as file:
        assert np.bincount(file["train_labels"]).tolist() == [5, 5, 5, 5]


def test_features_find_a_record_by_the_beginning_of_its_id(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    (record,) = [r for r in read_records(tmp_path / "runs")[0] if r.cell["method"]["name"] == "byol"]
    assert bench("features", record.id[:8], "-o", "v.npz").exit_code == 0
    assert bench("features", Path(record.folder).name, "-o", "v.npz").exit_code == 0


def test_features_that_cannot_be_are_refused(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    refused(bench("features", "nobody", "-o", "v.npz"), "'nobody': no record fits", "mean_color-tiny-stripes")
    record = "mean_color/tiny/stripes/0"
    refused(bench("features", record, "-o", "v.npz", "--tap", "fc9"), "no tap called 'fc9'; there is: conv, fc")
    refused(bench("features", record, "-o", "v.npz", "--dataset", "stripes[size=12]"), "is not the one")
    refused(bench("features", record, "-o", "runs/scores.csv/v.npz"), "cannot be written")
    assert not (tmp_path / "v.npz").exists()


# --- ours beside what was published -----------------------------------------------------------------------------------


def rotation_record(value: float, seed: int = 0, **changes: Any) -> Record:
    """RotNet's own network and schedule, with a convolutional head on conv2, as if it had been trained."""
    from bench_encoders.parameters import BlockNetParams
    from bench_heads.parameters import RotNetHeadParams
    from bench_rotation.published import PAPER

    score = dataclasses.replace(scored(value, "conv"), params=as_dict(RotNetHeadParams()))
    settings: dict[str, Any] = {"dataset": "cifar10", "recipe": PAPER, **changes}
    return record_of(
        score,
        method="rotation",
        encoder="blocknet",
        seed=seed,
        method_params={"turns": 4},
        encoder_params=as_dict(BlockNetParams(init="default")),
        **settings,
    )


@pytest.fixture
def leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes records into runs/, where only the plugins are asked that give their figures."""
    monkeypatch.setenv("BENCH_PLUGINS", "rotation,encoders,heads")

    def write(*records: Record) -> None:
        for number, record in enumerate(records):
            folder = tmp_path / "runs" / f"cell-{number}"
            folder.mkdir(parents=True)
            write_record(folder, record)

    return write


def test_expected_sets_ours_beside_the_paper_with_all_that_differs(bench: Bench, leave: Callable[..., None]) -> None:
    from benchmark.api.recipes import Recipe

    ours = rotation_record(0.5, dataset="cifar10-jpeg[subset=2000]", subset=2000, recipe=Recipe(epochs=1))
    leave(ours, rotation_record(0.25, seed=1, state="smoke"))
    result = bench("table", "runs", "--expected", "--format", "md")
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("| rotation")]
    for word in (
        *("0.5000 [", "0.9116", "-0.4116", "Gidaris et al. 2018, Table 3", "images of cifar10-jpeg"),
        *("2000 training images", "1 of 200 epochs", "optimizer=adam", "lr=0.001", "batch=64"),
    ):
        assert word in row
    assert "0.2500" not in result.stdout
    assert "fc1 at conv2" in result.stdout
    assert "0.9116" in bench("table", "runs", "--expected").stdout


def test_expected_as_csv_and_json_is_the_same_comparison(bench: Bench, leave: Callable[..., None]) -> None:
    leave(*(rotation_record(value, seed=seed) for seed, value in enumerate((0.875, 0.9375))))
    (line,) = csv.DictReader(io.StringIO(bench("table", "runs", "--expected", "--format", "csv").stdout))
    (row,) = json.loads(bench("table", "runs", "--expected", "--format", "json").stdout)
    for each in (line, row):
        assert (float(each["value"]), float(each["published"]), int(each["seeds"])) == (0.90625, 0.9116, 2)
        assert each["status"] == "read"
        assert not each["differences"]


def test_expected_reads_a_leaderboard_too(bench: Bench, leave: Callable[..., None], tmp_path: Path) -> None:
    leave(rotation_record(0.875))
    (record,) = read_records(tmp_path / "runs")[0]
    body = {key: value for key, value in dataclasses.asdict(record).items() if key != "folder"}
    (tmp_path / "cifar10.jsonl").write_text(json.dumps(body) + "\n")
    of_folder = bench("table", "runs", "--expected", "--format", "json").stdout
    assert bench("table", "cifar10.jsonl", "--expected", "--format", "json").stdout == of_folder
    assert json.loads(of_folder)[0]["published"] == 0.9116


@pytest.mark.parametrize(
    "changes", [{"dataset": "digits"}, {"dataset": "cifar100"}, {"state": "smoke"}], ids=["digits", "cifar100", "smoke"]
)
def test_expected_says_where_figures_are_listed_if_none_fits(
    bench: Bench, leave: Callable[..., None], changes: dict[str, str]
) -> None:
    leave(rotation_record(0.875, **changes))
    refused(bench("table", "runs", "--expected"), "no published figure fits", "bench list methods -v")
    assert bench("table", "runs").exit_code == 0


def test_expected_of_no_records_says_what_to_do(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(bench("table", "empty", "--expected"), "no record under empty; bench run --out empty makes some")


# --- the program ------------------------------------------------------------------------------------------------------


def test_help_shows_examples_and_every_command(bench: Bench) -> None:
    shown = bench("--help").stdout
    for word in ("bench run --methods", "run", "plan", "list", "table", "export", "features"):
        assert word in shown
    assert "--dry-run" in bench("run", "-h").stdout


def test_an_unknown_command_is_told_of(bench: Bench) -> None:
    refused(bench("rum"), "rum")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"], ["--version"]], ids=" ".join)
def test_help_and_list_import_neither_torch_nor_pandas(words: list[str], tmp_path: Path) -> None:
    script = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(sorted({'torch', 'pandas', 'sklearn', 'faiss'} & set(sys.modules)), file=sys.stderr))\n"
        "from benchmark.cli.main import main\n"
        f"main({words!r})\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stderr.splitlines()[-1] == "[]"


def test_python_m_benchmark_is_bench(site: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "benchmark"]
    version = subprocess.run([*words, "--version"], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert version.startswith("repbench, version ")
    environment = {**os.environ, "PYTHONPATH": str(site), "BENCH_PLUGINS": "third_party"}
    wrong = subprocess.run(
        [*words, "plan", "--methods", "mean_colour"], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("bench: no method called 'mean_colour'")


def test_whoever_stops_reading_early_is_no_error(site: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; from benchmark.cli.main import main; time.sleep(0.5); main(['list'])"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), said) == (0, b"")
