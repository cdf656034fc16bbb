"""What `bench compare A B` says: two questions, never mixed, for every score that both sides have.

*These checkpoints*: do these trainings differ, paired on the test images. *The method trained again*: would others differ, with
other seeds and images. Scores are compared where all that a number rests on is the same; what is not is named.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.analysis.sources import SeedGroup, settings
from benchmark.errors import UsageError
from benchmark.records.record import Record, Score, grouping_key
from benchmark.stats.comparison import LEVEL, Comparison
from benchmark.stats.multiple_testing import adjust
from benchmark.stats.significance import SeedOutcomes, paired, retrained, retrained_scores

QUESTIONS = ("these checkpoints", "the method trained again")


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    """One score of one cell on both sides."""

    cell: str
    """Of A; with B's where its name is another."""
    score: str
    """Evaluator, metric and tap."""
    a: float | None
    """Mean over seeds, raw; None where A has no such score."""
    b: float | None
    answers: tuple[Comparison | None, Comparison | None]
    """To both questions, in the order of QUESTIONS; None where there is none."""
    reasons: tuple[str, str]
    """Why an answer is missing, or what is to be known of it; else empty."""

    def verdict(self, question: int) -> str:
        """In words, of A beside B."""
        answer = self.answers[question]
        return "not comparable" if answer is None else answer.verdict


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """All rows, with what is to be said of them together."""

    a: str
    b: str
    rows: tuple[ComparisonRow, ...]
    several: bool
    """Whether the sides are whole leaderboards."""
    notes: tuple[str, ...] = ()


def compare_groups(
    a: Sequence[SeedGroup], b: Sequence[SeedGroup], names: tuple[str, str], every: bool = False
) -> ComparisonReport:
    """Compares two sides; answers to each question are adjusted after Holm for all of its scores.

    Args:
        a: one group, or those of a leaderboard.
        b: as a.
        names: of the sides, for the title.
        every: all metrics, not each evaluator's headline alone.
    """
    several = len(a) > 1 or len(b) > 1
    couples, notes = _couples(a, b) if several else ([(a[0], b[0])], [])
    rows = [row for ours, theirs in couples for row in _rows(ours, theirs, every)]
    return ComparisonReport(a=names[0], b=names[1], rows=tuple(_adjusted(rows)), several=several, notes=tuple(notes))


def only(side: Sequence[SeedGroup]) -> Sequence[Record]:
    """The records of a side that is one group.

    Raises:
        UsageError: it is a leaderboard.
    """
    if len(side) != 1:
        raise UsageError("--cka compares two cells, not leaderboards; name a cell on each side")
    return side[0].records


def _couples(a: Sequence[SeedGroup], b: Sequence[SeedGroup]) -> tuple[list[tuple[SeedGroup, SeedGroup]], list[str]]:
    """Cells of two leaderboards that belong together: alike in all but the seed, or else the only ones alike in less."""
    left, right = list(a), list(b)
    couples = []
    for likeness in (lambda group: grouping_key(group.records[0]), lambda group: settings(group.records[0]), _title):
        ours, theirs = ([likeness(group) for group in side] for side in (left, right))
        alone = [key for key in ours if ours.count(key) == theirs.count(key) == 1]
        couples += [(left[ours.index(key)], right[theirs.index(key)]) for key in alone]
        left = [group for group, key in zip(left, ours, strict=True) if key not in alone]
        right = [group for group, key in zip(right, theirs, strict=True) if key not in alone]
    notes = [
        f"Only in {side}: {', '.join(_title(group) for group in rest)}."
        for side, rest in (("A", left), ("B", right))
        if rest
    ]
    return couples, notes


def _title(group: SeedGroup) -> str:
    return "/".join(str(group.records[0].cell[kind]["label"]) for kind in ("method", "encoder", "dataset"))


# --- one cell ---------------------------------------------------------------------------------------------------------


def _rows(a: SeedGroup, b: SeedGroup, every: bool) -> list[ComparisonRow]:
    ours, theirs = scores_of(a, every), scores_of(b, every)
    name = a.name if a.name == b.name else f"{a.name} - {b.name}"
    wrong = differing_settings(a.records[0], b.records[0])
    found = []
    for key, tap_b in _matched(ours, theirs):
        tap, pool, evaluator, metric = key
        mine, other = ours.get(key, []), theirs.get((tap_b, pool, evaluator, metric), [])
        features = "" if pool == "average" else f" ({pool})"
        shown = f"{evaluator} {metric} at {tap if tap == tap_b else f'{tap} - {tap_b}'}{features}"
        found.append(_row(name, shown, (a, b), (mine, other), wrong))
    return found


_Key = tuple[str, str, str, str]
"""Tap, pool, evaluator, metric."""
_Found = list[tuple[Record, Score]]
"""One score, of each record that has it."""


def scores_of(group: SeedGroup, every: bool = False) -> dict[_Key, _Found]:
    """Scores of a group by tap, pool, evaluator and metric, each with the records that have it; headlines, or every one."""
    found: dict[_Key, _Found] = {}
    for record in group.records:
        for score in record.scores:
            if every or score.headline:
                found.setdefault((score.tap, score.pool, score.evaluator, score.metric), []).append((record, score))
    return found


def _matched(ours: dict[_Key, _Found], theirs: dict[_Key, _Found]) -> list[tuple[_Key, str]]:
    """Keys of A with the tap of B that each is held against.

    The same tap where both have it. Encoders that share no tap are compared where both end: at the last tap of each.
    """
    taps, others = (list(dict.fromkeys(key[0] for key in side)) for side in (ours, theirs))
    if ours and theirs and not set(taps) & set(others):
        return [(key, others[-1]) for key in ours if key[0] == taps[-1] and (others[-1], *key[1:]) in theirs]
    return [(key, key[0]) for key in dict.fromkeys((*ours, *theirs))]


def differing_settings(a: Record, b: Record) -> str:
    """Why no score of two cells can be compared; else empty."""
    mine, other = a.cell["dataset"], b.cell["dataset"]
    for record, side in ((a, "A"), (b, "B")):
        if record.state != "done":
            return f"{side} is {record.state}: no result"
    for field, words in (("name", "dataset"), ("fingerprint", "dataset fingerprint"), ("subset", "training subset")):
        if mine.get(field) != other.get(field):
            return f"other {words}: {_short(mine.get(field))} and {_short(other.get(field))}"
    return ""


def _short(value: object) -> str:
    return "all" if value is None else str(value)[:12]


def other_score(a: _Found, b: _Found, *, params: bool = True) -> str:
    """Why this score cannot be compared; else empty. Without `params`, parameters of the evaluator are not looked at."""
    if not a or not b:
        return f"{'B' if a else 'A'} has no such score"
    for field, words in (("protocol", "protocol"), ("n", "test set"), ("params", "parameters of the evaluator")):
        if field == "params" and not params:
            continue
        values = [{_word(getattr(score, field)) for _, score in side} for side in (a, b)]
        if values[0] != values[1] or len(values[0]) != 1:
            return f"other {words}: {' and '.join('/'.join(sorted(each)) for each in values)}"
    return ""


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _row(
    cell: str, shown: str, groups: tuple[SeedGroup, SeedGroup], found: tuple[_Found, _Found], wrong: str
) -> ComparisonRow:
    values = [[score.value for _, score in side] for side in found]
    a, b = (float(np.mean(each)) if each else None for each in values)
    wrong = wrong or other_score(*found)
    if wrong:
        return ComparisonRow(cell=cell, score=shown, a=a, b=b, answers=(None, None), reasons=(wrong, wrong))
    higher = found[0][0][1].higher_is_better
    samples = [sample_of(group, side) for group, side in zip(groups, found, strict=True)]
    mine, other = samples
    if mine is None or other is None:
        again = retrained_scores(*values, higher_is_better=higher)
        reasons = ("no outcomes of single images", "images not counted: no outcomes of single images")
        return ComparisonRow(cell=cell, score=shown, a=a, b=b, answers=(None, again), reasons=reasons)
    try:
        answers = (paired(mine, other, higher_is_better=higher), retrained(mine, other, higher_is_better=higher))
    except ValueError as error:
        reason = f"other test set: {error}"
        return ComparisonRow(cell=cell, score=shown, a=a, b=b, answers=(None, None), reasons=(reason, reason))
    one = " and ".join(side for side, each in zip("AB", samples, strict=True) if each and _alone(each))
    reason = "" if answers[1].testable else f"1 seed of {one}: training again is not testable"
    return ComparisonRow(cell=cell, score=shown, a=a, b=b, answers=answers, reasons=("", reason))


def _alone(sample: SeedOutcomes) -> bool:
    return len(sample.outcomes) == 1 and not sample.seedless


def sample_of(group: SeedGroup, found: _Found) -> SeedOutcomes | None:
    """Outcomes over seeds, or None where one of them has none."""
    kept = [group.outcomes(record, score) for record, score in found]
    lengths = {len(each) for each in kept if each is not None}
    if any(each is None for each in kept) or len(lengths) != 1:
        return None
    return SeedOutcomes(outcomes=np.array(kept, dtype=np.float64), seedless=group.seedless)


def _adjusted(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Each question's answers adjusted for all of its own."""
    columns = []
    for question in range(len(QUESTIONS)):
        given = [(place, row.answers[question]) for place, row in enumerate(rows)]
        able = [(place, answer) for place, answer in given if answer is not None]
        changed = adjust([answer for _, answer in able], LEVEL)
        columns.append({place: each for (place, _), each in zip(able, changed, strict=True)})
    return [
        dataclasses.replace(row, answers=(columns[0].get(place), columns[1].get(place)))
        for place, row in enumerate(rows)
    ]
