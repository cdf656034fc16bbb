"""scores.csv of an output folder: its rows, and how often it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from session_runs import Session

from benchmark.execution import scores_file
from benchmark.execution.scores_file import ScoresFile


def test_scores_file_holds_the_finished_cells_of_all_runs(session: Session) -> None:
    session.run()
    session.run("byol,fault_loss")
    rows = (session.out / "scores.csv").read_text().splitlines()
    assert rows[0].startswith("method,encoder,dataset,seed,epochs,tap")
    assert [row.split(",")[0] for row in rows[1:]] == ["byol", "byol", "mean_color", "mean_color"]


@pytest.mark.parametrize(("cell", "write", "times"), [(100.0, 1.0, 50), (1.0, 1.0, 3), (1.0, 10.0, 1)])
def test_scores_file_takes_at_most_five_percent_of_the_time(
    cell: float, write: float, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 cells. If a write takes as long as a cell, the file is written after cells 1, 21 and 41."""
    now, writes = [0.0], []

    def csv_chunks(columns: object) -> list[str]:
        now[0] += write
        writes.append(now[0])
        return []

    monkeypatch.setattr(scores_file.dataframe, "csv_chunks", csv_chunks)
    scores = ScoresFile(tmp_path, clock=lambda: now[0])
    for _ in range(50):
        now[0] += cell
        scores.refresh()
    assert len(writes) == times
