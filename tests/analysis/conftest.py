"""Runs, their baseline, and the commands `bench check` and `bench compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from sample_cells import BASELINE, Check, Compare, write_cell, write_seeds

from benchmark.records.export import export
from benchmark.records.record_files import read_records


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder for the records of the run under test."""
    return tmp_path / "runs"


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """`results/` with a leaderboard of two methods and raw pixels."""
    earlier = tmp_path / "earlier"
    write_seeds(earlier, "aet", 0.80)
    write_seeds(earlier, "rotation", 0.75)
    write_cell(earlier, "pixels", None, 0.7)
    export(read_records(earlier)[0], tmp_path / "results")
    return tmp_path / "results"


@pytest.fixture
def check(bench: Bench, runs: Path) -> Check:
    """Runs `bench check`: its exit code and JSON."""

    def run(*words: str, against: str = BASELINE) -> tuple[int, dict[str, Any]]:
        result = bench("check", "runs", "--baseline", against, *words, "--format", "json")
        body: dict[str, Any] = json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
        assert body["exit_code"] == result.exit_code
        return result.exit_code, body

    return run


@pytest.fixture
def two_methods(runs: Path) -> Path:
    """A folder with records of two methods over three seeds, five points apart."""
    write_seeds(runs, "aet", 0.80)
    write_seeds(runs, "rotation", 0.75)
    return runs


@pytest.fixture
def compare(bench: Bench, two_methods: Path) -> Compare:
    """Runs `bench compare`: its rows, one for each score and question."""

    def run(*words: str) -> list[dict[str, Any]]:
        result = bench("compare", *words, "--format", "json")
        assert result.exit_code == 0, result.output
        rows: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
        return rows

    return run
