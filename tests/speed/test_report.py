"""Speed tables and rows of speed.csv: `benchmark.speed.report`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from speed_samples import rows_of

from benchmark.errors import RecordError
from benchmark.reports.render import Format, render_report
from benchmark.speed.measurement import Measurement, SpeedResults
from benchmark.speed.report import COLUMNS, PREFIXED_UNITS, append_csv, speed_report, speed_tables

CONDITIONS: dict[str, object] = {
    "rounds": 3,
    "threads": 2,
    "workers": 1,
    "accelerate": "auto",
    "device": "cpu",
    "device_name": "a machine, with a comma",
    "precision": "float32",
    "torch": "2.99",
    "python": "3.99",
    "repbench": "0.9",
    "commit": None,
    "time": "2020-01-01T00:00:00+00:00",
}


def make_measurement(quantity: str, value: float, unit: str, **fields: Any) -> Measurement:
    return Measurement(
        subject=fields.pop("subject", "aet / small / digits"), quantity=quantity, value=value, unit=unit, **fields
    )


def results_of(measurements: Sequence[Measurement], **conditions: object) -> SpeedResults:
    return SpeedResults(conditions={**CONDITIONS, **conditions}, measurements=tuple(measurements))


def rendered(measurements: Sequence[Measurement], form: Format) -> str:
    return render_report(speed_report(results_of(measurements)), form)


MEASUREMENTS = [
    make_measurement("matrix product", 1.2345678e12, "flop/s", subject="device", detail="float32"),
    make_measurement("data", 1111.0, "images/s", spread=(1001.0, 1221.0), batch=64),
    make_measurement("both", 222.0, "images/s", spread=(201.0, 231.0), batch=64),
    make_measurement("plain both", 111.0, "images/s", spread=(101.0, 119.0), batch=64),
    make_measurement("both ratio", 2.125, "x", spread=(1.875, 2.25), batch=64),
    make_measurement("flops per image", 33_300_000.0, "flop", batch=64),
    make_measurement("fraction of product limit", 0.4321, "fraction", batch=64),
    make_measurement("training time", 5_430.0, "s", batch=64, detail="projected: 6 epochs"),
    make_measurement("seconds", 0.0876, "s", subject="knn", spread=(0.0812, 0.0954), detail="20 train"),
    make_measurement("not timed", 0.0, "", subject="conv", detail="needs a map"),
]


def test_tables_show_every_measurement() -> None:
    first, rest = speed_tables(results_of(MEASUREMENTS))
    rows = {row[0]: row[1:] for row in first.rows}
    assert first.title == "aet / small / digits (batch 64)"
    assert rows["data, images/s"] == ("1111 [1001, 1221]", "-", "-", "")
    assert rows["both, images/s"] == ("222 [201, 231]", "111 [101, 119]", "2.12 x [1.88, 2.25]", "")
    assert rows["step, images/s"] == ("-", "-", "-", "")
    assert rows["flops per image"][0] == "33.3 Mflop"
    assert rows["fraction of product limit"][0] == "0.432"
    assert rows["training time"] == ("5430 s", "", "", "projected: 6 epochs")
    others = {row[0]: row[1:] for row in rest.rows}
    assert others["device"] == ("matrix product", "1.23 Tflop/s", "", "float32")
    assert others["knn"] == ("seconds", "0.0876 s", "[0.0812, 0.0954]", "20 train")
    assert others["conv"][-1] == "needs a map"
    assert any("device_name a machine" in note for note in rest.notes)
    assert not any("commit" in note for note in rest.notes)


def test_no_measurements_give_no_table() -> None:
    assert speed_tables(results_of([])) == []


def shown_value(value: float, unit: str) -> str:
    """A value as a table shows it."""
    (table,) = speed_tables(results_of([make_measurement("x", value, unit)]))
    return table.rows[0][2]


@pytest.mark.parametrize("unit", sorted(PREFIXED_UNITS))
@pytest.mark.parametrize("value", [1.0, 12.3, 999.0, 1000.0, 45_600.0, 2.5e9, 1.25e14])
def test_large_numbers_have_a_prefix_and_no_exponent(unit: str, value: float) -> None:
    shown = shown_value(value, unit)
    number = shown.split()[0]
    assert "e" not in number
    factor = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3}.get(shown.split()[1][0], 1) if value >= 1000 else 1
    assert float(number) * factor == pytest.approx(value, rel=5e-3)


@pytest.mark.parametrize("value", [999.7, 999_700.0, 999.7e9, 1.2e15])
def test_numbers_that_round_to_a_thousand_have_the_next_prefix(value: float) -> None:
    assert "e" not in shown_value(value, "flop/s").split()[0]


def test_json_has_every_number_unrounded_and_the_conditions() -> None:
    body = json.loads(rendered(MEASUREMENTS, "json"))
    assert body["conditions"] == CONDITIONS
    assert len(body["rows"]) == len(MEASUREMENTS)
    for each, expected in zip(body["rows"], MEASUREMENTS, strict=True):
        assert (each["subject"], each["quantity"], each["unit"]) == (expected.subject, expected.quantity, expected.unit)
        assert each["value"] == expected.value
        assert (each["low"], each["high"]) == (expected.spread or (None, None))


def test_csv_has_the_conditions_in_every_row() -> None:
    rows = rows_of(rendered(MEASUREMENTS, "csv"))
    assert len(rows) == len(MEASUREMENTS)
    for row, expected in zip(rows, MEASUREMENTS, strict=True):
        assert tuple(row) == COLUMNS
        assert float(row["value"]) == pytest.approx(expected.value, rel=1e-5)
        assert (row["subject"], row["quantity"], row["unit"]) == (expected.subject, expected.quantity, expected.unit)
        assert row["detail"] == expected.detail
        assert row["batch"] == ("" if expected.batch is None else str(expected.batch))
        bounds = ("", "") if expected.spread is None else expected.spread
        assert [float(row[key]) if row[key] else "" for key in ("low", "high")] == pytest.approx(list(bounds))
        for key, value in CONDITIONS.items():
            assert row[key] == ("" if value is None else str(value))


def test_append_csv_keeps_existing_rows(tmp_path: Path) -> None:
    path = append_csv(results_of(MEASUREMENTS[:2]), tmp_path / "results")
    assert path == tmp_path / "results" / "speed.csv"
    first = path.read_text()
    assert first == rendered(MEASUREMENTS[:2], "csv")
    append_csv(results_of(MEASUREMENTS[2:], threads=9), tmp_path / "results")
    assert path.read_text().startswith(first)
    rows = rows_of(path.read_text())
    assert [row["quantity"] for row in rows] == [each.quantity for each in MEASUREMENTS]
    assert [row["threads"] for row in rows] == ["2"] * 2 + ["9"] * (len(MEASUREMENTS) - 2)


def test_append_csv_completes_a_last_line(tmp_path: Path) -> None:
    path = append_csv(results_of(MEASUREMENTS[:1]), tmp_path)
    path.write_text(path.read_text().rstrip("\n"))
    append_csv(results_of(MEASUREMENTS[1:2]), tmp_path)
    assert [row["quantity"] for row in rows_of(path.read_text())] == ["matrix product", "data"]


@pytest.mark.parametrize("text", ["subject,quantity,value\nold,row,1\n", "", "no table at all"])
def test_append_csv_refuses_other_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "speed.csv").write_text(text)
    with pytest.raises(RecordError, match=r"speed\.csv has other columns .* --to"):
        append_csv(results_of(MEASUREMENTS), tmp_path)
    assert (tmp_path / "speed.csv").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["speed.csv"]


def test_append_csv_keeps_the_file_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = append_csv(results_of(MEASUREMENTS[:1]), tmp_path)
    before = path.read_text()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match="No space left on device"):
        append_csv(results_of(MEASUREMENTS[1:]), tmp_path)
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["speed.csv"]


def test_append_csv_reports_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, not a folder")
    with pytest.raises(RecordError, match="cannot be written"):
        append_csv(results_of(MEASUREMENTS), tmp_path / "file" / "results")
