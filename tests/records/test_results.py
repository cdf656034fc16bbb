"""The leaderboards in results/ agree with their records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.api.catalog import load_catalog
from benchmark.records.dataframe import frame_csv, records_csv, to_frame
from benchmark.records.leaderboard import read_leaderboard
from benchmark.records.outcomes import read_outcomes
from benchmark.reports.published_tables import published_report
from benchmark.reports.render import render_report

RESULTS = Path(__file__).parents[2] / "results"
BOARDS = sorted(RESULTS.glob("*.jsonl"))
COMPARED = [RESULTS / "cifar10-jpeg.jsonl"]
"""Leaderboards that the readme compares with published figures."""


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_csv_equals_the_records_byte_for_byte(board: Path) -> None:
    assert board.with_suffix(".csv").read_text(encoding="utf-8") == records_csv(read_leaderboard(board))


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_values_are_means_of_stored_outcomes(board: Path) -> None:
    outcomes = read_outcomes(board.with_name(f"{board.stem}.outcomes.npz"))
    checked = 0
    for record in read_leaderboard(board):
        for score in record.scores:
            if score.outcomes is None:
                continue
            values = outcomes[record.outcomes_key(score)]
            tolerance = 1e-9 if values.dtype == bool else 1e-3  # float16 keeps three digits
            assert np.nanmean(values.astype(np.float64)) == pytest.approx(score.value, abs=tolerance)
            checked += 1
    assert checked > 0


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_records_have_conditions_and_no_path(board: Path) -> None:
    for record in read_leaderboard(board):
        assert record.schema_version == 2
        assert record.state == "done"
        assert record.checks["frozen"] is True
        assert record.provenance["commit"]
        assert record.provenance["torch"]
        assert record.provenance["threads"] >= 1
        assert "path" not in record.cell["dataset"]["params"]
        assert "path" not in record.cell["method"]["params"]


@pytest.mark.parametrize("board", COMPARED, ids=lambda path: path.stem)
def test_readme_holds_the_published_comparison(board: Path) -> None:
    text = render_report(published_report(read_leaderboard(board), load_catalog()), "md")
    readme = (RESULTS / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) > 2
    missing = [row for row in rows if row not in readme]
    assert missing == [], f"bench table results/{board.name} --published --format md gives what the readme should hold"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.stem)
def test_csv_is_that_of_the_data_frame(board: Path) -> None:
    records = read_leaderboard(board)
    assert records_csv(records) == frame_csv(to_frame(records))
