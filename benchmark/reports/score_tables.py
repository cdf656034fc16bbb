"""Records become tables: one row per score for machines, one table per evaluator for people. The only place that rounds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark.records.caveats import notes as notes_of_marks
from benchmark.records.caveats import shared, words
from benchmark.records.columns import Columns, RecordSummary
from benchmark.records.dataframe import _scored
from benchmark.records.record import Record
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, Value, aggregate
from benchmark.reports.table import DIGITS, HEADLINE, MissingCell, Table

if TYPE_CHECKING:
    pass
NEAR = 1e-9
"""Doubt about a standard deviation, as a part of it and of the mean."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Where each row of a table may stand, as far as its headline can be told from the others'."""

    labels: tuple[str, ...]
    """One for each line: `1-4`, `1 seed`; none at all where nothing can be said of any two lines."""
    notes: tuple[str, ...] = ()


Ranker = Callable[[AggregatedScores, Sequence[AggregatedRow]], Ranks]
"""A sheet and its lines, best first, to their ranks."""


def score_tables(
    records: Sequence[Record] | Columns, missing: Sequence[MissingCell] = (), rank: Ranker | None = None
) -> list[Table]:
    """One table for each dataset and evaluator, best headline first; with a ranker, a column of ranks after it.

    A value is the mean over seeds with its standard deviation; with one seed, the headline carries its 95 % interval
    over test images. Cells without scores have a row that says why; they are never averaged over.
    """
    columns = _scored(records)
    absent: dict[str, list[MissingCell]] = {}
    for cell in missing:
        absent.setdefault(cell.dataset, []).append(cell)
    found = [_table(sheet, absent.get(sheet.dataset, []), rank) for sheet in aggregate(columns)]
    known_datasets = {brief.common.dataset for brief in columns.briefs} | {
        "-"
    }  # what a glob left out belongs to no dataset
    return found + [_only_missing(dataset, cells) for dataset, cells in absent.items() if dataset not in known_datasets]


def _only_missing(dataset: str, missing: Sequence[MissingCell]) -> Table:
    """What there is to say of a dataset on which no cell has a score."""
    return Table(
        title=f"no scores on {dataset}",
        columns=("method", "encoder", "seeds", "remarks"),
        rows=tuple((m.method, m.encoder, _seed(m), m.reason) for m in missing),
    )


def _seed(missing: MissingCell) -> str:
    return "-" if missing.seed is None else f"seed {missing.seed}"


def _table(sheet: AggregatedScores, missing: Sequence[MissingCell], rank: Ranker | None) -> Table:
    metrics, lines = sheet.metrics, sorted_lines(sheet)
    columns = ("method", "encoder", "tap", "epochs", "seeds", *metrics, "remarks")
    marks = [words(line.marks, sheet.evaluator) for line in lines]
    everywhere = shared(marks)
    rows = [
        _row(line, metrics, sheet.values, [word for word in found if word not in everywhere])
        for line, found in zip(lines, marks, strict=True)
    ]
    absent = [*missing, *(_unscored(brief) for brief in sheet.unscored)]
    rows += [(m.method, m.encoder, "-", "-", _seed(m), *("-" for _ in metrics), m.reason) for m in absent]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    table = Table(
        title=title(sheet),
        columns=columns,
        rows=tuple(rows),
        best=_best(lines, metrics),
        notes=(*notes_on_seeds(lines), *notes_of_marks(marks)),
    )
    return table if rank is None else _with_ranks(table, rank(sheet, lines))


def sorted_lines(sheet: AggregatedScores) -> list[AggregatedRow]:
    """The lines of a sheet, best headline first; those without one last."""
    headlines = [line.values.get(sheet.metrics[0]) for line in sheet.lines]
    sign = 1 if next((value.higher_is_better for value in headlines if value), True) else -1
    order = sorted(
        range(len(headlines)), key=[-sign * each.mean if each else math.inf for each in headlines].__getitem__
    )
    return [sheet.lines[place] for place in order]


def title(sheet: AggregatedScores) -> str:
    """What a table says it is of."""
    how = {"average": "", "none": ", whole map"}.get(sheet.pool, f", {sheet.pool} features")
    images = str(sheet.fewest) if sheet.fewest == sheet.most else f"{sheet.fewest} to {sheet.most}"
    return f"{sheet.evaluator} on {sheet.dataset} ({sheet.protocol}{how}, n = {images} test images)"


def _with_ranks(table: Table, ranks: Ranks) -> Table:
    """The table with a column of ranks after the headline, if there are any."""
    if not ranks.labels:
        return replace(table, notes=(*table.notes, *ranks.notes))
    after = HEADLINE + 1
    labels = (*ranks.labels, *("-" for _ in table.rows[len(ranks.labels) :]))  # rows of what is missing stand last
    return replace(
        table,
        columns=(*table.columns[:after], "rank", *table.columns[after:]),
        rows=tuple((*row[:after], rank, *row[after:]) for row, rank in zip(table.rows, labels, strict=True)),
        best=frozenset((row, column + (column >= after)) for row, column in table.best),
        notes=(*table.notes, *ranks.notes),
        kept=after + 1,
    )


def _unscored(brief: RecordSummary) -> MissingCell:
    """A cell that has other scores, but failed before this evaluator's."""
    common, reason = brief.common, _reason(brief)
    return MissingCell(
        method=common.method, encoder=common.encoder, dataset=common.dataset, seed=brief.seed, reason=reason
    )


def _reason(brief: RecordSummary) -> str:
    return " ".join((brief.failure or "").split())


def _row(line: AggregatedRow, metrics: Sequence[str], values: Sequence[float], marks: Sequence[str]) -> tuple[str, ...]:
    common = line.first.common
    numbers = [format_value(line.values.get(metric), values, metric is metrics[0]) for metric in metrics]
    return (common.method, common.encoder, line.tap, common.shown_epochs, seeds(line), *numbers, remark(line, marks))


def seeds(line: AggregatedRow) -> str:
    """Their number, `-` where chance plays no part."""
    return "-" if line.seedless else str(line.records)


def format_value(value: Value | None, values: Sequence[float], with_interval: bool) -> str:
    """A metric of a line: mean and spread over seeds; of one seed, with its interval over test images if that is wanted.

    Args:
        value: None where it is missing.
        values: of the sheet.
        with_interval: whether it is the headline.
    """
    if value is None:
        return "missing"
    if value.records > 1:
        return f"{value.mean:.{DIGITS}f} ±{_deviation(value, values):.{DIGITS}f}"
    if with_interval and value.interval is not None:
        return f"{value.mean:.{DIGITS}f} [{value.interval[0]:.3f}, {value.interval[1]:.3f}]"
    return f"{value.mean:.{DIGITS}f}"


def _deviation(value: Value, values: Sequence[float]) -> float:
    """The standard deviation over seeds, exact where so little as is in doubt would change a digit that is shown.

    Exact ones are made of fractions and take a tenth of a millisecond, as long as a row of all the rest.
    """
    last = value.spread * 10**DIGITS  # the digit that is rounded stands behind the point
    if abs(last % 1 - 0.5) > NEAR * (last + 10**DIGITS * abs(value.mean)):
        return value.spread
    return statistics.stdev(values[value.start : value.start + value.records])


def remark(line: AggregatedRow, marks: Sequence[str]) -> str:
    """What a reader of the row has to know beside its numbers, with these marks."""
    found = []
    if line.dull:
        found.append("did not learn" if line.dull == line.records else f"{line.dull} of {line.records} did not learn")
    if line.smoke:
        found.append("smoke: no result")
    found += marks
    if line.failed is not None:
        found.append("not all scores: " + _reason(line.failed))
    return "; ".join(found)


def _best(lines: Sequence[AggregatedRow], metrics: Sequence[str]) -> frozenset[tuple[int, int]]:
    """The best mean of each column, among rows of two seeds or more; one run proves no winner."""
    marked = set()
    for column, metric in enumerate(metrics, start=HEADLINE):
        found = ((number, line.values.get(metric)) for number, line in enumerate(lines) if not line.smoke)
        able = {
            n: value.mean * (1 if value.higher_is_better else -1) for n, value in found if value and value.records > 1
        }
        if len(able) >= 2:
            best = max(able.values())
            marked |= {(number, column) for number, mean in able.items() if mean == best}
    return frozenset(marked)


def notes_on_seeds(lines: Sequence[AggregatedRow]) -> tuple[str, ...]:
    """What ± and [ ] mean in a table of these lines."""
    counts = {line.records for line in lines if not line.seedless}
    notes = []
    several = [count for count in counts if count > 1]
    if several:
        small = f" Fewer than 3 seeds ({min(several)}): the spread itself is hardly known." if min(several) < 3 else ""
        notes.append(f"± is the standard deviation over seeds.{small}")
    if 1 in counts:
        notes.append(
            "1 seed: [ ] is the 95 % interval over test images; how much training again would change is not known."
        )
    elif any(line.seedless for line in lines):
        notes.append("Without seeds: [ ] is the 95 % interval over test images.")
    return tuple(notes)
