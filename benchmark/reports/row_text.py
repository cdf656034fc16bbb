"""The texts of score tables: title, values, remarks, notes. The only place that rounds scores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.records.caveats import caveat_notes, caveat_texts, shared_caveats
from benchmark.records.columns import RecordSummary
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, Value
from benchmark.reports.table import DIGITS

TOLERANCE = 1e-9
"""Uncertainty of `Value.spread`, relative to itself and to the mean."""


def table_title(table: AggregatedScores) -> str:
    """`linear on digits (linear@1, n = 360 test images)`."""
    pooling = {"average": "", "none": ", whole map"}.get(table.pool, f", {table.pool} features")
    images = str(table.min_images)
    if table.min_images != table.max_images:
        images = f"{table.min_images} to {table.max_images}"
    return f"{table.evaluator} on {table.dataset} ({table.protocol}{pooling}, n = {images} test images)"


def seeds_text(row: AggregatedRow) -> str:
    """Number of seeds; `-` if the method uses none."""
    return "-" if row.seedless else str(row.records)


def value_text(table: AggregatedScores, row: AggregatedRow | None, metric: str, *, with_interval: bool = True) -> str:
    """A metric of a row: mean and spread over seeds; for one seed the value, with its interval over test images."""
    value = None if row is None else row.values.get(metric)
    if value is None:
        return "missing"
    if value.records > 1:
        return f"{value.mean:.{DIGITS}f} ±{_spread(value, table.values):.{DIGITS}f}"
    if with_interval and value.interval is not None:
        return f"{value.mean:.{DIGITS}f} [{value.interval[0]:.3f}, {value.interval[1]:.3f}]"
    return f"{value.mean:.{DIGITS}f}"


def _spread(value: Value, values: Sequence[float]) -> float:
    """The standard deviation over seeds, computed exactly if its uncertainty could change a displayed digit.

    The exact computation uses fractions and takes 0.1 ms, as long as the rest of a row.
    """
    scaled = value.spread * 10**DIGITS
    if abs(scaled % 1 - 0.5) > TOLERANCE * (scaled + 10**DIGITS * abs(value.mean)):
        return value.spread
    return statistics.stdev(values[value.start : value.start + value.records])


def not_learned_text(failed: int, records: int) -> str:
    """`did not learn`, or how many of several records; empty for none."""
    if not failed:
        return ""
    return "did not learn" if failed == records else f"{failed} of {records} did not learn"


def failure_text(summary: RecordSummary) -> str:
    """The reason of a failure on one line."""
    return " ".join((summary.failure or "").split())


@dataclass(frozen=True, kw_only=True)
class Remarks:
    """The last column of a table and the notes that explain it."""

    texts: list[str]
    """One for each row."""
    notes: tuple[str, ...]

    def columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """Column names with `remarks` at the end if any row has a remark."""
        return (*names, "remarks") if any(self.texts) else tuple(names)

    def rows(self, rows: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
        """Rows with their remark at the end if any row has one."""
        if not any(self.texts):
            return tuple(map(tuple, rows))
        return tuple((*row, text) for row, text in zip(rows, self.texts, strict=True))


def remarks_of(table: AggregatedScores, rows: Sequence[Sequence[AggregatedRow]]) -> Remarks:
    """Remarks on the rows of a table; each may cover several aggregated rows, of which the first is described."""
    caveats = [
        caveat_texts(dict.fromkeys(caveat for row in group for caveat in row.caveats), table.evaluator)
        for group in rows
    ]
    shared = shared_caveats(caveats)
    texts = [
        _remark(group[0], [text for text in own if text not in shared])
        for group, own in zip(rows, caveats, strict=True)
    ]
    return Remarks(
        texts=texts, notes=(*_notes_on_seeds([row for group in rows for row in group]), *caveat_notes(caveats))
    )


def _remark(row: AggregatedRow, caveats: Sequence[str]) -> str:
    parts = [
        not_learned_text(row.failed_to_learn, row.records),
        "smoke run: not a result" if row.smoke else "",
        *caveats,
        f"not all scores: {failure_text(row.failed)}" if row.failed is not None else "",
    ]
    return "; ".join(part for part in parts if part)


def _notes_on_seeds(rows: Sequence[AggregatedRow]) -> list[str]:
    """What ± and [ ] mean in a table."""
    counts = {row.records for row in rows if not row.seedless}
    several = [count for count in counts if count > 1]
    notes = []
    if several:
        few = f" With fewer than 3 seeds ({min(several)}) this estimate is unreliable." if min(several) < 3 else ""
        notes.append(f"±: standard deviation over seeds.{few}")
    if 1 in counts:
        notes.append("[ ]: 95 % interval over test images. One seed: variance across seeds unknown.")
    elif any(row.seedless for row in rows):
        notes.append("[ ]: 95 % interval over test images, for methods without a seed.")
    return notes
