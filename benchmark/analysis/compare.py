"""Compare two checkpoints, and two methods across seeds, for every score that both sides have.

*These checkpoints*: whether these trainings differ, paired on the test images. *Methods across seeds*: whether the methods
differ when trained with other seeds and tested on other images. Scores are compared only under equal conditions; a condition
that differs is named.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmark.analysis.seed_groups import AnyGroup, ScoreName, SeedGroup, SeedScores, cell_mismatch, score_mismatch
from benchmark.analysis.sources import settings_key
from benchmark.errors import UsageError
from benchmark.records.caveats import doubts_of, joined
from benchmark.records.record import Record
from benchmark.stats.comparison import LEVEL, Comparison
from benchmark.stats.multiple_testing import adjust
from benchmark.stats.significance import (
    SeedOutcomes,
    compare_checkpoints,
    compare_methods,
    compare_methods_by_score,
)

QUESTIONS = ("these checkpoints", "methods across seeds")


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One score of one cell on both sides."""

    cell: str
    """Name of A's cell, with that of B's if it differs."""
    score: str
    """Evaluator, metric and tap."""
    a: float | None
    """Mean over seeds, raw; None if A has no such score."""
    b: float | None
    """Mean over seeds, raw; None if B has no such score."""
    comparisons: tuple[Comparison | None, Comparison | None]
    """A minus B, one for each of QUESTIONS; None if not comparable."""
    remarks: tuple[str, str]
    """Why a comparison is missing, or what limits it; empty otherwise."""

    def verdict(self, question: int) -> str:
        """A relative to B, for an index into QUESTIONS."""
        comparison = self.comparisons[question]
        return "not comparable" if comparison is None else comparison.verdict


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """The comparison of two sides."""

    a: str
    """How side A was named."""
    b: str
    """How side B was named."""
    rows: tuple[ComparisonRow, ...]
    leaderboards: bool
    """Whether a side has more than one cell."""
    notes: tuple[str, ...] = ()


def compare_groups(
    a: Sequence[AnyGroup], b: Sequence[AnyGroup], names: tuple[str, str], all_metrics: bool = False
) -> ComparisonReport:
    """Compares two sides; the comparisons of each question are adjusted together with Holm's method.

    Args:
        a: one group, or all groups of a leaderboard.
        b: likewise.
        names: how the sides were named, for the title.
        all_metrics: whether to compare every metric; otherwise each evaluator's headline only.
    """
    leaderboards = len(a) > 1 or len(b) > 1
    pairs, notes = _pair_groups(a, b) if leaderboards else ([(a[0], b[0])], [])
    rows = [row for group_a, group_b in pairs for row in _compare_cells(group_a.read(), group_b.read(), all_metrics)]
    return ComparisonReport(
        a=names[0], b=names[1], rows=tuple(_adjust_rows(rows)), leaderboards=leaderboards, notes=tuple(notes)
    )


def single_group(side: Sequence[AnyGroup]) -> Sequence[Record]:
    """The records of a side with one group.

    Raises:
        UsageError: the side has several groups.
    """
    if len(side) != 1:
        raise UsageError(f"--cka compares two cells, but one side has {len(side)}; name one cell on each side")
    return side[0].read().records


def _pair_groups(a: Sequence[AnyGroup], b: Sequence[AnyGroup]) -> tuple[list[tuple[AnyGroup, AnyGroup]], list[str]]:
    """Pairs the cells of two leaderboards, by the strictest key that is unique on both sides.

    The keys are: everything but the seed; the settings without code versions; the label.
    """
    rest_a, rest_b = list(a), list(b)
    pairs = []
    keys: tuple[Callable[[AnyGroup], str], ...] = (
        lambda group: group.grouping_key,
        lambda group: settings_key(group.first),
        lambda group: group.label,
    )
    for key in keys:
        keys_a, keys_b = [key(group) for group in rest_a], [key(group) for group in rest_b]
        unique = _unique(keys_a) & _unique(keys_b)
        partners = dict(zip(keys_b, rest_b, strict=True))
        pairs += [(group, partners[each]) for group, each in zip(rest_a, keys_a, strict=True) if each in unique]
        rest_a = [group for group, each in zip(rest_a, keys_a, strict=True) if each not in unique]
        rest_b = [group for group, each in zip(rest_b, keys_b, strict=True) if each not in unique]
    notes = [
        f"Only in {side}: {', '.join(group.label for group in rest)}."
        for side, rest in (("A", rest_a), ("B", rest_b))
        if rest
    ]
    return pairs, notes


def _unique(keys: Sequence[str]) -> set[str]:
    """The keys that occur once."""
    return {key for key, count in collections.Counter(keys).items() if count == 1}


# --- one cell ---------------------------------------------------------------------------------------------------------


def _compare_cells(a: SeedGroup, b: SeedGroup, all_metrics: bool) -> list[ComparisonRow]:
    scores_a, scores_b = a.scores(all_metrics=all_metrics), b.scores(all_metrics=all_metrics)
    cell = a.name if a.name == b.name else f"{a.name} - {b.name}"
    mismatch = cell_mismatch(a.records[0], b.records[0])
    doubts = [f"{side} {doubt}" for side, doubt in (("A", doubts_of(a.records)), ("B", doubts_of(b.records))) if doubt]
    rows = []
    for name, tap_b in _matched_scores(scores_a, scores_b):
        shown = str(name if name.tap == tap_b else name._replace(tap=f"{name.tap} - {tap_b}"))
        rows.append(_compare_score(cell, shown, scores_a.get(name), scores_b.get(name._replace(tap=tap_b)), mismatch))
    return [
        dataclasses.replace(row, remarks=(joined(row.remarks[0], *doubts), joined(row.remarks[1], *doubts)))
        for row in rows
    ]


def _matched_scores(a: dict[ScoreName, SeedScores], b: dict[ScoreName, SeedScores]) -> list[tuple[ScoreName, str]]:
    """Each score of A or B, with the tap of B that it is compared at.

    That is the same tap. Encoders without a common tap are compared at the last tap of each.
    """
    taps_a, taps_b = (list(dict.fromkeys(name.tap for name in side)) for side in (a, b))
    if a and b and not set(taps_a) & set(taps_b):
        last_a, last_b = taps_a[-1], taps_b[-1]
        return [(name, last_b) for name in a if name.tap == last_a and name._replace(tap=last_b) in b]
    return [(name, name.tap) for name in dict.fromkeys((*a, *b))]


def _compare_score(
    cell: str, shown: str, a: SeedScores | None, b: SeedScores | None, cell_reason: str
) -> ComparisonRow:
    """One row; `cell_reason` says why no score of the cell is comparable."""
    row = ComparisonRow(
        cell=cell,
        score=shown,
        a=a.mean if a else None,
        b=b.mean if b else None,
        comparisons=(None, None),
        remarks=("", ""),
    )
    reason = cell_reason or score_mismatch(a, b)
    if reason or a is None or b is None:
        return dataclasses.replace(row, remarks=(reason, reason))
    higher = a.higher_is_better
    outcomes_a, outcomes_b = a.outcomes(), b.outcomes()
    if outcomes_a is None or outcomes_b is None:
        by_score = compare_methods_by_score(a.values, b.values, higher_is_better=higher)
        remarks = ("no per-image outcomes", "no per-image outcomes: variance over test images not included")
        return dataclasses.replace(row, comparisons=(None, by_score), remarks=remarks)
    try:
        checkpoints = compare_checkpoints(outcomes_a, outcomes_b, higher_is_better=higher)
        methods = compare_methods(outcomes_a, outcomes_b, higher_is_better=higher)
    except ValueError as error:
        reason = f"different test images: {error}"
        return dataclasses.replace(row, remarks=(reason, reason))
    remark = "" if methods.testable else _one_seed_remark(outcomes_a, outcomes_b)
    return dataclasses.replace(row, comparisons=(checkpoints, methods), remarks=("", remark))


def _one_seed_remark(a: SeedOutcomes, b: SeedOutcomes) -> str:
    sides = [side for side, each in (("A", a), ("B", b)) if len(each.outcomes) == 1 and not each.seedless]
    return f"One seed of {' and '.join(sides)}: variance across seeds unknown"


def _adjust_rows(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """The rows with their comparisons adjusted, per question over all rows."""
    adjusted: list[dict[int, Comparison]] = []
    for question in range(len(QUESTIONS)):
        comparisons = {index: row.comparisons[question] for index, row in enumerate(rows)}
        existing = {index: each for index, each in comparisons.items() if each is not None}
        adjusted.append(dict(zip(existing, adjust(list(existing.values()), LEVEL), strict=True)))
    return [
        dataclasses.replace(row, comparisons=(adjusted[0].get(index), adjusted[1].get(index)))
        for index, row in enumerate(rows)
    ]
