"""Jobs, runs and finished cells of third-party methods."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Bench
from launched import command
from sample_jobs import JobMaker, third_party_job
from session_runs import Session


@pytest.fixture
def runs(third_party: Path, bench: Bench, tmp_path: Path) -> Path:
    """Two finished cells of two seeds, with a recipe of their own."""
    words = ("--executor", "inline", "--epochs", "2", "--set", "lr=0.01", "--seeds", "2", "--quiet")
    result = bench(*command("mean_color", *words))
    assert result.exit_code == 0, result.output
    return tmp_path / "runs"


@pytest.fixture
def job(third_party: Path, tmp_path: Path) -> JobMaker:
    """Makes the job of a third-party method, by default `mean_color`."""
    return lambda method="mean_color", **changes: third_party_job(
        changes.pop("out", tmp_path / "runs"), method, **changes
    )


@pytest.fixture
def session(third_party: Path, tmp_path: Path) -> Session:
    """Runs in one output folder."""
    return Session(out=tmp_path / "runs")
