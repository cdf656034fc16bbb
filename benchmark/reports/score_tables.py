"""One table per dataset and evaluator: methods by encoder and tap, best headline first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmark.records.columns import Columns, RecordSummary, columns_of
from benchmark.records.dataframe import csv_chunks, frame_chunks, to_frame
from benchmark.records.record import Record
from benchmark.reports.aggregate import AggregatedRow, AggregatedScores, aggregate, sorted_rows
from benchmark.reports.row_text import Remarks, failure_text, remarks_of, seeds_text, table_title, value_text
from benchmark.reports.table import HEADLINE, MissingCell, Report, Table


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The column of rank intervals of a table."""

    labels: tuple[str, ...]
    """One per row: `1-4`, `1 seed`. Empty if no two rows can be ranked."""
    notes: tuple[str, ...] = ()


Ranker = Callable[[AggregatedScores, Sequence[AggregatedRow]], Ranks]
"""Ranks the rows of a table, which come best first."""


def score_report(
    records: Sequence[Record] | Columns, missing: Sequence[MissingCell] = (), ranker: Ranker | None = None
) -> Report:
    """The scores of records: tables for people; for machines one row per score with the leaderboard's columns."""
    return Report(
        tables=lambda: score_tables(records, missing, ranker),
        frame=lambda: to_frame(records),
        csv=lambda: csv_chunks(columns_of(records)),
        frames=lambda: frame_chunks(columns_of(records)),
    )


def score_tables(
    records: Sequence[Record] | Columns, missing: Sequence[MissingCell] = (), ranker: Ranker | None = None
) -> list[Table]:
    """One table per dataset and evaluator.

    A value is the mean over seeds with its standard deviation; for one seed the headline has its 95 % interval over test
    images. Cells without scores have a row with the reason; no mean includes them.

    Args:
        records: with or without scores.
        missing: requested cells without a record.
        ranker: adds a column of ranks after the headline; None: no ranks.
    """
    columns = columns_of(records).with_scores()
    by_dataset: dict[str, list[MissingCell]] = {}
    for cell in missing:
        by_dataset.setdefault(cell.dataset, []).append(cell)
    tables = [_score_table(scores, by_dataset.get(scores.dataset, []), ranker) for scores in aggregate(columns)]
    # "-" is the dataset of cells that a glob left out.
    with_table = {summary.shared.dataset for summary in columns.summaries} | {"-"}
    return tables + [_no_scores_table(name, cells) for name, cells in by_dataset.items() if name not in with_table]


def _no_scores_table(dataset: str, missing: Sequence[MissingCell]) -> Table:
    return Table(
        title=f"no scores on {dataset}",
        columns=("method", "encoder", "seeds", "remarks"),
        rows=tuple((cell.method, cell.encoder, _seed_text(cell), cell.reason) for cell in missing),
    )


def _seed_text(cell: MissingCell) -> str:
    return "-" if cell.seed is None else f"seed {cell.seed}"


def _score_table(scores: AggregatedScores, missing: Sequence[MissingCell], ranker: Ranker | None) -> Table:
    rows = sorted_rows(scores)
    remarks = remarks_of(scores, [[row] for row in rows])
    texts = [_row_texts(scores, row) for row in rows]
    missing = [*missing, *map(_failed_cell, scores.without_scores)]
    dashes = ("-",) * len(scores.metrics)
    texts += [(cell.method, cell.encoder, "-", "-", _seed_text(cell), *dashes) for cell in missing]
    remarks = Remarks(texts=[*remarks.texts, *(cell.reason for cell in missing)], notes=remarks.notes)
    table = Table(
        title=table_title(scores),
        evaluator=scores.evaluator,
        dataset=scores.dataset,
        columns=remarks.columns(("method", "encoder", "tap", "epochs", "seeds", *scores.metrics)),
        rows=remarks.rows(texts),
        best=_best_values(rows, scores.metrics),
        notes=remarks.notes,
    )
    return table if ranker is None else _with_ranks(table, ranker(scores, rows))


def _row_texts(scores: AggregatedScores, row: AggregatedRow) -> tuple[str, ...]:
    shared = row.first.shared
    values = [value_text(scores, row, name, with_interval=name == scores.headline) for name in scores.metrics]
    return (shared.method, shared.encoder, row.tap, shared.shown_epochs, seeds_text(row), *values)


def _failed_cell(summary: RecordSummary) -> MissingCell:
    """A cell that has other scores but failed before this evaluator's."""
    method, encoder, dataset = summary.shared.labels
    return MissingCell(method=method, encoder=encoder, dataset=dataset, seed=summary.seed, reason=failure_text(summary))


def _with_ranks(table: Table, ranks: Ranks) -> Table:
    """The table with a column of ranks after the headline. Rows of missing cells are last and have none."""
    if not ranks.labels:
        return replace(table, notes=(*table.notes, *ranks.notes))
    after = HEADLINE + 1
    labels = (*ranks.labels, *("-" for _ in table.rows[len(ranks.labels) :]))
    return replace(
        table,
        columns=(*table.columns[:after], "rank", *table.columns[after:]),
        rows=tuple((*row[:after], rank, *row[after:]) for row, rank in zip(table.rows, labels, strict=True)),
        best=frozenset((row, column + (column >= after)) for row, column in table.best),
        notes=(*table.notes, *ranks.notes),
        kept=after + 1,
    )


def _best_values(rows: Sequence[AggregatedRow], metrics: Sequence[str]) -> frozenset[tuple[int, int]]:
    """The best mean of each column among rows with two seeds or more: a single run does not show which row is best."""
    best: set[tuple[int, int]] = set()
    for column, metric in enumerate(metrics, start=HEADLINE):
        values = ((number, row.values.get(metric)) for number, row in enumerate(rows) if not row.smoke)
        means = {
            number: value.mean if value.higher_is_better else -value.mean
            for number, value in values
            if value is not None and value.records > 1
        }
        if len(means) >= 2:
            highest = max(means.values())
            best |= {(number, column) for number, mean in means.items() if mean == highest}
    return frozenset(best)
