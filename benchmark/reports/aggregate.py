"""Scores aggregated over seeds: one table per dataset and evaluator, one row per group of records that differ in the seed.

Tables and rows are in the order in which they first appear among the scores. Each score is visited a fixed number of
times, however many tables there are: labels become small integers, so that grouping is counting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmark.records.caveats import Caveat
from benchmark.records.columns import Columns, Integers, RecordSummary, ScoreKey

MAX_METRICS = 5
"""Metrics in a table for people; the CSV has all."""
ABSENT = np.iinfo(np.int64).max


class Value(NamedTuple):
    """One metric of a row. A named tuple, because a table has many and a dataclass takes ten times as long to create."""

    mean: float
    """Mean over records, exactly as `statistics.fmean` computes it."""
    spread: float
    """Standard deviation over records, to 9 digits; 0 for a single record."""
    records: int
    """Number of records that have the metric."""
    interval: tuple[float, float] | None
    """95 % interval over test images of the last record; None if it has none."""
    higher_is_better: bool
    start: int
    """Index of the first of its values in `AggregatedScores.values`; the others follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregatedRow:
    """One method on one encoder at one tap, over seeds."""

    first: RecordSummary
    """The first of its records; the others differ only in the seed."""
    tap: str
    records: int
    """Number of records."""
    failed_to_learn: int
    """Number of records that failed to learn."""
    failed: RecordSummary | None
    """The first of its records that failed before it had all scores."""
    values: dict[str, Value]
    """Displayed metric -> value."""
    caveats: tuple[Caveat, ...] = ()
    """Caveats of all its records."""

    @property
    def seedless(self) -> bool:
        """Whether the method uses no random numbers."""
        return self.records == 1 and self.first.seed is None

    @property
    def smoke(self) -> bool:
        """Whether the records are smoke runs, which are not results."""
        return self.first.state == "smoke"


@dataclass(frozen=True, kw_only=True)
class AggregatedScores:
    """The contents of one table: the scores of one evaluator on one dataset."""

    dataset: str
    evaluator: str
    pool: str
    protocol: str
    min_images: int
    """Smallest number of test images behind a score."""
    max_images: int
    metrics: list[str]
    """Displayed metrics: the headline, then others of its family, then the rest in order of appearance."""
    rows: list[AggregatedRow]
    values: list[float]
    """Values of all tables; those of one metric of one row are adjacent."""
    without_scores: list[RecordSummary]
    """Records of the dataset that have other scores but failed before these."""

    @property
    def headline(self) -> str:
        """The metric by which rows are sorted."""
        return self.metrics[0]


def aggregate(columns: Columns) -> list[AggregatedScores]:
    """The tables of records that have scores."""
    if not len(columns.score_key):
        return []
    aggregation = _Aggregation(columns)
    rows = aggregation.rows()
    return [aggregation.table(dataset, protocol, rows) for dataset, protocol in aggregation.tables]


class GroupMembers:
    """Finds the scores behind a row. Computed only for the few rows that need it, because it is slow."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._groups: dict[tuple[str, str], list[int]] = {}
        for index, summary in enumerate(columns.summaries):
            self._groups.setdefault((summary.shared.dataset, summary.shared.grouping_key), []).append(index)

    def of(self, table: AggregatedScores, row: AggregatedRow, metric: str) -> list[int]:
        """Indices of the scores of a metric of a row: one for each record that has it, in the order of the records."""
        columns, offsets = self.columns, self.columns.offsets
        searched = (table.evaluator, table.pool, table.protocol, row.tap, metric)
        scores = []
        for index in self._groups[row.first.shared.dataset, row.first.shared.grouping_key]:
            for score in range(int(offsets[index]), int(offsets[index + 1])):
                key = columns.score_keys[columns.score_key[score]]
                if (key.evaluator, key.pool, key.protocol, key.tap, key.metric) == searched:
                    scores.append(score)
                    break
        return scores


class _Codes:
    """Labels as small integers, in order of appearance."""

    def __init__(self, labels: Iterable[Any]) -> None:
        known: dict[Any, int] = {}
        self.of: Integers = np.array([known.setdefault(label, len(known)) for label in labels], np.int64)
        self.labels = list(known)

    def __len__(self) -> int:
        return len(self.labels)


class _Aggregation:
    """Assigns each score to its table and its row."""

    def __init__(self, columns: Columns) -> None:
        summaries, keys = columns.summaries, columns.score_keys
        self.columns = columns
        self.dataset = _Codes(summary.shared.dataset for summary in summaries)
        self.group = _Codes(summary.shared.grouping_key for summary in summaries)
        self.protocol = _Codes((key.evaluator, key.pool, key.protocol) for key in keys)
        self.layer = _Codes((code, key.tap) for code, key in zip(self.protocol.of.tolist(), keys, strict=True))
        self.evaluator = _Codes(key.evaluator for key in keys)
        self.metric = _Codes(key.metric for key in keys)
        self.caveats = _Codes(summary.caveats for summary in summaries)
        record = columns.record_index
        self.table_of_score = self.dataset.of[record] * len(self.protocol) + self.protocol.of[columns.score_key]
        self.row_of_score = self.group.of[record] * len(self.layer) + self.layer.of[columns.score_key]
        first = _first_positions(self.table_of_score, len(self.dataset) * len(self.protocol))
        self.tables = [divmod(int(table), len(self.protocol)) for table in _in_order_of_appearance(first)]
        """(dataset, protocol) of each table."""
        self.min_images = self._images(np.minimum, ABSENT)
        self.max_images = self._images(np.maximum, -ABSENT)
        self.metrics = self._metrics()
        self.values: list[float] = []
        self.failed = self._failed()

    def _images(self, reduce: np.ufunc, start: int) -> Integers:
        """(tables,) images of each table: over all scores of its records by its evaluator, whatever their pooling."""
        columns = self.columns
        owner = columns.record_index * len(self.evaluator) + self.evaluator.of[columns.score_key]
        of_owner = np.full(len(columns) * len(self.evaluator), start, np.int64)
        reduce.at(of_owner, owner, columns.n)
        of_table = np.full(len(self.dataset) * len(self.protocol), start, np.int64)
        reduce.at(of_table, self.table_of_score, of_owner[owner])
        return of_table

    def _metrics(self) -> dict[tuple[int, int], list[str]]:
        """(dataset, protocol) -> displayed metrics."""
        columns, keys = self.columns, self.columns.score_keys
        codes = self.dataset.of[columns.record_index] * len(keys) + columns.score_key
        order = _in_order_of_appearance(_first_positions(codes, len(self.dataset) * len(keys)))
        seen: dict[tuple[int, int], list[ScoreKey]] = {}
        for code in order.tolist():
            dataset, key = divmod(code, len(keys))
            seen.setdefault((dataset, int(self.protocol.of[key])), []).append(keys[key])
        return {table: _displayed(keys_of_table) for table, keys_of_table in seen.items()}

    def rows(self) -> dict[tuple[int, int], list[AggregatedRow]]:
        """(dataset, protocol) -> rows."""
        columns, summaries = self.columns, self.columns.summaries
        size = len(self.group) * len(self.layer)
        # Each record once for each row that it contributes to.
        contributes = np.zeros((len(summaries), len(self.layer)), np.bool_)
        contributes[columns.record_index, self.layer.of[columns.score_key]] = True
        record, layer = np.nonzero(contributes)
        row = self.group.of[record] * len(self.layer) + layer
        records = np.bincount(row, minlength=size)
        failed_to_learn = np.bincount(row, np.array([s.failed_to_learn for s in summaries], np.float64)[record], size)
        has_failed = np.array([summary.failure is not None for summary in summaries])[record]
        first, failed = np.full((2, size), -1, np.int64)
        first[row[::-1]] = record[::-1]  # of several assignments the last counts: the first record
        failed[row[has_failed][::-1]] = record[has_failed][::-1]
        caveats = self._caveats(row, record)
        made: dict[int, AggregatedRow] = {}
        tables: dict[tuple[int, int], list[AggregatedRow]] = {}
        for code in _in_order_of_appearance(_first_positions(self.row_of_score, size)).tolist():
            protocol, tap = self.layer.labels[code % len(self.layer)]
            made[code] = AggregatedRow(
                first=summaries[first[code]],
                tap=tap,
                records=int(records[code]),
                failed_to_learn=int(failed_to_learn[code]),
                failed=summaries[failed[code]] if failed[code] >= 0 else None,
                values={},
                caveats=caveats.get(code, ()),
            )
            tables.setdefault((int(self.dataset.of[first[code]]), protocol), []).append(made[code])
        self._fill_values(made)
        return tables

    def _caveats(self, row: Integers, record: Integers) -> dict[int, tuple[Caveat, ...]]:
        """Row -> caveats of its records; rows without any are left out."""
        if self.caveats.labels == [()]:
            return {}
        caveats: dict[int, dict[Caveat, None]] = {}
        for pair in np.unique(row * len(self.caveats) + self.caveats.of[record]).tolist():
            code, labels = divmod(pair, len(self.caveats))
            caveats.setdefault(code, {}).update(dict.fromkeys(self.caveats.labels[labels]))
        return {code: tuple(each) for code, each in caveats.items()}

    def _displayed_scores(self) -> Integers:
        """Indices of the scores whose metric is displayed."""
        columns = self.columns
        displayed = np.zeros((len(self.dataset), len(columns.score_keys)), np.bool_)
        for key, protocol in enumerate(self.protocol.of.tolist()):
            for dataset in range(len(self.dataset)):
                displayed[dataset, key] = columns.score_keys[key].metric in self.metrics.get((dataset, protocol), ())
        return np.flatnonzero(displayed[self.dataset.of[columns.record_index], columns.score_key])

    def _fill_values(self, rows: dict[int, AggregatedRow]) -> None:
        """Give each row the values of the displayed metrics."""
        columns, metrics = self.columns, len(self.metric)
        scores = self._displayed_scores()
        code = self.row_of_score[scores] * metrics + self.metric.of[columns.score_key[scores]]
        order = np.argsort(code, kind="stable")
        scores, code = scores[order], code[order]
        starts = np.flatnonzero(np.r_[True, code[1:] != code[:-1]])
        counts = np.diff(np.r_[starts, len(code)])
        last = scores[starts + counts - 1]
        self.values = values = columns.value[scores].tolist()
        means = [
            math.fsum(values[start : start + count]) / count
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]
        squares = np.add.reduceat((columns.value[scores] - np.repeat(means, counts)) ** 2, starts)
        spreads = np.sqrt(squares / np.maximum(counts - 1, 1))
        arrays = (spreads, counts, columns.ci_low[last], columns.ci_high[last], columns.score_key[last], starts)
        for each, mean, spread, count, low, high, key, start in zip(
            code[starts].tolist(), means, *(array.tolist() for array in arrays), strict=True
        ):
            interval = None if math.isnan(low) or math.isnan(high) else (low, high)
            higher = columns.score_keys[key].higher_is_better
            metric = self.metric.labels[each % metrics]
            rows[each // metrics].values[metric] = Value(mean, spread, count, interval, higher, start)

    def table(self, dataset: int, protocol: int, rows: dict[tuple[int, int], list[AggregatedRow]]) -> AggregatedScores:
        """One of the tables."""
        evaluator, pool, name = self.protocol.labels[protocol]
        code = dataset * len(self.protocol) + protocol
        return AggregatedScores(
            dataset=self.dataset.labels[dataset],
            evaluator=evaluator,
            pool=pool,
            protocol=name,
            min_images=int(self.min_images[code]),
            max_images=int(self.max_images[code]),
            metrics=self.metrics[dataset, protocol],
            rows=rows[dataset, protocol],
            values=self.values,
            without_scores=[
                summary for summary, protocols in self.failed.get(dataset, ()) if protocol not in protocols
            ],
        )

    def _failed(self) -> dict[int, list[tuple[RecordSummary, set[int]]]]:
        """Dataset -> its failed records, each with the protocols under which it has scores."""
        failed: dict[int, list[tuple[RecordSummary, set[int]]]] = {}
        offsets, keys = self.columns.offsets, self.columns.score_key
        for index, summary in enumerate(self.columns.summaries):
            if summary.failure is not None:
                protocols = set(self.protocol.of[keys[offsets[index] : offsets[index + 1]]].tolist())
                failed.setdefault(int(self.dataset.of[index]), []).append((summary, protocols))
        return failed


def sorted_rows(table: AggregatedScores) -> list[AggregatedRow]:
    """The rows of a table, best headline first; rows without one come last."""
    headlines = [row.values.get(table.headline) for row in table.rows]
    direction = 1 if next((value.higher_is_better for value in headlines if value), True) else -1
    keys = [-direction * value.mean if value else math.inf for value in headlines]
    return [table.rows[index] for index in sorted(range(len(keys)), key=keys.__getitem__)]


def _first_positions(codes: Integers, size: int) -> Integers:
    """(size,) the first position of each code in `codes`; ABSENT if it does not occur."""
    first = np.full(size, ABSENT, np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
    return first


def _in_order_of_appearance(first: Integers) -> Integers:
    """The codes that occur, by their first position."""
    order = np.argsort(first, kind="stable")
    return order[: np.count_nonzero(first != ABSENT)]


def _displayed(keys: Sequence[ScoreKey]) -> list[str]:
    names = list(dict.fromkeys(key.metric for key in keys))
    headline = next((key.metric for key in keys if key.headline), names[0])
    family = headline.partition("@")[0]
    others = sorted((name for name in names if name != headline), key=lambda name: name.partition("@")[0] != family)
    return [headline, *others][:MAX_METRICS]
