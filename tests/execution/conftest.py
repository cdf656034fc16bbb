"""Finished cells of a third-party method."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Bench
from launched import command


@pytest.fixture
def runs(third_party: Path, bench: Bench, tmp_path: Path) -> Path:
    """Two finished cells of two seeds, with a recipe of their own."""
    words = ("--executor", "inline", "--epochs", "2", "--set", "lr=0.01", "--seeds", "2", "--quiet")
    result = bench(*command("mean_color", *words))
    assert result.exit_code == 0, result.output
    return tmp_path / "runs"
