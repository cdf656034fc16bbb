"""Many comparisons at once: Holm's adjustment, the verdicts of a gate, and groups of rows that cannot be told apart."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmark.stats.comparison import LEVEL, Comparison
from benchmark.stats.significance import SeedOutcomes, Spread, retrained

GateVerdict = Literal["regressed", "improved", "no evidence", "not testable"]
"""Of a new run beside its baseline. `not testable`: nothing is known of training again, as with one seed."""
MARGIN = 0.005
"""Half a point: what has to be lost before a gate speaks, however sure the loss is."""


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values after Holm (1979): the chance of any false alarm among all is at most that at which one is called.

    It needs no independence. None, for what cannot be tested, is no member of the family and stays None.
    """
    order = _order(p_values)
    found: list[float | None] = [None] * len(p_values)
    so_far = 0.0
    for rank, place in enumerate(order):
        so_far = max(so_far, min(1.0, (len(order) - rank) * (p_values[place] or 0.0)))
        found[place] = so_far
    return found


def adjust(comparisons: Sequence[Comparison], level: float = LEVEL) -> list[Comparison]:
    """Comparisons made together, each with its adjusted p-value and with its interval at the level that Holm gives it.

    With m comparisons the smallest p-value is held against (1 - level) / m, the next against (1 - level) / (m - 1), and so
    on to the first that fails; that one and all after it are held against the level of the failure. An interval leaves out
    0 exactly where its adjusted p-value is below 1 - level (but for `Comparison.p`'s limit), so that
    the chance that any of them leaves out a 0 that is true is at most 1 - level. It is no more than that: all true
    differences at once are covered at that level by intervals at 1 - (1 - level) / m, `each.at(...)`, only.

    Returns:
        In the order given; what cannot be tested is as before.
    """
    p_values = [each.p for each in comparisons]
    changed = holm(p_values)
    order = _order(p_values)
    found = list(comparisons)
    failed: float | None = None
    for rank, place in enumerate(order):
        share = failed or (1 - level) / (len(order) - rank)
        if failed is None and (p_values[place] or 0.0) > share:
            failed = share
        found[place] = dataclasses.replace(comparisons[place], level=1 - share, adjusted_p=changed[place])
    return found


def gate(comparisons: Sequence[Comparison], *, margin: float = MARGIN, level: float = LEVEL) -> list[GateVerdict]:
    """What a run's scores say beside their baseline's, all of them together.

    *Regressed* is a score whose Holm-adjusted interval over all scores of the run lies on the worse side of 0, and whose
    difference is worse than the margin; *improved* the same on the better side. Which side is better is each comparison's
    `higher_is_better`.

    Args:
        comparisons: new minus baseline, one for each score, of the second question (`retrained`).
        margin: in the unit of the scores; 0 lets the interval alone decide.
        level: 1 - level bounds the chance that a run without any change has a verdict.
    """
    return [_gate_verdict(each, margin) for each in adjust(comparisons, level)]


def _gate_verdict(adjusted_one: Comparison, margin: float) -> GateVerdict:
    gain = adjusted_one.difference if adjusted_one.higher_is_better else -adjusted_one.difference
    verdict = adjusted_one.verdict
    if not adjusted_one.testable:
        return "not testable"
    if verdict == "worse" and gain < -margin:
        return "regressed"
    return "improved" if verdict == "better" and gain > margin else "no evidence"


@dataclass(frozen=True, kw_only=True)
class RankInterval:
    """Places that a row may have: from 1 + rows significantly better, to N - rows significantly worse."""

    best: int
    worst: int

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}-{self.worst}"


def rank_intervals(
    rows: Sequence[SeedOutcomes],
    *,
    level: float = LEVEL,
    pooled: Spread | None = None,
    higher_is_better: bool = True,
) -> list[RankInterval | None]:
    """The rank interval of each row among N: 1 + significantly better rows ... N - significantly worse rows.

    Every pair of rows is compared as methods trained again (`retrained`), Holm over all pairs: the chance that any two
    equal methods are told apart is at most 1 - level. Rows of one seed can be told from no other, unless `pooled` gives
    the spread over seeds; they have no rank (None, shown as "1 seed") and N counts the others.

    Args:
        rows: outcomes on the same images in the same order.
        level: of the whole table.
        pooled: see `retrained`.
        higher_is_better: of the metric.
    """
    able = [place for place, row in enumerate(rows) if len(row.outcomes) > 1 or row.seedless or pooled is not None]
    pairs = list(itertools.combinations(able, 2))
    compared = adjust(
        [retrained(rows[i], rows[j], pooled=pooled, higher_is_better=higher_is_better) for i, j in pairs], level
    )
    better, worse = [0] * len(rows), [0] * len(rows)  # rows that are better than this one, and worse
    for (i, j), each in zip(pairs, compared, strict=True):
        if each.verdict in ("better", "worse"):
            winner, loser = (i, j) if each.verdict == "better" else (j, i)
            better[loser] += 1
            worse[winner] += 1
    found: list[RankInterval | None] = [None] * len(rows)
    for place in able:
        found[place] = RankInterval(best=1 + better[place], worst=len(able) - worse[place])
    return found


def _order(p_values: Sequence[float | None]) -> list[int]:
    """Places of those that can be tested, smallest first."""
    able = [(p, place) for place, p in enumerate(p_values) if p is not None]
    return [place for _, place in sorted(able)]
