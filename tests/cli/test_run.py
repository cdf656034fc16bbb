"""bench run and bench plan: invalid requests change nothing, a failed cell affects no other, output streams."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from pathlib import Path

import pytest
from command_line import INLINE, STRIPES, assert_refused
from conftest import Bench
from image_samples import make_tree

import benchmark
from benchmark.execution import session
from benchmark.execution.run_options import RunOptions
from benchmark.records.record_files import read_records

FOLDER = ("--dataset", "folder[path=photos,size=8]")


def assert_nothing_ran(out: Path) -> None:
    assert list(out.glob("*/record.json")) == []


# --- unknown names and invalid values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "messages"),
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
        (("mean_color", "--taps", "nowhere"), ("tiny has no tap 'nowhere'", "conv, fc")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_unknown_name_is_refused_with_the_nearest_one(
    run: Bench, tmp_path: Path, words: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    assert_refused(run(*words), *messages)
    assert_nothing_ran(tmp_path / "runs")


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (("mean_color[part=top]",), ("part=top is not valid; part is one of center, left",)),
        (("byol[momentum=high]",), ("momentum=high is not valid; momentum is a number",)),
        (("byol[momentum=1.5]",), ("momentum=1.5", "a number from 0 to below 1")),
        (("byol[width=2.5]",), ("width=2.5 is not valid; width is an integer",)),
        (("mean_color", "--dataset", "stripes[train=many]"), ("train=many",)),
        (("mean_color", "--dataset", "stripes[subset=0]"), ("subset=0",)),
        (
            ("mean_color", "--dataset", "stripes[subset=1000]"),
            ("subset=1000 is not possible", "4 (its classes) to 48 (all)"),
        ),
        (
            ("mean_color", "--dataset", "stripes[subset=3]"),
            ("subset=3 is not possible", "from 4 (its classes) to 48 (all)"),
        ),
        (
            ("mean_color", "--evaluators", "centroid[pool=max]"),
            ("does not take pool=max; write pool=average or pool=flat",),
        ),
        (("mean_color", "--set", "lr=fast"), ("lr=fast is not valid; lr is a number",)),
        (("mean_color", "--set", "batch=1"), ("batch=1",)),
        (("mean_color", "--set", "schedule=sine"), ("one of constant, cosine, linear, milestones",)),
        (("mean_color", "--set", "lr"), ("'lr' is not a parameter; write key=value",)),
        (("mean_color[part=left",), ("mean_color[part=left", "not closed")),
        (("mean_color[left]",), ("'left' is not a parameter; write key=value",)),
        (("mean_color", "--seeds", "x"), ("--seeds x", "integers of 0 or more")),
        (("mean_color", "--seeds", "0"), ("selects no seed",)),
        (("mean_color", "--seeds", "-1"), ("seeds are integers",)),
        (("mean_color", "--epochs", "0"), ("--epochs",)),
        (("mean_color", "--epochs", "few"), ("--epochs",)),
        (("mean_color", "--budget", "rich"), ("--budget", "quick", "paper")),
        (("mean_color", "--rerun", "some"), ("--rerun", "stale")),
        (("mean_color", "--format", "odt"), ("--format", "latex")),
        (("mean_color", "--threads-per-cell", "0"), ("--threads-per-cell",)),
        (("mean_color", "--executor", "inline,local"), ("--executor inline,local: name exactly one executor",)),
        (("mean_color", "--dataset", "fault_specks"), ("4 x 4 pixels", "8")),
        (("mean_color", "--device", "gpu"), ("--device gpu", "cuda:0,1")),
        (("mean_color", "--encoder", "tiny"), ("--encoders",)),
        (("mean_color", "--per-device", "0"), ("--per-device 0", "or auto")),
        (("mean_color", "--per-device", "many"), ("--per-device many", "or auto")),
        (("mean_color", "--timeout", "0"), ("--timeout",)),
        (("mean_color", "--timeout", "nan"), ("--timeout", "nan", "a number above 0")),
        (("mean_color", "--checkpoint-minutes", "-1"), ("--checkpoint-minutes",)),
        (("mean_color", "--checkpoint-minutes", "inf"), ("--checkpoint-minutes", "inf", "a number from 0")),
        (("mean_color", "--checkpoint-epochs", "0"), ("--checkpoint-epochs",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_invalid_value_is_refused_with_the_valid_ones(
    run: Bench, tmp_path: Path, words: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    assert_refused(run(*words), *messages)
    assert_nothing_ran(tmp_path / "runs")


@pytest.mark.parametrize(
    ("device", "gpus", "messages"),
    [
        ("cuda", 0, ("--device cuda: torch finds no GPU", "--device cpu")),
        ("cuda:0", 0, ("no GPU '0'; torch finds no GPU",)),
        ("cuda:2", 2, ("no GPU '2'; torch finds GPUs 0 to 1",)),
        ("cuda:0,x", 2, ("no GPU 'x'",)),
        ("cuda:", 2, ("no GPU ''",)),
    ],
)
def test_missing_device_is_refused(
    run: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, messages: tuple[str, ...]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert_refused(run("mean_color", "--device", device), *messages)
    assert not (tmp_path / "runs" / "scores.csv").exists()


def test_methods_are_required(bench: Bench, third_party: Path) -> None:
    assert_refused(bench("run"), "--methods")


def test_name_of_two_distributions_needs_a_prefix(run: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,third_party_rotation,rotation,executors")
    assert_refused(run("rotation"), "write repbench:rotation or repbench-third-party:rotation")
    assert run("repbench-third-party:rotation").exit_code == 0


# --- image folders ----------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, third_party: Path) -> Path:
    """Six training images and two test images of two classes."""
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,executors,images")
    return make_tree(tmp_path / "photos")


def test_folder_of_images_is_a_dataset(run: Bench, photos: Path) -> None:
    result = run("mean_color", *FOLDER, "--format", "csv")
    assert result.exit_code == 0, result.output
    (first, *_) = csv.DictReader(io.StringIO(result.stdout))
    assert (first["dataset"], float(first["value"]), first["n"]) == ("photos", 1.0, "2")
    assert str(photos) not in result.stdout


@pytest.mark.parametrize(
    ("item", "messages"),
    [
        ("folder[path=nowhere]", ("nowhere does not exist", "train/<class>")),
        ("folder", ("folder[path=DIR]",)),
        ("folder[path=photos,size=4]", ("size=4 is not valid: must be 8 or more",)),
    ],
)
def test_invalid_folder_is_refused(run: Bench, photos: Path, item: str, messages: tuple[str, ...]) -> None:
    assert_refused(run("mean_color", "--dataset", item), *messages)


def test_broken_image_is_named(run: Bench, photos: Path, tmp_path: Path) -> None:
    path = photos / "train" / "blue" / "2.png"
    path.write_bytes(path.read_bytes()[:40])
    assert_refused(run("mean_color", *FOLDER), "cannot decode 1 file", "train/blue/2.png")
    assert_nothing_ran(tmp_path / "runs")


# --- output folders ---------------------------------------------------------------------------------------------------


def test_unwritable_output_folder_is_refused(run: Bench, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    assert_refused(run("mean_color"), "--out", "'runs'", "another path")
    assert_refused(run("mean_color", "--out", "runs/below"), "--out", "'runs/below'", "'runs' is a file")
    assert (tmp_path / "runs").read_text() == "a file in the way"


def test_truncated_record_is_kept_aside_and_its_cell_runs_again(run: Bench, tmp_path: Path) -> None:
    assert run("mean_color").exit_code == 0
    (path,) = tmp_path.glob("runs/*/record.json")
    path.write_bytes(path.read_bytes()[:50])
    assert "unreadable" in run("mean_color", "--dry-run").stdout
    again = run("mean_color")
    assert again.exit_code == 0
    assert "record.json.unreadable-1" in again.stderr
    assert json.loads(path.read_text())["state"] == "done"


def test_record_of_a_later_schema_stops_the_run_and_stays(run: Bench, tmp_path: Path) -> None:
    assert run("mean_color").exit_code == 0
    (path,) = tmp_path.glob("runs/*/record.json")
    body = json.loads(path.read_text())
    path.write_text(json.dumps({**body, "schema_version": body["schema_version"] + 5}))
    before = path.read_bytes()
    for words in ((), ("--dry-run",), ("--rerun", "all")):
        assert_refused(run("mean_color", *words), f"schema version {body['schema_version'] + 5}", "another --out")
    assert path.read_bytes() == before


# --- failing cells ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("fault_build", "RuntimeError: the third-party build failed"),
        ("fault_loss", "RuntimeError: the third-party loss failed"),
        ("fault_nan", "not finite in step 3"),
        ("fault_detached", "the loss does not depend on the encoder"),
    ],
)
def test_failing_method_gives_exit_code_3_and_affects_no_other_cell(
    run: Bench, tmp_path: Path, method: str, message: str
) -> None:
    result = run(f"{method},mean_color")
    assert_refused(result, message, "1 done, 0 finished before, 1 failed", code=3)
    (row, *_) = [line for line in result.stdout.splitlines() if method in line]
    assert "failed" in row
    states = {record.cell["method"]["name"]: record.state for record in read_records(tmp_path / "runs")[0]}
    assert states == {method: "failed", "mean_color": "done"}


def test_verbose_prints_tracebacks_of_failed_cells(run: Bench) -> None:
    assert "Traceback" in run("fault_loss", "-v").stderr


def test_failing_evaluator_is_named_and_other_scores_are_shown(run: Bench) -> None:
    result = run("mean_color", "--evaluators", "fault_raises,centroid")
    assert_refused(result, "fault_raises at conv: ZeroDivisionError: the third-party evaluator failed", code=3)
    assert "centroid on stripes" in result.stdout
    assert "not all scores" in result.stdout


def test_failed_cell_runs_again_without_the_cause(run: Bench) -> None:
    assert run("mean_color", "--evaluators", "fault_raises").exit_code == 3
    result = run("mean_color")
    assert result.exit_code == 0
    assert "1 done, " in result.stderr


# --- plans ------------------------------------------------------------------------------------------------------------


def test_dry_run_lists_cells_with_state_and_time_and_runs_nothing(run: Bench, tmp_path: Path) -> None:
    run("mean_color,fault_loss")
    before = sorted(path.name for path in (tmp_path / "runs").iterdir())
    shown = run("mean_color,fault_loss,byol", "--seeds", "2", "--dry-run")
    assert shown.exit_code == 0
    rows = [line.split() for line in shown.stdout.splitlines() if line.startswith((" run", " keep"))]
    states = {folder.rpartition("-")[0]: [action, state] for action, state, folder, *_ in rows}
    assert states == {
        "mean_color-tiny-stripes-s0": ["keep", "done"],
        "mean_color-tiny-stripes-s1": ["run", "new"],
        "fault_loss-tiny-stripes-s0": ["run", "failed"],
        "fault_loss-tiny-stripes-s1": ["run", "new"],
        "byol-tiny-stripes-s0": ["run", "new"],
        "byol-tiny-stripes-s1": ["run", "new"],
    }
    assert shown.stdout.startswith("6 cells, 5 to run, 0 combinations skipped")
    assert "s of work, " in shown.stdout
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == before


def test_plan_is_run_with_dry_run(run: Bench, bench: Bench, tmp_path: Path) -> None:
    dry = run("mean_color,byol", "--seeds", "2", "--dry-run")
    planned = bench("plan", "--methods", "mean_color,byol", *STRIPES, *INLINE, "--seeds", "2")
    assert planned.stdout == dry.stdout
    assert not (tmp_path / "runs").exists()


# --- options, interruption, streams -----------------------------------------------------------------------------------


def test_options_reach_the_run(run: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[RunOptions] = []

    def stop(request: object, options: RunOptions, **more: object) -> None:
        requested.append(options)
        raise benchmark.UsageError("stopped here")

    monkeypatch.setattr(session, "run", stop)
    (tmp_path / "bench.toml").write_text(
        "per-device = 2\ntimeout = 30\ncheckpoint-minutes = 2.5\ncheckpoint-epochs = 4\n"
    )
    run("mean_color", "--per-device", "3", "--timeout", "90", "--checkpoint-minutes", ".5", "--checkpoint-epochs", "7")
    run("mean_color", "--config", "bench.toml")
    run("mean_color")
    assert [(o.per_device, o.timeout, o.checkpoint_minutes, o.checkpoint_epochs) for o in requested] == [
        ("3", 90.0, 0.5, 7),
        ("2", 30.0, 2.5, 4),
        ("auto", None, 1.0, None),
    ]


def test_sigterm_interrupts_like_ctrl_c_and_its_handler_is_restored(
    run: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    interruptions = []

    def interrupted(*_: object, **__: object) -> None:
        for _turn in range(2):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt:
                interruptions.append(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(session, "run", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    assert_refused(run("mean_color"), "interrupted; finished cells are kept", code=130)
    assert len(interruptions) == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_tables_go_to_standard_output_and_the_rest_to_standard_error(run: Bench) -> None:
    result = run("mean_color", "--format", "json")
    assert {row["tap"] for row in json.loads(result.stdout)} == {"conv", "fc"}
    assert "1 done, " in result.stderr


def test_progress_is_plain_lines_without_a_terminal(run: Bench) -> None:
    result = run("mean_color,byol")
    assert "\x1b" not in result.output
    assert "mean_color / tiny / stripes / seed 0: started on cpu" in result.stderr
    assert "[2/2] byol / tiny / stripes / seed 0: done after" in result.stderr


def test_quiet_leaves_the_tables_and_the_summary(run: Bench) -> None:
    result = run("mean_color", "-q")
    assert "started" not in result.stderr
    assert "centroid on stripes" in result.stdout
