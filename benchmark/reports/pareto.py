"""Scores against the cost of training: seconds, images seen, memory, and the rows that no other row dominates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.records.columns import Columns, columns_of
from benchmark.records.record import KINDS, Record
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, GroupMembers, aggregate
from benchmark.reports.row_text import remarks_of, seeds_text, table_title, value_text
from benchmark.reports.table import Report, Table

if TYPE_CHECKING:
    import pandas as pd

NOTES = (
    "pareto *: on the same device no other row has at least this score in at most this time and is better in one of them. "
    "It compares means over seeds and is not a test.",
    "train seconds: wall-clock time of one training run, mean over seeds, including the effect of other processes.",
)
ANY = "any"
"""Device of a method that trains nothing: comparable with all."""


@dataclass(frozen=True, kw_only=True)
class _CostRow:
    """An aggregated row with the cost of its records."""

    row: AggregatedRow
    score: float | None
    """Mean over seeds, negated if lower is better; None if it is missing."""
    seconds: float | None
    """Mean over seeds; None if a record lacks it."""
    images: float | None
    """Images seen, mean over seeds."""
    memory: float | None
    """Largest peak memory of a seed, in bytes."""
    device: str
    """Names of the devices, sorted; `any` if nothing was trained."""

    @property
    def comparable(self) -> bool:
        """Whether the row can be part of the Pareto set."""
        return not self.row.smoke and self.score is not None and self.seconds is not None

    def dominates(self, other: _CostRow) -> bool:
        """Whether this row is at least as good in score and time, and better in one of them."""
        if self.score is None or self.seconds is None or other.score is None or other.seconds is None:
            return False
        if self.device != other.device and ANY not in (self.device, other.device):
            return False
        at_least = self.score >= other.score and self.seconds <= other.seconds
        return at_least and (self.score, self.seconds) != (other.score, other.seconds)


def cost_report(records: Sequence[Record] | Columns) -> Report:
    """Headline scores with the cost of training, cheapest first; of equals, the best score first."""
    columns = columns_of(records)

    def rows() -> Iterable[tuple[AggregatedScores, list[_CostRow]]]:
        members = GroupMembers(columns)
        return ((scores, _sorted_rows(scores, members)) for scores in aggregate(columns))

    return Report(tables=lambda: [_table(*each) for each in rows()], frame=lambda: _frame(rows()))


def _sorted_rows(scores: AggregatedScores, members: GroupMembers) -> list[_CostRow]:
    rows = [_cost_row(scores, row, members) for row in scores.rows]
    return sorted(
        rows,
        key=lambda row: (
            math.inf if row.seconds is None else row.seconds,
            math.inf if row.score is None else -row.score,
        ),
    )


def _cost_row(scores: AggregatedScores, row: AggregatedRow, members: GroupMembers) -> _CostRow:
    value, columns = row.values.get(scores.headline), members.columns
    indices = members.of(scores, row, scores.headline)
    summaries = [columns.summaries[int(columns.record_index[score])] for score in indices] or [row.first]
    memory = [summary.peak_memory_bytes for summary in summaries if summary.peak_memory_bytes is not None]
    images = _mean([summary.images_seen for summary in summaries])
    devices = ", ".join(sorted({summary.shared.device or "unknown" for summary in summaries}))
    return _CostRow(
        row=row,
        score=None if value is None else value.mean if value.higher_is_better else -value.mean,
        seconds=_mean([summary.train_seconds for summary in summaries]),
        images=images,
        memory=max(memory) if memory else None,
        device=ANY if images == 0 else devices,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is missing."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _pareto_set(rows: Sequence[_CostRow]) -> list[bool]:
    """Whether each row is in the Pareto set."""
    comparable = [row for row in rows if row.comparable]
    return [row.comparable and not any(other.dominates(row) for other in comparable) for row in rows]


def _table(scores: AggregatedScores, rows: Sequence[_CostRow]) -> Table:
    remarks = remarks_of(scores, [[row.row] for row in rows])
    left = ("method", "encoder", "tap", "epochs", "seeds", scores.headline, "pareto")
    columns = (*left, "train seconds", "images seen", "peak memory", "device")
    texts = [_row_texts(scores, row, member) for row, member in zip(rows, _pareto_set(rows), strict=True)]
    return Table(
        title=f"by cost: {table_title(scores)}",
        columns=remarks.columns(columns),
        rows=remarks.rows(texts),
        notes=(*NOTES, *remarks.notes),
        kept=10,
    )


def _row_texts(scores: AggregatedScores, row: _CostRow, member: bool) -> tuple[str, ...]:
    shared = row.row.first.shared
    return (
        *(shared.method, shared.encoder, row.row.tap, shared.shown_epochs, seeds_text(row.row)),
        *(value_text(scores, row.row, scores.headline), "*" if member else ""),
        *(_seconds_text(row.seconds), _images_text(row.images), _memory_text(row.memory)),
        "-" if row.device == ANY else row.device,
    )


def _seconds_text(seconds: float | None) -> str:
    """`12.3`, `1212`."""
    return "missing" if seconds is None else f"{seconds:.1f}" if seconds < 1000 else f"{seconds:.0f}"


def _images_text(images: float | None) -> str:
    return "missing" if images is None else f"{images:.0f}"


def _memory_text(size: float | None) -> str:
    """`748 MB` of a million bytes."""
    return "missing" if size is None else f"{size / 1e6:.0f} MB"


def _frame(tables: Iterable[tuple[AggregatedScores, list[_CostRow]]]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for scores, cost_rows in tables:
        for row, member in zip(cost_rows, _pareto_set(cost_rows), strict=True):
            shared, value = row.row.first.shared, row.row.values.get(scores.headline)
            rows.append(
                {
                    **dict(zip(KINDS, shared.labels, strict=True)),
                    "evaluator": scores.evaluator,
                    "pool": scores.pool,
                    "protocol": scores.protocol,
                    "metric": scores.headline,
                    "tap": row.row.tap,
                    "epochs": shared.epochs,
                    "seeds": row.row.records,
                    "value": None if value is None else value.mean,
                    "pareto": member,
                    "train_seconds": row.seconds,
                    "images_seen": row.images,
                    "peak_memory_bytes": row.memory,
                    "device": row.device,
                }
            )
    return pd.DataFrame(rows)
