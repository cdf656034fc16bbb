"""Scores that belong together: sheets by dataset and evaluator, in each a line for records that differ in the seed alone.

Everything is in the order in which it first appears among the scores. Each score is gone through a fixed number of times,
however many sheets there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmark.records.caveats import Caveat
from benchmark.records.columns import Columns, RecordSummary, ScoreKey, Whole

WIDEST = 5
"""Metrics in a table for people; all of them are in the CSV."""
NOWHERE = np.iinfo(np.int64).max


class Value(NamedTuple):
    """One metric of a line. There are many: a tuple is made in a tenth of the time of a dataclass."""

    mean: float
    """Over records, exactly as `statistics.fmean` gives it."""
    spread: float
    """Their standard deviation, to 9 digits of itself and of the mean; 0 where there is one record only."""
    records: int
    """Those that have the metric."""
    interval: tuple[float, float] | None
    higher_is_better: bool
    """This and the interval are the last record's."""
    start: int
    """Where in the sheets' values these begin; the others follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AggregatedRow:
    """One method on one encoder at one tap, over seeds."""

    first: RecordSummary
    """The first of its records; the others differ in the seed alone."""
    tap: str
    records: int
    dull: int
    """Records that did not learn."""
    failed: RecordSummary | None
    """The first of its records that lacks some score."""
    values: dict[str, Value]
    """Of the metrics to show, those that it has."""
    marks: tuple[Caveat, ...] = ()
    """Of all its records."""

    @property
    def seedless(self) -> bool:
        """Whether chance plays no part."""
        return self.records == 1 and self.first.seed is None

    @property
    def smoke(self) -> bool:
        """Whether it is no result."""
        return self.first.state == "smoke"


@dataclass(frozen=True, kw_only=True)
class AggregatedScores:
    """What one table is made of."""

    dataset: str
    evaluator: str
    pool: str
    protocol: str
    fewest: int
    """Test images behind a score of the evaluator: fewest and most."""
    most: int
    metrics: list[str]
    """Those to show: the headline first, then others of its kind, then in the order given."""
    lines: list[AggregatedRow]
    values: list[float]
    """Of all sheets, those of a metric of a line side by side."""
    unscored: list[RecordSummary]
    """Of the dataset, those that have other scores, but failed before these."""


def aggregate(columns: Columns) -> list[AggregatedScores]:
    """All sheets of records that have scores."""
    if not len(columns.kind):
        return []
    plan = _Plan(columns)
    lines = plan.lines()
    return [plan.sheet(dataset, panel, lines) for dataset, panel in plan.shown]


class GroupMembers:
    """Which records are behind a line: asked of few lines, so that no table waits for it."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._alike: dict[tuple[str, str], list[int]] = {}
        for place, brief in enumerate(columns.briefs):
            self._alike.setdefault((brief.common.dataset, brief.common.grouping_key), []).append(place)

    def of(self, sheet: AggregatedScores, line: AggregatedRow, metric: str) -> list[int]:
        """Places of the scores of a metric of a line, one for each record that has it, in the order of the records."""
        first, columns = self.columns.first, self.columns
        found = []
        for place in self._alike[line.first.common.dataset, line.first.common.grouping_key]:
            for score in range(int(first[place]), int(first[place + 1])):
                kind = columns.kinds[columns.kind[score]]
                key = (kind.evaluator, kind.pool, kind.protocol, kind.tap, kind.metric)
                if key == (sheet.evaluator, sheet.pool, sheet.protocol, line.tap, metric):
                    found.append(score)
                    break
        return found


class _Codes:
    """Words as small numbers, in the order in which they come."""

    def __init__(self, words: Iterable[Any]) -> None:
        known: dict[Any, int] = {}
        self.of: Whole = np.array([known.setdefault(word, len(known)) for word in words], np.int64)
        self.words = list(known)

    def __len__(self) -> int:
        return len(self.words)


class _Plan:
    """Which score belongs where. Places are small numbers, so that grouping is counting, not comparing."""

    def __init__(self, columns: Columns) -> None:
        briefs, kinds = columns.briefs, columns.kinds
        self.columns = columns
        self.dataset = _Codes(brief.common.dataset for brief in briefs)
        self.setting = _Codes(brief.common.grouping_key for brief in briefs)
        self.panel = _Codes((kind.evaluator, kind.pool, kind.protocol) for kind in kinds)
        self.place = _Codes((panel, kind.tap) for panel, kind in zip(self.panel.of.tolist(), kinds, strict=True))
        self.evaluator = _Codes(kind.evaluator for kind in kinds)
        self.metric = _Codes(kind.metric for kind in kinds)
        self.marks = _Codes(brief.marks for brief in briefs)
        record = columns.record
        self.sheet_of_score = self.dataset.of[record] * len(self.panel) + self.panel.of[columns.kind]
        self.line_of_score = self.setting.of[record] * len(self.place) + self.place.of[columns.kind]
        first = _first(self.sheet_of_score, len(self.dataset) * len(self.panel))
        #: (dataset, panel) of each sheet, as they appear
        self.shown = [divmod(int(sheet), len(self.panel)) for sheet in _appearing(first)]
        self.fewest, self.most = self._images(record)
        self.metrics = self._metrics(record)
        self.failed = [place for place, brief in enumerate(briefs) if brief.failure is not None]
        self.failed_on = self._failed()

    def _images(self, record: Whole) -> tuple[Whole, Whole]:
        """Fewest and most test images of each sheet: of all its records' scores by its evaluator, whatever their pool."""
        columns, size = self.columns, len(self.dataset) * len(self.panel)
        owner = record * len(self.evaluator) + self.evaluator.of[columns.kind]
        found = []
        for smaller, start in ((np.minimum, np.iinfo(np.int64).max), (np.maximum, np.iinfo(np.int64).min)):
            of_owner = np.full(len(columns) * len(self.evaluator), start, np.int64)
            smaller.at(of_owner, owner, columns.n)
            of_sheet = np.full(size, start, np.int64)
            smaller.at(of_sheet, self.sheet_of_score, of_owner[owner])
            found.append(of_sheet)
        return found[0], found[1]

    def _metrics(self, record: Whole) -> dict[tuple[int, int], list[str]]:
        """Of each sheet, the metrics to show."""
        kinds = self.columns.kinds
        first = _first(self.dataset.of[record] * len(kinds) + self.columns.kind, len(self.dataset) * len(kinds))
        seen: dict[tuple[int, int], list[ScoreKey]] = {}
        for place in _appearing(first).tolist():
            dataset, kind = divmod(place, len(kinds))
            seen.setdefault((dataset, int(self.panel.of[kind])), []).append(kinds[kind])
        return {sheet: _shown(found) for sheet, found in seen.items()}

    def lines(self) -> dict[tuple[int, int], list[AggregatedRow]]:
        """The lines of each sheet."""
        columns, briefs = self.columns, self.columns.briefs
        size = len(self.setting) * len(self.place)
        # Each record once for each line that it has a part in.
        part = np.zeros((len(briefs), len(self.place)), np.bool_)
        part[columns.record, self.place.of[columns.kind]] = True
        owner, place = np.nonzero(part)
        line = self.setting.of[owner] * len(self.place) + place
        count = np.bincount(line, minlength=size)
        dull = np.bincount(line, np.array([brief.dull for brief in briefs], np.float64)[owner], size)
        lacking = np.array([brief.failure is not None for brief in briefs])[owner]
        leader, failed = np.full((2, size), -1, np.int64)
        leader[line[::-1]] = owner[::-1]  # the first of several stays
        failed[line[lacking][::-1]] = owner[lacking][::-1]
        marks = self._marks(line, owner)
        made: dict[int, AggregatedRow] = {}
        found: dict[tuple[int, int], list[AggregatedRow]] = {}
        order = _appearing(_first(self.line_of_score, size))
        numbers = (order, leader[order], count[order], dull[order], failed[order], self.dataset.of[leader[order]])
        for which, first, members, dulls, failure, dataset in zip(*(each.tolist() for each in numbers), strict=True):
            panel, tap = self.place.words[which % len(self.place)]
            made[which] = AggregatedRow(
                first=briefs[first],
                tap=tap,
                records=members,
                dull=int(dulls),
                failed=briefs[failure] if failure >= 0 else None,
                values={},
                marks=marks.get(which, ()),
            )
            found.setdefault((dataset, panel), []).append(made[which])
        self._fill(made)
        return found

    def _marks(self, line: Whole, owner: Whole) -> dict[int, tuple[Caveat, ...]]:
        """Of each line, the marks of its records; lines without any are left out."""
        if self.marks.words == [()]:
            return {}
        found: dict[int, dict[Caveat, None]] = {}
        for pair in np.unique(line * len(self.marks) + self.marks.of[owner]).tolist():
            which, words = divmod(pair, len(self.marks))
            found.setdefault(which, {}).update(dict.fromkeys(self.marks.words[words]))
        return {which: tuple(words) for which, words in found.items()}

    def _fill(self, made: dict[int, AggregatedRow]) -> None:
        """Gives each line its values, of the metrics to show."""
        columns, metrics = self.columns, len(self.metric)
        wanted = np.zeros((len(self.dataset), len(columns.kinds)), np.bool_)
        for kind, panel in enumerate(self.panel.of.tolist()):
            for dataset in range(len(self.dataset)):
                wanted[dataset, kind] = columns.kinds[kind].metric in self.metrics.get((dataset, panel), ())
        chosen = np.flatnonzero(wanted[self.dataset.of[columns.record], columns.kind])
        key = self.line_of_score[chosen] * metrics + self.metric.of[columns.kind[chosen]]
        order = np.argsort(key, kind="stable")
        chosen, key = chosen[order], key[order]
        starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
        counts = np.diff(np.r_[starts, len(key)])
        last = chosen[starts + counts - 1]
        self.values = values = columns.value[chosen].tolist()
        means = [
            math.fsum(values[start : start + count]) / count
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]
        squares = np.add.reduceat((columns.value[chosen] - np.repeat(means, counts)) ** 2, starts)
        spreads = np.sqrt(squares / np.maximum(counts - 1, 1))
        groups = (spreads, counts, columns.low[last], columns.high[last], columns.kind[last], starts)
        for which, mean, spread, count, low, high, kind, start in zip(
            key[starts].tolist(), means, *(each.tolist() for each in groups), strict=True
        ):
            interval = (low, high) if low == low and high == high else None  # NaN: there is none
            higher = columns.kinds[kind].higher_is_better
            made[which // metrics].values[self.metric.words[which % metrics]] = Value(
                mean, spread, count, interval, higher, start
            )

    def sheet(self, dataset: int, panel: int, lines: dict[tuple[int, int], list[AggregatedRow]]) -> AggregatedScores:
        """One of them."""
        evaluator, pool, protocol = self.panel.words[panel]
        number = dataset * len(self.panel) + panel
        return AggregatedScores(
            dataset=self.dataset.words[dataset],
            evaluator=evaluator,
            pool=pool,
            protocol=protocol,
            fewest=int(self.fewest[number]),
            most=int(self.most[number]),
            metrics=self.metrics[dataset, panel],
            lines=lines[dataset, panel],
            values=self.values,
            unscored=[brief for brief, panels in self.failed_on.get(dataset, ()) if panel not in panels],
        )

    def _failed(self) -> dict[int, list[tuple[RecordSummary, set[int]]]]:
        """Of each dataset, the records that failed, and where they have scores all the same."""
        found: dict[int, list[tuple[RecordSummary, set[int]]]] = {}
        first = self.columns.first
        for place in self.failed:
            panels = set(self.panel.of[self.columns.kind[first[place] : first[place + 1]]].tolist())
            found.setdefault(int(self.dataset.of[place]), []).append((self.columns.briefs[place], panels))
        return found


def _first(keys: Whole, size: int) -> Whole:
    """(size,) where each key first stands; NOWHERE where it does not."""
    first = np.full(size, NOWHERE, np.int64)
    first[keys[::-1]] = np.arange(len(keys) - 1, -1, -1)
    return first


def _appearing(first: Whole) -> Whole:
    """The keys that there are, as they first appear."""
    order = np.argsort(first, kind="stable")
    return order[: np.count_nonzero(first != NOWHERE)]


def _shown(kinds: Sequence[ScoreKey]) -> list[str]:
    names = list(dict.fromkeys(kind.metric for kind in kinds))
    headline = next((kind.metric for kind in kinds if kind.headline), names[0])
    family = headline.partition("@")[0]
    others = sorted((name for name in names if name != headline), key=lambda name: name.partition("@")[0] != family)
    return [headline, *others][:WIDEST]
