"""Records counted by environment."""

from __future__ import annotations

from sample_records import sample_record

from benchmark.reports.environments import environment_report

GPU = {"device": "cuda", "device_name": "NVIDIA H100", "precision": "bfloat16", "torch": "2.15.0", "threads": 1}


def test_environment_report_counts_records() -> None:
    report = environment_report([sample_record(), sample_record(seed=1), sample_record(seed=2, provenance=GPU)])
    (table,) = report.tables()
    assert table.rows == (("cpu", "-", "-", "-", "-", "2"), ("cuda", "NVIDIA H100", "bfloat16", "2.15.0", "1", "1"))
    assert len(table.notes) == 1
    assert report.frame()["cells"].tolist() == [2, 1]


def test_single_environment_has_no_note() -> None:
    (table,) = environment_report([sample_record()]).tables()
    assert table.notes == ()
