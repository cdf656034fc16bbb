"""bench table: formats, damaged and missing records, comparison with published results."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import assert_refused
from conftest import Bench
from sample_figures import record_of, scored

from benchmark.api.parameters import as_dict
from benchmark.api.recipes import Recipe
from benchmark.records.record import PREDICTIONS, Record
from benchmark.records.record_files import write_record
from benchmark.reports.render import FORMATS


def test_csv_equals_scores_csv(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    shown = bench("table", "runs", "--format", "csv").stdout
    assert shown == (tmp_path / "runs" / "scores.csv").read_text()
    assert finished("mean_color,byol", "--format", "csv").stdout == shown


def test_json_has_the_rows_of_csv(finished: Bench, bench: Bench) -> None:
    rows = json.loads(bench("table", "--format", "json").stdout)
    written = list(csv.DictReader(io.StringIO(bench("table", "--format", "csv").stdout)))
    assert [row["method"] for row in rows] == [row["method"] for row in written]
    assert [row["value"] for row in rows] == pytest.approx([float(row["value"]) for row in written], rel=1e-5)
    assert {row["seed"] for row in rows} == {0}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("words", [(), ("--by", "tap"), ("--sort", "cost")], ids=["scores", "by tap", "by cost"])
def test_every_table_has_every_format(finished: Bench, bench: Bench, words: tuple[str, ...], form: str) -> None:
    result = bench("table", "runs", *words, "--format", form)
    assert result.exit_code == 0
    assert "mean" in result.stdout


@pytest.mark.parametrize("words", [("--by", "tap", "--sort", "cost"), ("--sort", "cost", "--published")])
def test_two_tables_at_once_are_refused(finished: Bench, bench: Bench, words: tuple[str, ...]) -> None:
    assert_refused(bench("table", "runs", *words), "choose one")


def test_empty_or_absent_folder_is_refused_with_what_to_do(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(bench("table", "empty"), "no record in empty", "bench run --out empty")
    assert_refused(bench("table", "empty", "--published"), "no record in empty")
    assert_refused(bench("table", "nowhere"), "nowhere", "does not exist")
    assert_refused(bench("table"), "runs")


def test_damaged_record_is_left_out_and_named(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("runs/byol-*/record.json")
    path.write_text("{")
    result = bench("table")
    assert result.exit_code == 0
    assert "bench: left out:" in result.stderr
    assert "byol" in result.stderr
    assert "mean_color" in result.stdout


# --- beside published results -----------------------------------------------------------------------------------------


def rotation_record(value: float, seed: int = 0, **changes: Any) -> Record:
    """RotNet's own network and schedule with a convolutional head on conv2, as if it had been trained."""
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
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes records into runs/; only the plugins with their published results are loaded."""
    monkeypatch.setenv("BENCH_PLUGINS", "rotation,encoders,heads")

    def write(*records: Record) -> None:
        for number, record in enumerate(records):
            folder = tmp_path / "runs" / f"cell-{number}"
            folder.mkdir(parents=True)
            write_record(folder, record)
            np.savez(folder / PREDICTIONS)

    return write


def test_published_lists_every_differing_setting(bench: Bench, store: Callable[..., None]) -> None:
    ours = rotation_record(0.5, dataset="cifar10-jpeg[subset=2000]", subset=2000, recipe=Recipe(epochs=1))
    store(ours, rotation_record(0.25, seed=1, state="smoke"))
    result = bench("table", "runs", "--published", "--format", "md")
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("| rotation")]
    for words in (
        *("0.5000 [", "0.9116", "-0.4116", "Gidaris et al. 2018, Table 3", "images of cifar10-jpeg"),
        *("2000 training images", "1 of 200 epochs", "optimizer=adam", "lr=0.001", "batch=64"),
    ):
        assert words in row
    assert "0.2500" not in result.stdout
    assert "fc1 at conv2" in result.stdout
    assert "0.9116" in bench("table", "runs", "--published").stdout


def test_published_csv_and_json_have_the_same_row(bench: Bench, store: Callable[..., None]) -> None:
    store(*(rotation_record(value, seed=seed) for seed, value in enumerate((0.875, 0.9375))))
    (line,) = csv.DictReader(io.StringIO(bench("table", "runs", "--published", "--format", "csv").stdout))
    (row,) = json.loads(bench("table", "runs", "--published", "--format", "json").stdout)
    for each in (line, row):
        assert (float(each["value"]), float(each["published"]), int(each["seeds"])) == (0.90625, 0.9116, 2)
        assert each["status"] == "read"
        assert not each["differences"]


def test_published_reads_a_leaderboard(bench: Bench, store: Callable[..., None], tmp_path: Path) -> None:
    store(rotation_record(0.875))
    assert bench("export", "runs", "--to", "boards").exit_code == 0
    of_folder = bench("table", "runs", "--published", "--format", "json").stdout
    assert bench("table", "boards/cifar10.jsonl", "--published", "--format", "json").stdout == of_folder
    assert json.loads(of_folder)[0]["published"] == 0.9116


def test_published_without_a_matching_figure_says_where_figures_are_listed(
    bench: Bench, store: Callable[..., None]
) -> None:
    store(rotation_record(0.875, dataset="digits"))
    assert_refused(bench("table", "runs", "--published"), "no published figure", "bench list methods -v")
    assert bench("table", "runs").exit_code == 0
