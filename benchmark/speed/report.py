"""Speed reports: as tables for people, as JSON, and as rows of `speed.csv` with their conditions beside each number."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.reports.table import Table

if TYPE_CHECKING:
    from benchmark.speed.training import TrainingTimes

NAME = "speed.csv"
COLUMNS = (
    *("subject", "quantity", "value", "unit", "low", "high", "batch", "detail"),
    *("rounds", "seconds", "threads", "workers", "accelerate", "budget", "device", "device_name", "precision"),
    *("torch", "python", "repbench", "commit", "time"),
)
"""Of speed.csv, in order: what was measured, then under which conditions."""
SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
SCALED = ("bytes", "bytes/s", "flop", "flop/s")
"""Units that are shown with a prefix."""


def speed_tables(found: Sequence[TrainingTimes], conditions: Mapping[str, object]) -> list[Table]:
    """One table for each subject of training, one for everything else."""
    training = [each.subject for each in found if each.quantity == "both"]
    made = [
        _training(subject, [each for each in found if each.subject == subject]) for subject in dict.fromkeys(training)
    ]
    rest = [each for each in found if each.subject not in training]
    if rest:
        rows = tuple((each.subject, each.quantity, _shown(each), _range(each), each.detail) for each in rest)
        made.append(
            Table(title="device, evaluators, start-up", columns=("of", "what", "value", "range", "remarks"), rows=rows)
        )
    notes = ("; ".join(f"{key} {value}" for key, value in conditions.items() if value not in (None, "")),)
    return [*made[:-1], _with_notes(made[-1], notes)] if made else []


def _with_notes(table: Table, notes: tuple[str, ...]) -> Table:
    return Table(title=table.title, columns=table.columns, rows=table.rows, notes=(*table.notes, *notes))


def _training(subject: str, found: Sequence[TrainingTimes]) -> Table:
    """Ours, the plain way and the ratio side by side; below, what was counted."""
    by_name = {each.quantity: each for each in found}
    rows = []
    for name in ("data", "step", "both"):
        cells = [by_name.get(key) for key in (name, f"plain {name}", f"{name} ratio")]
        shown = [f"{_shown(each)} {_range(each)}".strip() if each else "-" for each in cells]
        rows.append((f"{name}, images/s", *shown))
    used = {key for name in ("data", "step", "both") for key in (name, f"plain {name}", f"{name} ratio")}
    rows += [(each.quantity, _shown(each), "", each.detail) for each in found if each.quantity not in used]
    return Table(
        title=f"{subject} (batch {found[0].batch})",
        columns=("what", "ours", "plain", "ratio, remarks"),
        rows=tuple(rows),
        notes=("[ ] is the range over rounds; the ratio is the median of the ratios within each round.",),
    )


def _shown(each: TrainingTimes) -> str:
    if each.unit in SCALED:
        # 999.7 M is told as 1.00 G: what rounds up to a thousand of a prefix belongs to the next.
        factor, prefix = next(((f, p) for f, p in SCALES if abs(each.value) >= 0.9995 * f), (1, ""))
        return f"{_digits(each.value / factor)} {prefix}{each.unit}"
    if each.unit == "images/s":
        return _digits(each.value)
    return f"{_digits(each.value)} {'' if each.unit == 'fraction' else each.unit}".strip()


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _range(each: TrainingTimes) -> str:
    if each.spread is None:
        return ""
    low, high = (_digits(bound) for bound in each.spread)
    return f"[{low}, {high}]"


def as_json(found: Sequence[TrainingTimes], conditions: Mapping[str, object]) -> str:
    """The conditions and every number, unrounded."""
    return json.dumps({"conditions": dict(conditions), "measured": [asdict(each) for each in found]}, indent=1) + "\n"


def as_csv(found: Sequence[TrainingTimes], conditions: Mapping[str, object]) -> str:
    """Rows with their conditions, numbers to 6 significant places."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for each in found:
        low, high = each.spread or ("", "")
        row: dict[str, object] = {
            **{key: conditions.get(key, "") for key in COLUMNS},
            **{key: getattr(each, key) for key in ("subject", "quantity", "unit", "batch", "detail")},
            **{"value": each.value, "low": low, "high": high},
        }
        writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    return text.getvalue()


def add(found: Sequence[TrainingTimes], conditions: Mapping[str, object], folder: Path) -> Path:
    """Adds the rows to the folder's speed.csv; what stands there is kept.

    Raises:
        RecordError: the file has other columns, or cannot be written.
    """
    path = folder / NAME
    text = as_csv(found, conditions)
    if path.is_file():
        before = path.read_text(encoding="utf-8")
        heading, _, rows = text.partition("\n")
        if before.partition("\n")[0] != heading:
            raise RecordError(
                f"{path} has other columns than this repbench writes; move it away, or choose another --to"
            )
        text = (before if before.endswith("\n") else before + "\n") + rows
    with replaced(path) as file:
        file.write(text.encode())
    return path
