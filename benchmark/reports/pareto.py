"""Scores against what training cost: seconds, images seen, memory, and the rows that no other beats at both ends."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.records.caveats import notes as notes_of_marks
from benchmark.records.caveats import shared, words
from benchmark.records.columns import Columns, RecordSummary, columns_of
from benchmark.records.record import Record
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, GroupMembers, aggregate
from benchmark.reports.score_tables import format_value, notes_on_seeds, remark, seeds, title
from benchmark.reports.table import Table

ON = "*"
NOTE = (
    "pareto *: no other row on the same device has a score as high for as few seconds, and one of the two better. Means "
    "over seeds are compared; it is no test."
)
SECONDS = "train seconds: wall clock of one training, mean over seeds; other work on the machine is in it."


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A line with what its records cost."""

    line: AggregatedRow
    score: float | None
    """Mean over seeds, signed so that more is better; None where it is missing."""
    seconds: float | None
    """Mean over seeds; None where a record does not say."""
    images: float | None
    memory: float | None
    """The most that any seed held, in bytes."""
    device: str
    """Where they were trained: names, sorted; `any` where nothing was trained."""

    def beats(self, other: _Row) -> bool:
        """Whether the other is no member of the set because of this one."""
        ours, theirs = (self.score, self.seconds), (other.score, other.seconds)
        if None in ours or None in theirs or not ({self.device, other.device} & {"any"} or self.device == other.device):
            return False
        score, seconds, their_score, their_seconds = *ours, *theirs
        assert score is not None
        assert seconds is not None
        assert their_score is not None
        assert their_seconds is not None
        return score >= their_score and seconds <= their_seconds and (score, -seconds) != (their_score, -their_seconds)


def pareto_tables(records: Sequence[Record] | Columns) -> list[Table]:
    """One table for each dataset and evaluator, the cheapest training first, the best score first among equals."""
    columns = records if isinstance(records, Columns) else columns_of(records)
    members = GroupMembers(columns)
    return [_table(sheet, [_row(sheet, line, members) for line in sheet.lines]) for sheet in aggregate(columns)]


def _row(sheet: AggregatedScores, line: AggregatedRow, members: GroupMembers) -> _Row:
    metric = sheet.metrics[0]
    value, columns = line.values.get(metric), members.columns
    briefs = [columns.briefs[int(columns.record[score])] for score in members.of(sheet, line, metric)] or [line.first]
    memory = [brief.peak_memory_bytes for brief in briefs if brief.peak_memory_bytes is not None]
    images = _mean(brief.images_seen for brief in briefs)
    return _Row(
        line=line,
        score=None if value is None else value.mean if value.higher_is_better else -value.mean,
        seconds=_mean(brief.train_seconds for brief in briefs),
        images=images,
        memory=max(memory) if memory else None,
        device="any" if images == 0 else _devices(briefs),
    )


def _mean(numbers: Iterable[float | None]) -> float | None:
    found = list(numbers)
    known = [number for number in found if number is not None]
    return statistics.fmean(known) if known and len(known) == len(found) else None


def _devices(briefs: Sequence[RecordSummary]) -> str:
    return ", ".join(sorted({brief.common.device or "unknown" for brief in briefs}))


def _table(sheet: AggregatedScores, rows: Sequence[_Row]) -> Table:
    metric = sheet.metrics[0]
    rows = sorted(
        rows,
        key=lambda row: (
            math.inf if row.seconds is None else row.seconds,
            math.inf if row.score is None else -row.score,
        ),
    )
    able = [row for row in rows if not row.line.smoke and row.score is not None and row.seconds is not None]
    marks = [words(row.line.marks, sheet.evaluator) for row in rows]
    everywhere = shared(marks)
    texts: list[tuple[str, ...]] = []
    for row, found in zip(rows, marks, strict=True):
        line, common = row.line, row.line.first.common
        on = any(row is each for each in able) and not any(other.beats(row) for other in able)
        texts.append(
            (
                *(common.method, common.encoder, line.tap, common.shown_epochs, seeds(line)),
                *(format_value(line.values.get(metric), sheet.values, True), ON if on else ""),
                *(seconds_shown(row.seconds), images_shown(row.images), bytes_shown(row.memory)),
                *(
                    "-" if row.device == "any" else row.device,
                    remark(line, [word for word in found if word not in everywhere]),
                ),
            )
        )
    heads: tuple[str, ...] = (
        *("method", "encoder", "tap", "epochs", "seeds", metric, "pareto"),
        *("train seconds", "images seen", "peak memory", "device", "remarks"),
    )
    if not any(text[-1] for text in texts):
        heads, texts = heads[:-1], [text[:-1] for text in texts]
    return Table(
        title=f"by cost: {title(sheet)}",
        columns=heads,
        rows=tuple(texts),
        notes=(NOTE, SECONDS, *notes_on_seeds([row.line for row in rows]), *notes_of_marks(marks)),
        kept=10,
    )


def seconds_shown(seconds: float | None) -> str:
    """`12.3`, `1212`; `missing` where it is not known."""
    return "missing" if seconds is None else f"{seconds:.1f}" if seconds < 1000 else f"{seconds:.0f}"


def images_shown(images: float | None) -> str:
    """A whole number."""
    return "missing" if images is None else f"{images:.0f}"


def bytes_shown(size: float | None) -> str:
    """In MB of a million bytes: `748 MB`."""
    return "missing" if size is None else f"{size / 1e6:.0f} MB"
