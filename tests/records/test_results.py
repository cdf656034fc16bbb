"""The leaderboards under results/ are what their records say, and nothing was pasted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.api.catalog import load_catalog
from benchmark.records.dataframe import records_csv
from benchmark.records.leaderboard import read_leaderboard, read_outcomes
from benchmark.reports.published_tables import published_tables
from benchmark.reports.render import render_tables

RESULTS = Path(__file__).parents[2] / "results"
BOARDS = sorted(RESULTS.glob("*.jsonl"))
COMPARED = [RESULTS / "cifar10-jpeg.jsonl"]
"""Those whose heads have published figures, set beside ours in the readme."""


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_the_csv_is_rebuilt_from_the_records_byte_for_byte(board: Path) -> None:
    assert board.with_suffix(".csv").read_text(encoding="utf-8") == records_csv(read_leaderboard(board))


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_every_value_is_the_mean_of_its_stored_outcomes(board: Path) -> None:
    outcomes = read_outcomes(board.with_name(f"{board.stem}.outcomes.npz"))
    checked = 0
    for record in read_leaderboard(board):
        for score in record.scores:
            if score.outcomes is None:
                continue
            values = outcomes[f"{record.id[:16]}|{score.outcomes}"]
            tolerance = 1e-9 if values.dtype == bool else 1e-3  # float16 keeps three digits
            assert np.nanmean(values.astype(np.float64)) == pytest.approx(score.value, abs=tolerance)
            checked += 1
    assert checked > 0


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_every_record_carries_its_conditions_and_no_path(board: Path) -> None:
    for record in read_leaderboard(board):
        assert record.state == "done"
        assert record.checks["frozen"] is True
        assert record.provenance["commit"]
        assert record.provenance["torch"]
        assert record.provenance["threads"] >= 1
        assert "path" not in record.cell["dataset"]["params"]
        assert "path" not in record.cell["method"]["params"]


@pytest.mark.parametrize("board", COMPARED, ids=lambda path: path.stem)
def test_the_readme_holds_the_comparison_that_the_records_give(board: Path) -> None:
    text = render_tables(published_tables(read_leaderboard(board), load_catalog()), "md")
    readme = (RESULTS / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 2
    missing = [row for row in rows if row not in readme]
    assert missing == [], f"bench table results/{board.name} --published --format md gives what the readme should hold"
