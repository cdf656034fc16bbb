"""The report of `bench verify`: one row per cell that was run again."""

from __future__ import annotations

import json

from sample_records import sample_record

from benchmark.execution.verify import VerifiedCell
from benchmark.execution.verify_report import verify_report
from benchmark.reports.render import render_report

CELLS = [
    VerifiedCell(record=sample_record(), verdict="identical", weights=True, equal=3),
    VerifiedCell(record=sample_record("pixels", "-", seed=None), verdict="not run", reason="no method called 'pixels'"),
]


def test_verify_report_shows_verdict_weights_and_remarks() -> None:
    text = render_report(verify_report(CELLS), "table")
    rows = [line.split() for line in text.splitlines()]
    assert ["aet", "resnet18", "digits", "0", "identical", "identical", "3", "0", "0"] in rows
    (row,) = [row for row in rows if row[:1] == ["pixels"]]
    assert row[1:9] == ["-", "digits", "-", "not", "run", "-", "0", "0"]
    assert "no method called 'pixels'" in text


def test_verify_report_as_json_has_raw_values() -> None:
    rows = json.loads(render_report(verify_report(CELLS), "json"))
    assert [(row["method"], row["seed"], row["weights_identical"]) for row in rows] == [
        ("aet", 0, True),
        ("pixels", None, None),
    ]
    assert rows[0]["id"] == CELLS[0].record.id


def test_verify_report_of_no_cells_is_empty() -> None:
    assert json.loads(render_report(verify_report([]), "json")) == []
