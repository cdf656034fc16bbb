"""Whether scores without labels go with the accuracy of probes, over all cells and taps of a folder or leaderboard."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.api.catalog import Catalog
from benchmark.errors import UsageError
from benchmark.records import index
from benchmark.records.columns import Columns, ScoreKey, columns_of
from benchmark.records.leaderboard import read_board
from benchmark.reports.table import DIGITS, Table
from benchmark.stats.rank_correlation import FEWEST_CLUSTERS, rank_agreement

TARGETS = ("linear", "knn")
"""Evaluators whose headline is what scores without labels are to stand in for."""
EVERYWHERE = "all"
NOTES = (
    "Above 0: the better end of the score, by its own direction in the column better, goes with higher accuracy.",
    "A point is a cell at a tap. Taps of one cell and seeds of one method are not independent: [ ] is a 95 % interval from "
    "drawing clusters, (method, encoder) pairs with all their seeds and taps, again; none below "
    f"{FEWEST_CLUSTERS} clusters. It speaks of other methods and encoders on this dataset, and of no other dataset.",
    "Over all taps, depth alone may move both; rows at one encoder and tap are free of that.",
)


class ScoreName(NamedTuple):
    """What a number is of."""

    evaluator: str
    protocol: str
    metric: str
    higher_is_better: bool

    @property
    def title(self) -> str:
        """`rankme`, or with its metric `dimension two_nn`."""
        return self.evaluator if self.metric == self.evaluator else f"{self.evaluator} {self.metric}"


class Point(NamedTuple):
    """A cell at a tap."""

    record: int
    """Place in the columns."""
    tap: str


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """One score against one accuracy, over some cells and taps. The fields are the columns of the CSV."""

    dataset: str
    pool: str
    encoder: str
    """`all`, or the one that these points are of."""
    tap: str
    """Likewise."""
    evaluator: str
    protocol: str
    metric: str
    higher_is_better: bool
    """Of the score: where it is false, correlations are those of its negative."""
    target: str
    """`linear accuracy`."""
    points: int
    """Cells at taps that have both."""
    missing: int
    """Cells at taps that have the accuracy and lack the score."""
    cells: int
    clusters: int
    """(method, encoder) pairs."""
    spearman: float | None = None
    spearman_low: float | None = None
    spearman_high: float | None = None
    kendall: float | None = None
    """tau-b."""
    kendall_low: float | None = None
    kendall_high: float | None = None
    remark: str = ""
    """Why there is no number."""


def correlate(out: Path) -> tuple[Columns, list[str]]:
    """The scores of a folder of records, or of a leaderboard's .jsonl, and a sentence for each record that was left out.

    Raises:
        UsageError: there is none.
    """
    columns, problems = (columns_of(read_board(out)), []) if out.is_file() else index.read(out)
    if not columns:
        raise UsageError(f"no record under {out}; bench run --out {out} makes some")
    return columns, problems


def correlations(columns: Columns, catalog: Catalog, min_cells: int) -> list[Correlation]:
    """Every score without labels against every accuracy: over all encoders and taps, then at each encoder and tap.

    Args:
        columns: scores; only finished cells count.
        catalog: says which evaluators need no labels. Of an evaluator's scores `name@setting`, the headline alone counts.
        min_cells: rows of fewer cells have no number; those at one encoder and tap are left out.
    """
    free = {entry.spec.name: entry.spec for entry in catalog.evaluators if entry.spec.labels == "none"}
    held: dict[tuple[str, str], dict[ScoreName, dict[Point, float]]] = {}
    for record, kind, value in zip(columns.record.tolist(), columns.kind.tolist(), columns.value.tolist(), strict=True):
        brief, what = columns.briefs[record], columns.kinds[kind]
        if brief.state == "done" and _counts(what, free):
            scores = held.setdefault((brief.common.dataset, what.pool), {})
            name = ScoreName(what.evaluator, what.protocol, what.metric, what.higher_is_better)
            scores.setdefault(name, {})[Point(record, what.tap)] = value
    absent = [
        ScoreName(spec.name, spec.protocol, metric.name, metric.higher_is_better)
        for spec in free.values()
        if any(metric.headline for metric in spec.metrics)
        for metric in spec.metrics
    ]
    found: list[Correlation] = []
    for (dataset, pool), scores in sorted(held.items()):
        known = {name: of for name, of in scores.items() if _bare(name.evaluator) in free}
        known.update({name: {} for name in absent if not any(_same(name, other) for other in known)})
        for target in sorted(name for name in scores if _bare(name.evaluator) in TARGETS):
            for encoder, tap, points in _groups(columns, scores[target]):
                for name in sorted(known):
                    row = _row(columns, name, known[name], target, {p: scores[target][p] for p in points}, min_cells)
                    if (encoder, tap) == (EVERYWHERE, EVERYWHERE) or row.cells >= min_cells:
                        found.append(dataclasses.replace(row, dataset=dataset, pool=pool, encoder=encoder, tap=tap))
    return found


def _bare(evaluator: str) -> str:
    return evaluator.partition("[")[0]


def _same(name: ScoreName, other: ScoreName) -> bool:
    return (name.evaluator, name.metric.partition("@")[0]) == (_bare(other.evaluator), other.metric.partition("@")[0])


def _counts(kind: ScoreKey, free: Iterable[str]) -> bool:
    """Whether a score is one of those without labels, or a target."""
    if _bare(kind.evaluator) in TARGETS:
        return kind.headline
    return _bare(kind.evaluator) in free and (kind.headline or "@" not in kind.metric)


def _groups(columns: Columns, points: Iterable[Point]) -> Iterator[tuple[str, str, list[Point]]]:
    """All points, then those of each encoder and tap."""
    everything = list(points)
    yield EVERYWHERE, EVERYWHERE, everything
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in everything:
        groups.setdefault((columns.briefs[point.record].common.encoder, point.tap), []).append(point)
    for (encoder, tap), found in sorted(groups.items()):
        yield encoder, tap, found


def _row(
    columns: Columns,
    name: ScoreName,
    scores: dict[Point, float],
    target: ScoreName,
    accuracies: dict[Point, float],
    min_cells: int,
) -> Correlation:
    common = sorted(point for point in accuracies if point in scores)
    pairs = [(columns.briefs[p.record].common.method, columns.briefs[p.record].common.encoder) for p in common]
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
        return dataclasses.replace(row, remark="missing" if not common else f"fewer than {max(2, min_cells)} cells")
    sign = (1 if name.higher_is_better else -1) * (1 if target.higher_is_better else -1)
    places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
    spearman, kendall = rank_agreement(
        sign * np.array([scores[point] for point in common]),
        np.array([accuracies[point] for point in common]),
        np.array([places[pair] for pair in pairs], np.int64),
    )
    remark = "undefined: one of both never varies" if spearman.value is None else ""
    return dataclasses.replace(
        row,
        spearman=spearman.value,
        spearman_low=spearman.low,
        spearman_high=spearman.high,
        kendall=kendall.value,
        kendall_low=kendall.low,
        kendall_high=kendall.high,
        remark=remark,
    )


# --- shown ------------------------------------------------------------------------------------------------------------


def correlation_tables(found: Sequence[Correlation]) -> list[Table]:
    """One table for each dataset, pooling and accuracy, best rank correlation first within each encoder and tap."""
    titles: dict[str, list[Correlation]] = {}
    for row in found:
        pool = "" if row.pool == "average" else f", {row.pool} features"
        titles.setdefault(f"scores without labels against {row.target} on {row.dataset}{pool}", []).append(row)
    columns = ("score", "encoder", "tap", "better", "spearman", "kendall", "points", "cells", "clusters", "missing")
    result = []
    for title, rows in titles.items():
        shown = [_shown(row) for row in sorted(rows, key=_order)]
        remarks = any(words[-1] for words in shown)
        result.append(
            Table(
                title=title,
                columns=(*columns, "remarks") if remarks else columns,
                rows=tuple(words if remarks else words[:-1] for words in shown),
                notes=NOTES,
                kept=len(columns),
            )
        )
    return result


def _order(row: Correlation) -> tuple[bool, str, str, bool, float, str]:
    narrow = row.encoder != EVERYWHERE
    return narrow, row.encoder, row.tap, row.spearman is None, -(row.spearman or 0.0), row.evaluator


def _shown(row: Correlation) -> tuple[str, ...]:
    name = ScoreName(row.evaluator, row.protocol, row.metric, row.higher_is_better)
    return (
        name.title,
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


def as_csv(found: Sequence[Correlation]) -> str:
    """One line for each row, numbers to 6 significant places."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Correlation))
    for row in found:
        values = dataclasses.astuple(row)
        writer.writerow("" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in values)
    return stream.getvalue()


def as_json(found: Sequence[Correlation]) -> str:
    """A list of objects with the CSV's columns, missing numbers as null."""
    return json.dumps([dataclasses.asdict(row) for row in found], indent=1) + "\n"
