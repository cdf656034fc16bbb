"""Report speed measurements as tables and as rows of speed.csv, each with its conditions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.reports.render import render_report
from benchmark.reports.table import Report, Table
from benchmark.speed.measurement import Measurement, SpeedResults

if TYPE_CHECKING:
    import pandas as pd

FILE_NAME = "speed.csv"
MEASUREMENT_COLUMNS = ("subject", "quantity", "value", "unit", "low", "high", "batch", "detail")
"""Columns of a row that describe the measurement: fields of `Measurement`; `low` and `high` are its spread."""
CONDITION_COLUMNS = (
    *("rounds", "seconds", "threads", "workers", "accelerate", "budget", "device", "device_name", "precision"),
    *("torch", "python", "repbench", "commit", "time"),
)
"""Columns of a row that come from `SpeedResults.conditions`."""
COLUMNS = (*MEASUREMENT_COLUMNS, *CONDITION_COLUMNS)
"""Columns of speed.csv and of `--format csv` and `json`, in order."""
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
PREFIXED_UNITS = ("bytes", "bytes/s", "flop", "flop/s")
"""Units that tables show with a prefix, such as Gflop."""
TIMED_PARTS = ("data", "step", "both")


def speed_report(results: SpeedResults) -> Report:
    """The report of `bench speed`."""
    return Report(
        tables=lambda: speed_tables(results),
        frame=lambda: speed_frame(results),
        facts={"conditions": dict(results.conditions)},
    )


def speed_frame(results: SpeedResults) -> pd.DataFrame:
    """One row per measurement, with `COLUMNS`."""
    import pandas as pd

    frame = pd.DataFrame([_row(each, results) for each in results.measurements], columns=list(COLUMNS))
    return frame.astype({"value": "float64", "low": "float64", "high": "float64", "batch": "Int64"})


def _row(measurement: Measurement, results: SpeedResults) -> dict[str, object]:
    low, high = measurement.spread or (None, None)
    fields = {**vars(measurement), "low": low, "high": high}
    return {
        **{name: fields[name] for name in MEASUREMENT_COLUMNS},
        **{name: results.conditions.get(name) for name in CONDITION_COLUMNS},
    }


def append_csv(results: SpeedResults, folder: Path) -> Path:
    """Appends the rows to speed.csv of a folder, which is created if needed. Existing rows are kept.

    Returns:
        The path of the file.

    Raises:
        RecordError: the file has other columns, or cannot be written.
    """
    path = folder / FILE_NAME
    existing = read_csv(folder)
    text = render_report(speed_report(results), "csv")
    if existing:
        text = (existing if existing.endswith("\n") else existing + "\n") + text.partition("\n")[2]
    with replaced(path) as file:
        file.write(text.encode())
    return path


def read_csv(folder: Path) -> str:
    """The text of a folder's speed.csv; empty if there is none. A byte order mark and the line breaks of Windows are removed.

    Raises:
        RecordError: the file has other columns or another encoding.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return ""
    header = ",".join(COLUMNS)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except ValueError:
        text = ""
    if text.partition("\n")[0] != header:
        raise RecordError(
            f"{path} has other columns or another encoding than repbench writes; rename the file, or pass another --to"
        )
    return text


def speed_tables(results: SpeedResults) -> list[Table]:
    """One table per measured training, and one for all other measurements. Notes under the last give the conditions."""
    trained = dict.fromkeys(each.subject for each in results.measurements if each.quantity == "both")
    tables = [
        _training_table(subject, [each for each in results.measurements if each.subject == subject])
        for subject in trained
    ]
    others = [each for each in results.measurements if each.subject not in trained]
    if others:
        tables.append(_other_table(others))
    if not tables:
        return []
    shown = [f"{name} {value}" for name, value in results.conditions.items() if value not in (None, "")]
    last = dataclasses.replace(tables[-1], notes=(*tables[-1].notes, "; ".join(shown)))
    return [*tables[:-1], last]


def _training_table(subject: str, measurements: Sequence[Measurement]) -> Table:
    """The rates of repbench and of the plain pipeline with their ratio; below, the other numbers."""
    by_quantity = {each.quantity: each for each in measurements}
    rows = []
    for part in TIMED_PARTS:
        compared = [by_quantity.get(quantity) for quantity in (part, f"plain {part}", f"{part} ratio")]
        shown = [f"{_value_text(each)} {_spread_text(each)}".strip() if each else "-" for each in compared]
        rows.append((f"{part}, images/s", *shown, ""))
    used = {quantity for part in TIMED_PARTS for quantity in (part, f"plain {part}", f"{part} ratio")}
    others = [each for each in measurements if each.quantity not in used]
    rows += [(each.quantity, _value_text(each), "", "", each.detail) for each in others]
    return Table(
        title=f"{subject} (batch {measurements[0].batch})",
        columns=("quantity", "repbench", "plain", "ratio", "remarks"),
        rows=tuple(rows),
        notes=("[ ]: range over rounds. The ratio is the median of the ratios within each round.",),
    )


def _other_table(measurements: Sequence[Measurement]) -> Table:
    return Table(
        title="device, evaluators, start-up",
        columns=("subject", "quantity", "value", "range", "remarks"),
        rows=tuple(
            (each.subject, each.quantity, _value_text(each), _spread_text(each), each.detail) for each in measurements
        ),
    )


def _value_text(measurement: Measurement) -> str:
    value, unit = measurement.value, measurement.unit
    if unit in PREFIXED_UNITS:
        # 0.9995: a value that rounds to 1000 of one prefix is shown with the next prefix.
        factor, prefix = next(((f, p) for f, p in PREFIXES if abs(value) >= 0.9995 * f), (1, ""))
        return f"{_three_digits(value / factor)} {prefix}{unit}"
    shown_unit = "" if unit in ("images/s", "fraction") else unit
    return f"{_three_digits(value)} {shown_unit}".strip()


def _three_digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _spread_text(measurement: Measurement) -> str:
    if measurement.spread is None:
        return ""
    low, high = (_three_digits(bound) for bound in measurement.spread)
    return f"[{low}, {high}]"
