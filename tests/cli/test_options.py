"""Shared options: the configuration file."""

from __future__ import annotations

import csv
import inspect
import io
from pathlib import Path

import pytest
from command_line import INLINE, STRIPES, assert_refused
from conftest import Bench

import benchmark
from benchmark.cli.run import run_command
from benchmark.records.record_files import read_records

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


@pytest.fixture
def config(third_party: Path, tmp_path: Path) -> None:
    """CONFIG as bench.toml in the current folder."""
    (tmp_path / "bench.toml").write_text(CONFIG)


@pytest.mark.usefixtures("config")
def test_config_file_sets_options(bench: Bench, tmp_path: Path) -> None:
    result = bench("run", "--config", "bench.toml")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["method"], row["seed"], row["epochs"], row["tap"]) for row in rows] == [
        (method, seed, "3", "conv") for method in ("byol[momentum=0.5]", "mean_color") for seed in ("0", "2")
    ]
    recipe = read_records(tmp_path / "elsewhere")[0][0].cell["recipe"]
    settings = {name: recipe[name] for name in ("lr", "schedule", "milestones", "nesterov")}
    assert settings == {"lr": 0.02, "schedule": "milestones", "milestones": [1, 2], "nesterov": False}


@pytest.mark.usefixtures("config")
def test_command_line_overrides_config_file_and_file_overrides_defaults(bench: Bench) -> None:
    words = ("run", "--methods", "mean_color", "--config", "bench.toml", "--seeds", "1")
    assert "1 cells, 1 to run" in bench(*words, "--dry-run", "--format", "table").stdout
    (row,) = csv.DictReader(io.StringIO(bench(*words, "--epochs", "1").stdout))
    assert (row["epochs"], row["seed"], row["tap"]) == ("1", "0", "conv")


@pytest.mark.usefixtures("config")
def test_plan_reads_config_file_of_run(bench: Bench) -> None:
    planned = bench("plan", "--config", "bench.toml")
    assert planned.exit_code == 0, planned.output
    assert planned.stdout == bench("run", "--config", "bench.toml", "--dry-run").stdout


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ('methds = "mean_color"', ("no key called 'methds'", "did you mean 'methods'?", "bench.toml")),
        ('form = "csv"', ("no key called 'form'", "did you mean 'format'?")),
        ('settings = "lr=.1"', ("no key called 'settings'", "set")),
        ('methods = "mean_color', ("--config bench.toml",)),
        ('methods = "mean_color"\nepochs = "many"', ("--epochs", "many")),
        ('methods = "mean_color"\nepochs = [1]', ("epochs = [1] is not valid",)),
        ('methods = "mean_color"\n[device]\nname = "cpu"', ("device = {'name': 'cpu'} is not valid",)),
        ('methods = "mean_color"\nbudget = "rich"', ("--budget", "rich")),
        ('methods = "mean_color"\n[set]\nlrr = 0.1', ("no recipe key called 'lrr'", "did you mean 'lr'?")),
    ],
)
def test_invalid_config_file_is_refused(
    third_party: Path, bench: Bench, tmp_path: Path, text: str, messages: tuple[str, ...]
) -> None:
    (tmp_path / "bench.toml").write_text(text)
    assert_refused(bench("run", *STRIPES, *INLINE[:4], "--config", "bench.toml"), *messages)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere.toml", "does not exist"), ("bytes.toml", "bytes.toml"), (".", "")]
)
def test_unreadable_config_file_is_refused(bench: Bench, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    assert_refused(bench("run", "--config", name), "--config", message)


def test_options_of_run_are_the_arguments_of_benchmark_run() -> None:
    options = run_command.make_context("run", ["--methods", "dim"]).params
    for name in ("dry_run", "form", "verbose"):
        del options[name]
    options["floors"] = not options.pop("no_floors")
    arguments = {name: each.default for name, each in inspect.signature(benchmark.run).parameters.items()}
    assert set(options) == set(arguments)
    differing = {name for name in options if as_text(options[name]) != as_text(arguments[name])}
    assert differing == {"methods", "data_dir"}  # methods: required; data_dir: None is $BENCH_DATA or data


def as_text(default: object) -> str:
    """A default of the command line, which has texts and paths, or of Python, which has numbers and texts."""
    return ",".join(map(str, default)) if isinstance(default, tuple | list) else str(default)
