"""Rank correlation of label-free scores with probe accuracy, over the cells and taps of a folder or leaderboard."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.analysis.frames import exact_frame
from benchmark.api.catalog import Catalog
from benchmark.errors import UsageError
from benchmark.records import index
from benchmark.records.columns import Columns, ScoreKey
from benchmark.records.leaderboard import JSONL
from benchmark.records.leaderboard_records import Leaderboard
from benchmark.reports.table import DIGITS, Report, Table
from benchmark.stats.rank_correlation import FEWEST_CLUSTERS, rank_correlations

TARGETS = ("linear", "knn")
"""Evaluators whose headline is an accuracy that label-free scores should predict."""
ALL = "all"
NOTES = (
    "Above 0: the better end of the score (see column `better`) correlates with higher accuracy.",
    "A point is one cell at one tap. Taps of a cell and seeds of a method are not independent, so [ ] is a 95 % interval from "
    "resampling clusters: (method, encoder) pairs with all their seeds and taps. No interval is given below "
    f"{FEWEST_CLUSTERS} clusters. It covers other methods and encoders on this dataset, not other datasets.",
    "Over all taps, depth alone may change both scores; rows of one encoder and tap do not have this confounder.",
)


class Measure(NamedTuple):
    """Evaluator, protocol, metric and direction of a score, without tap and pooling."""

    evaluator: str
    protocol: str
    metric: str
    higher_is_better: bool

    @property
    def title(self) -> str:
        """`rankme`; with the metric if it is named differently: `dimension two_nn`."""
        return self.evaluator if self.metric == self.evaluator else f"{self.evaluator} {self.metric}"


class Point(NamedTuple):
    """A cell at a tap."""

    record: int
    """Index of the record in the columns."""
    tap: str


PointScores = Mapping[Point, float]


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """One label-free score against one accuracy, over some cells and taps. The fields are the columns of CSV and JSON."""

    dataset: str
    pool: str
    encoder: str
    """Encoder of the points, or `all`."""
    tap: str
    """Tap of the points, or `all`."""
    evaluator: str
    protocol: str
    metric: str
    higher_is_better: bool
    """Direction of the score. If false, the correlations are those of its negative."""
    target: str
    """`linear accuracy`."""
    points: int
    """Cells at taps that have both scores."""
    missing: int
    """Cells at taps that have the accuracy but not the score."""
    cells: int
    clusters: int
    """Number of (method, encoder) pairs."""
    spearman: float | None = None
    """Spearman's correlation, from -1 to 1; None if it is undefined."""
    spearman_low: float | None = None
    """95 % interval over clusters."""
    spearman_high: float | None = None
    kendall: float | None = None
    """tau-b."""
    kendall_low: float | None = None
    kendall_high: float | None = None
    remark: str = ""
    """Why there is no correlation."""


def read_scores(out: Path) -> tuple[Columns, list[str]]:
    """The scores of a folder of records or of a leaderboard's .jsonl, and a sentence for each record that was left out.

    Raises:
        UsageError: there is no record.
    """
    if out.is_file() or out.name.endswith(JSONL):
        store = Leaderboard(out)
        columns, problems = store.columns, list(store.problems)
    else:
        columns, problems = index.read(out)
    if not columns:
        raise UsageError(f"no record in {out}; bench run --out {out} writes records")
    return columns, problems


def correlations(columns: Columns, catalog: Catalog, min_cells: int) -> list[Correlation]:
    """Every label-free score against every accuracy: over all encoders and taps, then at each encoder and tap.

    Args:
        columns: scores; only finished cells are used.
        catalog: tells which evaluators need no labels. Of an evaluator's scores `name@setting` only the headline is used.
        min_cells: rows with fewer cells have no correlation; those at one encoder and tap are left out.
    """
    label_free = {entry.spec.name: entry.spec for entry in catalog.evaluators if entry.spec.labels == "none"}
    declared = [
        Measure(spec.name, spec.protocol, metric.name, metric.higher_is_better)
        for spec in label_free.values()
        if any(metric.headline for metric in spec.metrics)
        for metric in spec.metrics
    ]
    rows: list[Correlation] = []
    for (dataset, pool), scores in sorted(_scores_by_dataset(columns, label_free).items()):
        measures = {name: points for name, points in scores.items() if _evaluator_name(name) in label_free}
        measures.update({name: {} for name in declared if not any(_same_metric(name, other) for other in measures)})
        for target in sorted(name for name in scores if _evaluator_name(name) in TARGETS):
            for encoder, tap, points in _point_groups(columns, scores[target]):
                accuracies = {point: scores[target][point] for point in points}
                for name in sorted(measures):
                    row = _correlation(columns, name, measures[name], target, accuracies, min_cells)
                    if (encoder, tap) == (ALL, ALL) or row.cells >= min_cells:
                        rows.append(dataclasses.replace(row, dataset=dataset, pool=pool, encoder=encoder, tap=tap))
    return rows


def _scores_by_dataset(
    columns: Columns, label_free: Iterable[str]
) -> dict[tuple[str, str], dict[Measure, dict[Point, float]]]:
    """(dataset, pool) -> measure -> point -> score."""
    scores: dict[tuple[str, str], dict[Measure, dict[Point, float]]] = {}
    arrays = (columns.record_index.tolist(), columns.score_key.tolist(), columns.value.tolist())
    for record, key_index, value in zip(*arrays, strict=True):
        summary, key = columns.summaries[record], columns.score_keys[key_index]
        if summary.state == "done" and _is_used(key, label_free):
            of_dataset = scores.setdefault((summary.shared.dataset, key.pool), {})
            name = Measure(key.evaluator, key.protocol, key.metric, key.higher_is_better)
            of_dataset.setdefault(name, {})[Point(record, key.tap)] = value
    return scores


def _evaluator_name(name: Measure | ScoreKey) -> str:
    """The evaluator without its parameters."""
    return name.evaluator.partition("[")[0]


def _same_metric(declared: Measure, recorded: Measure) -> bool:
    recorded_as = (_evaluator_name(recorded), recorded.metric.partition("@")[0])
    return (declared.evaluator, declared.metric.partition("@")[0]) == recorded_as


def _is_used(key: ScoreKey, label_free: Iterable[str]) -> bool:
    """Whether a score is a label-free one or a target."""
    if _evaluator_name(key) in TARGETS:
        return key.headline
    return _evaluator_name(key) in label_free and (key.headline or "@" not in key.metric)


def _point_groups(columns: Columns, points: Iterable[Point]) -> Iterator[tuple[str, str, list[Point]]]:
    """All points, then those of each encoder and tap: encoder, tap, points."""
    all_points = list(points)
    yield ALL, ALL, all_points
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in all_points:
        groups.setdefault((columns.summaries[point.record].shared.encoder, point.tap), []).append(point)
    for (encoder, tap), members in sorted(groups.items()):
        yield encoder, tap, members


def _correlation(
    columns: Columns, name: Measure, scores: PointScores, target: Measure, accuracies: PointScores, min_cells: int
) -> Correlation:
    """One row, still without dataset, pool, encoder and tap."""
    common = sorted(point for point in accuracies if point in scores)
    shared = [columns.summaries[point.record].shared for point in common]
    pairs = [(each.method, each.encoder) for each in shared]
    row = Correlation(
        dataset="",
        pool="",
        encoder="",
        tap="",
        evaluator=name.evaluator,
        protocol=name.protocol,
        metric=name.metric,
        higher_is_better=name.higher_is_better,
        target=target.title,
        points=len(common),
        missing=len(accuracies) - len(common),
        cells=len({point.record for point in common}),
        clusters=len(set(pairs)),
    )
    if row.cells < max(2, min_cells):
        return dataclasses.replace(row, remark=f"fewer than {max(2, min_cells)} cells" if common else "missing")
    direction = (1 if name.higher_is_better else -1) * (1 if target.higher_is_better else -1)
    clusters = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    spearman, kendall = rank_correlations(
        direction * np.array([scores[point] for point in common]),
        np.array([accuracies[point] for point in common]),
        np.array([clusters[pair] for pair in pairs], np.int64),
    )
    return dataclasses.replace(
        row,
        spearman=spearman.value,
        spearman_low=spearman.low,
        spearman_high=spearman.high,
        kendall=kendall.value,
        kendall_low=kendall.low,
        kendall_high=kendall.high,
        remark="undefined: one of the two scores is constant" if spearman.value is None else "",
    )


# --- report -----------------------------------------------------------------------------------------------------------


def correlation_report(rows: Sequence[Correlation]) -> Report:
    """The correlations: one table for each dataset, pooling and accuracy, highest rank correlation first."""
    return Report(
        tables=lambda: _tables(rows),
        frame=lambda: exact_frame((vars(row) for row in rows), columns=tuple(Correlation.__dataclass_fields__)),
    )


def _tables(rows: Sequence[Correlation]) -> list[Table]:
    by_title: dict[str, list[Correlation]] = {}
    for row in rows:
        pool = "" if row.pool == "average" else f", {row.pool} features"
        by_title.setdefault(f"label-free scores against {row.target} on {row.dataset}{pool}", []).append(row)
    columns = ("score", "encoder", "tap", "better", "spearman", "kendall", "points", "cells", "clusters", "missing")
    tables = []
    for title, members in by_title.items():
        texts = [_cells(row) for row in sorted(members, key=_order)]
        remarks = any(cells[-1] for cells in texts)
        tables.append(
            Table(
                title=title,
                columns=(*columns, "remarks") if remarks else columns,
                rows=tuple(cells if remarks else cells[:-1] for cells in texts),
                notes=NOTES,
                kept=len(columns),
            )
        )
    return tables


def _order(row: Correlation) -> tuple[bool, str, str, bool, float, str]:
    one_encoder = row.encoder != ALL
    return one_encoder, row.encoder, row.tap, row.spearman is None, -(row.spearman or 0.0), row.evaluator


def _cells(row: Correlation) -> tuple[str, ...]:
    return (
        Measure(row.evaluator, row.protocol, row.metric, row.higher_is_better).title,
        row.encoder,
        row.tap,
        "higher" if row.higher_is_better else "lower",
        _with_interval(row.spearman, row.spearman_low, row.spearman_high),
        _with_interval(row.kendall, row.kendall_low, row.kendall_high),
        *(str(number) for number in (row.points, row.cells, row.clusters, row.missing)),
        row.remark,
    )


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.{DIGITS}f}" if low is None or high is None else f"{value:.{DIGITS}f} [{low:.3f}, {high:.3f}]"
