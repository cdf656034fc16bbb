"""What `bench check` says: has a representation become worse than its baseline, on the second question: trained again.

Scores of a run are held against those of a baseline, all of them together: *regressed* is what lies below after Holm's
adjustment and by more than the margin. What cannot be held against anything is said to be so, never passed over.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmark import export as boards_room
from benchmark import sides
from benchmark.compare import other_conditions, other_score, sample_of, scores_of
from benchmark.differences import LEVEL, Comparison
from benchmark.errors import RecordError, UsageError
from benchmark.families import MARGIN, GateVerdict, adjusted, gate
from benchmark.inference import Spread, pooled_spread, retrained, retrained_scores
from benchmark.records import Record, Score, read_records
from benchmark.sides import Group, Source, settings

REGRESSION, BASELINE, FAILED = 1, 4, 3
"""Exit codes, the first that applies: something regressed; no baseline, or not comparable; cells that failed."""
Verdict = Literal["regressed", "improved", "no evidence", "checkpoint only", "not comparable", "new"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One score of one cell, beside its baseline."""

    cell: str
    """method/encoder/dataset."""
    score: str
    """Evaluator, metric and tap."""
    verdict: Verdict
    baseline: float | None = None
    """Mean over its seeds, raw; likewise `now`."""
    now: float | None = None
    answer: Comparison | None = None
    """Now less baseline, at the level that Holm gives it; None where there is nothing to compare."""
    reason: str = ""
    """Why it is not comparable, or what is to be known of it."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows, and what follows."""

    baseline: str
    margin: float
    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()
    """Cells of the baseline that this run did not ask for."""
    failed: tuple[str, ...] = ()
    """Cells of the run that failed and that the baseline does not have."""
    notes: tuple[str, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """Rows of a verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    @property
    def exit_code(self) -> int:
        """Regressed before not comparable before failed."""
        if self.count("regressed"):
            return REGRESSION
        compared = [row for row in self.rows if row.answer is not None]
        if self.count("not comparable") or not compared:
            return BASELINE
        return FAILED if self.failed else 0

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        words = {REGRESSION: "regressed", BASELINE: "not comparable", FAILED: "cells failed", 0: "passed"}
        counts = ", ".join(
            f"{self.count(verdict)} {verdict}"
            for verdict in ("regressed", "improved", "no evidence", "checkpoint only", "not comparable", "new")
            if self.count(verdict)
        )
        return f"{words[self.exit_code]}: {counts or 'no scores'} (margin {self.margin:g}, baseline {self.baseline})"


def report(out: Path, baseline: str, margin: float = MARGIN, level: float = LEVEL) -> Report:
    """Holds a run's headline scores against a baseline.

    Args:
        out: the run's folder of records.
        baseline: a leaderboard's `.csv` or `.jsonl`, or `REV:` and such a file in a git revision.
        margin: what has to be lost, raw, before a score counts as regressed.
        level: 1 - level bounds the chance that a run without any change is called regressed.

    Raises:
        UsageError: there is no record in the run, or no baseline: exit 4.
        RecordError: a file is damaged.
    """
    if margin < 0:
        raise UsageError(f"--margin {margin} cannot be; it is a raw fraction from 0 on, such as 0.005 for half a point")
    records = [record for record in read_records(out)[0] if record.state != "smoke"]
    if not records:
        raise UsageError(f"no record under {out}; bench run --out {out} makes some")
    known, unpaired = _baseline(baseline)
    here = Source(records=records, outcomes=sides.outcomes_of_folders()).groups()
    rows: list[Row] = []
    met: set[int] = set()
    for group in here:
        found = _counterpart(group, known)
        if isinstance(found, Group):
            met.add(id(found))
            rows += _rows(group, found)
        else:
            rows += _without(group, found)
    lost, failed = _unfinished(records, known, met)
    return Report(
        baseline=baseline,
        margin=margin,
        rows=tuple(_judged([*rows, *lost], margin, level)),
        ignored=tuple(sides.labels(group.records[0]) for group in known if id(group) not in met),
        failed=tuple(failed),
        notes=(UNPAIRED,) if unpaired else (),
    )


def update(out: Path, baseline: Path) -> str:
    """Makes a run's finished cells the baseline: adds or replaces them in the leaderboards beside it.

    Returns:
        What was written, in words.

    Raises:
        UsageError: nothing is finished, or the baseline is the leaderboard of another dataset.
    """
    records = [record for record in read_records(out)[0] if record.state == "done"]
    if not records:
        raise UsageError(f"no finished record under {out}; bench run --out {out} makes some")
    boards = {boards_room.board_name(record) for record in records}
    if baseline.stem not in boards:
        names = ", ".join(f"{baseline.parent / name}.csv" for name in sorted(boards))
        raise UsageError(f"--baseline {baseline}: the run's cells belong to {names}; name one of these")
    written = boards_room.export(records, baseline.parent)
    return "\n".join(
        f"{baseline.parent / name}.csv: {count} cells added or replaced" for name, count in written.items()
    )


UNPAIRED = (
    "The baseline has no outcomes of single images beside it: seeds alone are compared, and that other test images would move "
    "the scores is not counted."
)


# --- the baseline -----------------------------------------------------------------------------------------------------


def _baseline(argument: str) -> tuple[list[Group], bool]:
    """Groups of a baseline, and whether they come from a CSV alone."""
    board = argument.removesuffix(".csv") + sides.BOARD if argument.endswith(".csv") else argument
    alone = argument.endswith(".csv") and Path(argument).is_file() and not Path(board).is_file()
    if alone:
        return list(_from_csv(Path(argument))), True
    try:
        groups = sides.read(board, Path())
    except UsageError as error:
        raise NoBaselineError(
            f"there is no baseline {argument} yet ({error}); bench check --update writes one from this run"
        ) from error
    return groups, not any(
        group.outcomes(r, s) is not None for group in groups for r in group.records for s in r.scores
    )


class NoBaselineError(UsageError):
    """A first run: nothing to be held against."""

    exit_code = BASELINE


def _from_csv(path: Path) -> Iterator[Group]:
    """Groups from a leaderboard's rows: all that a check asks of them, without outcomes.

    Raises:
        RecordError: a row is not whole.
    """
    records: dict[str, Record] = {}
    scores: dict[str, list[Score]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                records.setdefault(row["cell"], _record_of(row))
                scores.setdefault(row["cell"], []).append(_score_of(row))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{path} is not whole ({type(error).__name__}: {error}); restore it from git") from error
    whole = [dataclasses.replace(record, scores=tuple(scores[cell])) for cell, record in records.items()]
    yield from Source(records=whole, outcomes=lambda *_: None).groups()


def _record_of(row: dict[str, str]) -> Record:
    named = {
        kind: {"label": row[kind], "name": row[kind].partition("[")[0]} for kind in ("method", "encoder", "dataset")
    }
    named["dataset"] |= {"fingerprint": row["fingerprint"]}
    recipe = {"epochs": int(float(row["epochs"] or 0))}
    return Record(
        id=row["cell"],
        state="done",
        cell={**named, "seed": int(row["seed"]) if row["seed"] else None, "recipe": recipe},
    )


def _score_of(row: dict[str, str]) -> Score:
    return Score(
        tap=row["tap"],
        pool=row["pool"],  # type: ignore[arg-type]  # a word of the CSV; compared with others, never acted on
        evaluator=row["evaluator"],
        protocol=row["protocol"],
        metric=row["metric"],
        params={},
        value=float(row["value"]),
        ci_low=None,
        ci_high=None,
        n=int(float(row["n"])),
        outcomes=None,
        headline=True,
    )


# --- one cell ---------------------------------------------------------------------------------------------------------


def _counterpart(group: Group, known: Sequence[Group]) -> Group | str:
    """The baseline of a cell, or why there is none; an empty reason where the baseline does not know it at all."""
    record = group.records[0]
    same = [other for other in known if sides.labels(other.records[0]) == sides.labels(record)]
    for other in same:
        if settings(other.records[0]) == settings(record) or (
            _is_told_by_csv(other.records[0]) and _epochs(other.records[0]) == _epochs(record)
        ):
            return other
    return _other_settings(record, same[0].records[0]) if same else ""


def _is_told_by_csv(baseline: Record) -> bool:
    """A CSV holds of a recipe its epochs alone, and of a dataset the beginning of its fingerprint."""
    return "params" not in baseline.cell["method"]


def _epochs(record: Record) -> object:
    return record.cell.get("recipe", {}).get("epochs", 0)


def _other_settings(record: Record, baseline: Record) -> str:
    """What is another budget or parameter, in words."""
    mine, theirs = (
        {**each.cell.get("recipe", {}), **each.cell["method"].get("params", {})} for each in (record, baseline)
    )
    names = [name for name in dict.fromkeys((*theirs, *mine)) if mine.get(name) != theirs.get(name)]
    told = ", ".join(f"{name}={mine.get(name)} (baseline {theirs.get(name)})" for name in names[:4])
    return f"another budget: {told}" if told else "other settings"


def _rows(group: Group, baseline: Group) -> Iterator[Row]:
    """Each headline score that both have; what the run has beyond the baseline is new."""
    ours, theirs = scores_of(group), scores_of(baseline)
    wrong = _wrong(group.records[0], baseline.records[0])
    for key, mine in ours.items():
        told = _told(key)
        now = float(np.mean([score.value for _, score in mine]))
        cell = sides.labels(group.records[0])
        other = theirs.get(key)
        if other is None:
            yield Row(cell=cell, score=told, verdict="new", now=now, reason="the baseline has no such score")
            continue
        before = float(np.mean([score.value for _, score in other]))
        row = Row(cell=cell, score=told, verdict="no evidence", baseline=before, now=now)
        reason = wrong or other_score(mine, other, params=bool(other[0][1].params))
        if reason:
            yield dataclasses.replace(row, verdict="not comparable", reason=reason)
            continue
        yield _compared(row, (group, mine), (baseline, other))


_Side = tuple[Group, list[tuple[Record, Score]]]


def _compared(row: Row, now: _Side, before: _Side) -> Row:
    samples = [sample_of(group, found) for group, found in (now, before)]
    values = [[score.value for _, score in found] for _, found in (now, before)]
    higher = now[1][0][1].higher_is_better
    mine, other = samples
    if mine is None or other is None:
        answer = retrained_scores(values[0], values[1], higher_is_better=higher)
        return dataclasses.replace(row, answer=answer, reason="unpaired: no outcomes of single images")
    pooled: Spread | None = pooled_spread([other])
    borrowed = len(mine.outcomes) == 1 and not mine.seedless and pooled is not None
    try:
        answer = retrained(mine, other, pooled=pooled, higher_is_better=higher)
    except ValueError as error:
        return dataclasses.replace(row, verdict="not comparable", reason=f"another test set: {error}")
    reason = "1 seed: the spread over seeds is the baseline's" if borrowed else ""
    return dataclasses.replace(row, answer=answer, reason=reason)


def _wrong(record: Record, baseline: Record) -> str:
    """Why no score of two cells can be compared; else empty."""
    known, mine = (str(each.cell["dataset"].get("fingerprint", "")) for each in (baseline, record))
    if _is_told_by_csv(baseline):
        return "" if mine.startswith(known) else f"other dataset fingerprint: {mine[:12]} and {known[:12]}"
    return other_conditions(record, baseline)


def _told(key: tuple[str, str, str, str]) -> str:
    tap, pool, evaluator, metric = key
    return f"{evaluator} {metric} at {tap}{'' if pool == 'average' else f' ({pool})'}"


def _without(group: Group, reason: str) -> Iterator[Row]:
    """A cell that the baseline does not have, or has under other settings."""
    for key, found in scores_of(group).items():
        yield Row(
            cell=sides.labels(group.records[0]),
            score=_told(key),
            verdict="not comparable" if reason else "new",
            now=float(np.mean([score.value for _, score in found])),
            reason=reason or "the baseline does not have this cell",
        )


def _unfinished(records: Sequence[Record], known: Sequence[Group], met: set[int]) -> tuple[list[Row], list[str]]:
    """Cells of the run that did not finish: rows for those that the baseline has, names of the others."""
    rows, failed = [], []
    for record in records:
        if record.state == "done":
            continue
        reason = f"seed {record.cell['seed']} is {record.state}: {(record.failure or {}).get('reason', '')}".rstrip(
            ": "
        )
        there = [group for group in known if sides.labels(group.records[0]) == sides.labels(record)]
        if not there:
            failed.append(f"{sides.labels(record)}: {reason}")
            continue
        met |= {id(group) for group in there}
        rows.append(Row(cell=sides.labels(record), score="all scores", verdict="not comparable", reason=reason))
    return rows, failed


def _judged(rows: Sequence[Row], margin: float, level: float) -> list[Row]:
    """All that can be compared, judged together."""
    places = [place for place, row in enumerate(rows) if row.answer is not None]
    answers = [answer for row in rows if (answer := row.answer) is not None]
    verdicts = gate(answers, margin=margin, level=level)
    found = list(rows)
    for place, answer, verdict in zip(places, adjusted(answers, level), verdicts, strict=True):
        found[place] = dataclasses.replace(found[place], answer=answer, verdict=_word(verdict))
    return found


def _word(verdict: GateVerdict) -> Verdict:
    """One seed on both sides shows these checkpoints alone: it can never be called regressed."""
    return "checkpoint only" if verdict == "not testable" else verdict
