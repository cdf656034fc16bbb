"""The report of bench plan: states, skips and expected times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_records import sample_record

from benchmark.api.grammar import parse_items
from benchmark.execution.plan_report import plan_report
from benchmark.execution.request import Request
from benchmark.execution.run_options import RunOptions
from benchmark.execution.session import forecast
from benchmark.records.record_files import write_record
from benchmark.reports.table import Report


def report_of(out: Path, *, encoders: str = "blocknet", per_device: str = "2", **changes: Any) -> Report:
    """The plan of AET on digits for 4 epochs, on a CPU with two slots."""
    items = {"methods": "aet", "encoders": encoders, "datasets": "digits", "evaluators": "knn"}
    fields: dict[str, Any] = {kind: parse_items([text]) for kind, text in items.items()}
    request = Request(**{**fields, "floors": False, "epochs": 4, **changes})
    return plan_report(
        forecast(request, RunOptions(out=out, data_dir=out / "data", device="cpu", per_device=per_device))
    )


def notes_of(report: Report) -> tuple[str, ...]:
    (table,) = report.tables()
    return table.notes


@pytest.fixture
def past(tmp_path: Path) -> Path:
    """One finished cell, as if it had run on this CPU: 6 epochs of 1,437 images in 86.22 s, scored in 2.52 s."""
    cost = {"train_seconds": 86.22, "images_seen": 8622, "evaluate_seconds": 2.52}
    write_record(tmp_path / "cell", sample_record("aet", "blocknet", "digits", cost=cost))
    return tmp_path


def test_plan_lists_cells_skips_and_notes(tmp_path: Path) -> None:
    report = report_of(
        tmp_path, methods=parse_items(["aet,pretrained*"]), encoders="resnet18,blocknet", taps=("conv2", "conv9")
    )
    (table,) = report.tables()
    assert table.title == "1 cells, 1 to run, 2 combinations skipped"
    ((action, state, folder, time, detail),) = table.rows
    assert (action, state, folder.rpartition("-")[0], time, detail) == ("run", "new", "aet-blocknet-digits-s0", "", "")
    assert [note.partition(":")[0] for note in table.notes[:3]] == ["skip", "skip", "note"]
    assert "resnet18 has no tap 'conv2'" in table.notes[1]
    assert "blocknet has no tap 'conv9'" in table.notes[2]
    assert table.notes[3:] == ("1 of 1 cells have no past record.",)
    assert (report.facts["to_run"], report.facts["without_estimate"], report.facts["slots"]) == (1, 1, 2)


def test_expected_time_follows_past_cells_and_slots(past: Path) -> None:
    report = report_of(past, seeds=tuple(range(5)))
    # 4 epochs of 1,437 images at 0.01 s each are 57.48 s, and 2.52 s of scoring
    assert report.frame()["expected_seconds"].tolist() == pytest.approx([60.0] * 5)
    assert notes_of(report) == ("5.0 min of work, 2.5 min on 2 slots (cpu).",)
    assert report.facts["expected_seconds"] == pytest.approx(150.0)


def test_run_takes_at_least_as_long_as_its_longest_cell(past: Path) -> None:
    assert notes_of(report_of(past)) == ("60 s of work, 60 s on 2 slots (cpu).",)


def test_plan_counts_cells_without_estimate(past: Path) -> None:
    report = report_of(past, encoders="blocknet,resnet18", per_device="1", seeds=(0, 1, 2))
    assert report.frame()["expected_seconds"].notna().tolist() == [True] * 3 + [False] * 3
    assert notes_of(report) == ("3.0 min of work, 3.0 min on 1 slot (cpu).", "3 of 6 cells have no past record.")
    (past / "cell" / "record.json").unlink()
    assert notes_of(report_of(past, seeds=(0, 1))) == ("2 of 2 cells have no past record.",)
