"""Many comparisons at once: Holm's adjustment, the verdicts of a regression check, and rank intervals."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.stats.comparison import LEVEL, Comparison
from benchmark.stats.significance import SeedOutcomes, SeedSpread, compare_methods

GateVerdict = Literal["regressed", "improved", "no evidence", "not testable"]
"""A new run relative to its baseline. `not testable`: the variance across seeds is unknown, as with one seed."""
MARGIN = 0.005
"""Smallest drop that counts as a regression (fraction)."""


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values (Holm 1979): rejecting those below alpha keeps the chance of any false rejection at or below alpha.

    Formula: with the m p-values sorted, the adjusted k-th is max over j <= k of min(1, (m - j + 1) p_j). The tests need not be
    independent. None marks a comparison that cannot be tested; it does not count and stays None.
    """
    order = _ascending(p_values)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * (p_values[index] or 0.0)))
        adjusted[index] = largest
    return adjusted


def adjust(comparisons: Sequence[Comparison], level: float = LEVEL) -> list[Comparison]:
    """Sets each comparison's adjusted p-value, and its interval's level according to Holm's procedure.

    With m comparisons, the smallest p-value is compared with (1 - level) / m, the next with (1 - level) / (m - 1), and so on
    until the first that is larger; that one and all after it use the threshold at which the procedure stopped. An interval
    excludes 0 exactly where its adjusted p-value is below 1 - level (except for the bound of `Comparison.p`), so the
    probability that any interval excludes a true difference of 0 is at most 1 - level. The intervals do not cover all true
    differences at once at that level; intervals at 1 - (1 - level) / m do (`Comparison.at_level`).

    Returns:
        The comparisons in the same order; those that cannot be tested are unchanged.
    """
    p_values = [each.p for each in comparisons]
    adjusted_p = holm(p_values)
    order = _ascending(p_values)
    adjusted = list(comparisons)
    stopped_at: float | None = None
    for rank, index in enumerate(order):
        threshold = stopped_at or (1 - level) / (len(order) - rank)
        if stopped_at is None and (p_values[index] or 0.0) > threshold:
            stopped_at = threshold
        adjusted[index] = dataclasses.replace(comparisons[index], level=1 - threshold, adjusted_p=adjusted_p[index])
    return adjusted


def gate(comparisons: Sequence[Comparison], *, margin: float = MARGIN, level: float = LEVEL) -> list[GateVerdict]:
    """The verdict on each score of a run relative to its baseline.

    A score *regressed* if its Holm-adjusted interval over all scores of the run lies on the worse side of 0 and its difference
    is worse by more than the margin; it *improved* in the opposite case. Each comparison's `higher_is_better` sets the side.

    Args:
        comparisons: new minus baseline, one per score, from `compare_methods`.
        margin: in the unit of the scores; with 0 the interval alone decides.
        level: 1 - level bounds the probability that a run without any change gets a verdict other than "no evidence".
    """
    return [_gate_verdict(each, margin) for each in adjust(comparisons, level)]


def _gate_verdict(adjusted: Comparison, margin: float) -> GateVerdict:
    gain = adjusted.difference if adjusted.higher_is_better else -adjusted.difference
    verdict = adjusted.verdict
    if not adjusted.testable:
        return "not testable"
    if verdict == "worse" and gain < -margin:
        return "regressed"
    return "improved" if verdict == "better" and gain > margin else "no evidence"


@dataclass(frozen=True, kw_only=True)
class RankInterval:
    """The ranks that a row may have, 1 being the best."""

    best: int
    """1 + number of significantly better rows."""
    worst: int
    """Number of ranked rows - number of significantly worse rows."""

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}-{self.worst}"


def rank_intervals(
    rows: Sequence[SeedOutcomes],
    *,
    pooled: SeedSpread | None = None,
    higher_is_better: bool = True,
) -> list[RankInterval | None]:
    """The simultaneous rank interval of each of N rows: 1 + significantly better rows ... N - significantly worse rows.

    Every pair of rows is compared across seeds (`compare_methods`), with Holm's adjustment over all pairs: the probability
    that any two equal methods are ranked apart is at most 1 - LEVEL. A row of one seed has no rank (None, shown as "1 seed")
    and does not count in N, unless `pooled` gives the spread over seeds.

    Args:
        rows: outcomes on the same images in the same order.
        pooled: see `compare_methods`.
        higher_is_better: of the metric.
    """
    ranked = [index for index, row in enumerate(rows) if len(row.outcomes) > 1 or row.seedless or pooled is not None]
    pairs = list(itertools.combinations(ranked, 2))
    compared = adjust(
        [compare_methods(rows[i], rows[j], pooled=pooled, higher_is_better=higher_is_better) for i, j in pairs]
    )
    better, worse = [0] * len(rows), [0] * len(rows)  # numbers of rows that are better than this one, and worse
    for (i, j), each in zip(pairs, compared, strict=True):
        if each.verdict in ("better", "worse"):
            winner, loser = (i, j) if each.verdict == "better" else (j, i)
            better[loser] += 1
            worse[winner] += 1
    intervals: list[RankInterval | None] = [None] * len(rows)
    for index in ranked:
        intervals[index] = RankInterval(best=1 + better[index], worst=len(ranked) - worse[index])
    return intervals


def _ascending(p_values: Sequence[float | None]) -> list[int]:
    """Indices of the p-values that exist, smallest first."""
    tested = [(p, index) for index, p in enumerate(p_values) if p is not None]
    return [index for _, index in sorted(tested)]
