"""What `bench check` says: has a representation become worse than its baseline, on the second question: trained again.

Scores of a run are held against those of a baseline, all of them together: *regressed* is what lies below after Holm's
adjustment and by more than the margin. What cannot be held against anything is said to be so, never passed over.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmark.analysis import baselines, sources
from benchmark.analysis.compare import other_score, sample_of, scores_of
from benchmark.analysis.sources import SeedGroup, Source
from benchmark.errors import ExitCode, UsageError
from benchmark.records import leaderboard
from benchmark.records.record import CHECKPOINT, RECORD, Record, Score, read_records
from benchmark.stats.comparison import LEVEL, Comparison
from benchmark.stats.multiple_testing import MARGIN, adjust, gate
from benchmark.stats.significance import SeedOutcomes, Spread, pooled_spread, retrained, retrained_scores

REGRESSION, BASELINE, FAILED = ExitCode.REGRESSED, ExitCode.NOT_COMPARABLE, ExitCode.FAILED_CELLS
"""Exit codes, the first that applies: something regressed; no baseline, or not comparable; cells that failed."""
Verdict = Literal["regressed", "improved", "no evidence", "checkpoint only", "not comparable", "new"]


@dataclass(frozen=True, kw_only=True)
class CheckRow:
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
class CheckReport:
    """All rows, and what follows."""

    baseline: str
    margin: float
    rows: tuple[CheckRow, ...]
    ignored: tuple[str, ...] = ()
    """Cells and scores of the baseline that this run did not ask for."""
    failed: tuple[str, ...] = ()
    """What failed in the run and is not in the baseline."""
    notes: tuple[str, ...] = ()
    missing: str = ""
    """Why there is no baseline; empty where there is one."""

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
        if self.missing:
            return f"{words[self.exit_code]}: {self.missing}"
        counts = ", ".join(
            f"{self.count(verdict)} {verdict}"
            for verdict in ("regressed", "improved", "no evidence", "checkpoint only", "not comparable", "new")
            if self.count(verdict)
        )
        return f"{words[self.exit_code]}: {counts or 'no scores'} (margin {self.margin:g}, baseline {self.baseline})"


def check_records(out: Path, baseline: str, margin: float = MARGIN, level: float = LEVEL) -> CheckReport:
    """Holds a run's headline scores against a baseline.

    Args:
        out: the run's folder of records.
        baseline: a leaderboard's `.csv` or `.jsonl`, or `REV:` and such a file in a git revision.
        margin: what has to be lost, raw, before a score counts as regressed.
        level: 1 - level bounds the chance that a run without any change is called regressed.

    Returns:
        All verdicts; where there is no baseline, that, with every score as new: exit 4.

    Raises:
        UsageError: there is no record in the run, or an argument cannot be.
        RecordError: a file of the baseline is damaged.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise UsageError(f"--margin {margin} cannot be; it is a raw fraction from 0 on, such as 0.005 for half a point")
    found, problems = read_records(out)
    records, torn = [record for record in found if record.state != "smoke"], _unreadable(out, problems)
    if not records and not torn:
        raise UsageError(f"no record under {out}, smoke records apart; bench run --out {out} makes some")
    known, missing = baselines.known(baseline)
    rows: list[CheckRow] = []
    failed: list[str] = []
    met: set[int] = set()  # ids of groups of the baseline that belong to a cell of the run
    unasked: list[str] = []
    for group in Source(records=records, outcomes=sources.outcomes_of_folders()).groups():
        other = baselines.counterpart(group, known)
        if isinstance(other, SeedGroup):
            met.add(id(other))
            unasked += _not_asked(group, other)
            rows += _rows(group, other)
        else:
            met.update(id(each) for each in baselines.of_same_name(group.records[0], known))
            rows += _without(group, other)
        lost, others = _not_scored(group, other if isinstance(other, SeedGroup) else None)
        rows += lost
        failed += others
    lost, others = _unfinished(records, known, met)
    cells = [_with_epochs(group) for group in known if id(group) not in met]
    return CheckReport(
        baseline=baseline,
        margin=margin,
        rows=tuple(_judged([*rows, *lost, *torn], margin, level)),
        ignored=(*dict.fromkeys(cells), *unasked),
        failed=(*failed, *others),
        notes=(UNPAIRED,) if known and not any(_has_outcomes(group) for group in known) else (),
        missing=missing,
    )


def _has_outcomes(group: SeedGroup) -> bool:
    return any(group.outcomes(record, score) is not None for record in group.records for score in record.scores)


def _with_epochs(group: SeedGroup) -> str:
    return f"{sources.labels(group.records[0])} ({baselines.plain(baselines.epochs_of(group.records[0]))} epochs)"


def _not_asked(group: SeedGroup, baseline: SeedGroup) -> list[str]:
    """Scores of the baseline that no record of the run has, in one line; whether they failed is told elsewhere."""
    have = scores_of(group)
    told = [_told(key) for key in scores_of(baseline) if key not in have]
    failed = any(record.failure for record in group.records)
    return [f"{sources.labels(group.records[0])}: {'; '.join(told)}"] if told and not failed else []


def update(out: Path, baseline: Path) -> str:
    """Makes a run's finished cells the baseline: adds or replaces them in the leaderboards beside it.

    Returns:
        What was written, in words.

    Raises:
        UsageError: nothing is finished, or the baseline is no file or the leaderboard of another dataset.
        RecordError: a file of the baseline is damaged; nothing is changed then.
    """
    baselines.check_name(str(baseline))
    if ":" in str(baseline) and not baseline.parent.is_dir():
        raise UsageError(f"--update writes files, and --baseline {baseline} names a git revision; name the file itself")
    found, problems = read_records(out)
    records = [record for record in found if record.state == "done"]
    if not records:
        raise UsageError(f"no finished record under {out}; bench run --out {out} makes some")
    boards = {leaderboard.board_name(record) for record in records}
    if baseline.stem not in boards:
        names = ", ".join(f"{baseline.parent / name}.csv" for name in sorted(boards))
        raise UsageError(f"--baseline {baseline}: the run's cells belong to {names}; name one of these")
    written = leaderboard.export(records, baseline.parent)
    lines = [f"{baseline.parent / name}.csv: {count} cells added or replaced" for name, count in written.items()]
    return "\n".join([*lines, *(f"left out: {problem}" for problem in problems)])


UNPAIRED = (
    "The baseline has no outcomes of single images beside it: seeds alone are compared, and that other test images would move "
    "the scores is not counted."
)


# --- one cell ---------------------------------------------------------------------------------------------------------


def _rows(group: SeedGroup, baseline: SeedGroup) -> Iterator[CheckRow]:
    """Each headline score of the run; what it has beyond the baseline is new."""
    theirs = scores_of(baseline)
    wrong = baselines.wrong(group.records[0], baseline.records[0])
    cell = sources.labels(group.records[0])
    for key, every in scores_of(group).items():
        mine = _latest(every)
        now = _mean(mine)
        if key not in theirs:
            yield CheckRow(cell=cell, score=_told(key), verdict="new", now=now, reason="the baseline has no such score")
            continue
        other = _of_protocol(theirs[key], mine[0][1].protocol)
        row = CheckRow(cell=cell, score=_told(key), verdict="no evidence", baseline=_mean(other), now=now)
        reason = wrong or other_score(mine, other, params=not baselines.is_told_by_csv(baseline.records[0]))
        if reason:
            yield dataclasses.replace(row, verdict="not comparable", reason=reason)
            continue
        yield _compared(row, (group, mine), (baseline, other))


_Found = list[tuple[Record, Score]]
_Side = tuple[SeedGroup, _Found]


def _mean(found: _Found) -> float:
    return float(np.mean([score.value for _, score in found]))


def _latest(found: _Found) -> _Found:
    """Those of the latest protocol: a record keeps its scores of earlier ones."""
    versions = [int(version) if (version := score.protocol.rpartition("@")[2]).isdecimal() else 0 for _, score in found]
    return [each for each, version in zip(found, versions, strict=True) if version == max(versions)]


def _of_protocol(found: _Found, protocol: str) -> _Found:
    """Those of this protocol; where there are none, the latest."""
    return [(record, score) for record, score in found if score.protocol == protocol] or _latest(found)


def _compared(row: CheckRow, now: _Side, before: _Side) -> CheckRow:
    mine, other = (_as_kept(sample_of(group, found)) for group, found in (now, before))
    higher = now[1][0][1].higher_is_better
    if mine is None or other is None:
        values = [[score.value for _, score in found] for _, found in (now, before)]
        answer = _unpaired(values[0], values[1], higher)
        borrowed = len(values[0]) == 1 and answer.testable
        reason = "unpaired: no outcomes of single images"
        return dataclasses.replace(row, answer=answer, reason=f"{reason}; {BORROWED}" if borrowed else reason)
    pooled: Spread | None = pooled_spread([other])
    borrowed = len(mine.outcomes) == 1 and not mine.seedless and pooled is not None
    try:
        answer = retrained(mine, other, pooled=pooled, higher_is_better=higher)
    except ValueError as error:
        return dataclasses.replace(row, verdict="not comparable", reason=f"another test set: {error}")
    return dataclasses.replace(row, answer=answer, reason=BORROWED if borrowed else "")


BORROWED = "1 seed: the spread over seeds is the baseline's"


def _as_kept(sample: SeedOutcomes | None) -> SeedOutcomes | None:
    """Outcomes as a leaderboard keeps them, in half precision: a run beside itself then differs by exactly 0."""
    if sample is None:
        return None
    with np.errstate(over="ignore"):
        kept = sample.outcomes.astype(np.float16).astype(np.float64)
    return None if np.isinf(kept).any() else dataclasses.replace(sample, outcomes=kept)


def _unpaired(now: Sequence[float], before: Sequence[float], higher: bool) -> Comparison:
    """Welch's test on a value for each seed; one value of the run is held against the spread of the baseline's."""
    answer = retrained_scores(now, before, higher_is_better=higher)
    n = len(before)
    if len(now) > 1 or n < 2:
        return answer
    error = float(np.std(before, ddof=1)) * math.sqrt(1 + 1 / n)
    return dataclasses.replace(answer, error=error, degrees=n - 1.0) if error > 0 else answer


def _told(key: tuple[str, str, str, str]) -> str:
    tap, pool, evaluator, metric = key
    return f"{evaluator} {metric} at {tap}{'' if pool == 'average' else f' ({pool})'}"


def _without(group: SeedGroup, reason: str) -> Iterator[CheckRow]:
    """A cell that the baseline does not have, or has under other settings."""
    for key, found in scores_of(group).items():
        yield CheckRow(
            cell=sources.labels(group.records[0]),
            score=_told(key),
            verdict="not comparable" if reason else "new",
            now=_mean(_latest(found)),
            reason=reason or "the baseline does not have this cell",
        )


# --- what is missing --------------------------------------------------------------------------------------------------


def _unfinished(
    records: Sequence[Record], known: Sequence[SeedGroup], met: set[int]
) -> tuple[list[CheckRow], list[str]]:
    """Cells of the run that did not finish: rows for those that the baseline has, names of the others."""
    rows, failed = [], []
    for record in records:
        if record.state == "done":
            continue
        seed = "" if record.cell["seed"] is None else f"seed {record.cell['seed']} "
        reason = f"{seed}is {record.state}: {_reason(record)}".rstrip(": ")
        there = baselines.of_same_name(record, known)
        if not there:
            failed.append(f"{sources.labels(record)}: {reason}")
            continue
        met |= {id(group) for group in there}
        rows.append(_lost(sources.labels(record), "all scores", reason))
    return rows, failed


def _not_scored(group: SeedGroup, baseline: SeedGroup | None) -> tuple[list[CheckRow], list[str]]:
    """Scores of finished cells that failed: rows for those that the baseline has, names of the others."""
    rows, failed = [], []
    wanted = scores_of(baseline) if baseline else {}
    for record in group.records:
        if record.failure is None:
            continue
        have = {(score.tap, score.pool, score.evaluator, score.metric) for score in record.scores}
        lacking = [key for key in wanted if key not in have]
        said = f"{record.failure.get('stage', '')} {_reason(record)}"
        # Of what is lacking, what the failure names; the rest may not have been asked for.
        lost = [key for key in lacking if key[2] in said] or lacking
        cell, reason = sources.labels(record), f"seed {record.cell['seed']}, not all scores: {_reason(record)}"
        rows += [_lost(cell, _told(key), reason) for key in lost]
        failed += [] if lost else [f"{cell}: {reason}"]
    return rows, failed


def _unreadable(out: Path, problems: Sequence[str]) -> list[CheckRow]:
    """Folders of cells without a record that can be read: whatever the baseline has of them is missing."""
    torn = [_lost(str(out), "all scores", problem) for problem in problems]
    begun = [path.parent for path in sorted(out.glob(f"*/{CHECKPOINT}")) if not (path.parent / RECORD).exists()]
    return torn + [_lost(folder.name, "all scores", "is interrupted: has a checkpoint, no record") for folder in begun]


def _lost(cell: str, score: str, reason: str) -> CheckRow:
    return CheckRow(cell=cell, score=score, verdict="not comparable", reason=reason)


def _reason(record: Record) -> str:
    return str((record.failure or {}).get("reason", ""))


# --- all of them together ---------------------------------------------------------------------------------------------


def _judged(rows: Sequence[CheckRow], margin: float, level: float) -> list[CheckRow]:
    """All that can be compared, judged together."""
    places = [place for place, row in enumerate(rows) if row.answer is not None]
    answers = [answer for row in rows if (answer := row.answer) is not None]
    verdicts = gate(answers, margin=margin, level=level)
    found = list(rows)
    for place, answer, verdict in zip(places, adjust(answers, level), verdicts, strict=True):
        row = dataclasses.replace(rows[place], answer=answer)
        if verdict == "not testable":
            found[place] = _untested(row, answer, margin)
        else:
            found[place] = dataclasses.replace(row, verdict=verdict)
    return found


def _untested(row: CheckRow, answer: Comparison, margin: float) -> CheckRow:
    """One seed shows these checkpoints alone, and is never called regressed; seeds without any spread show nothing."""
    if min(answer.seeds) < 2:
        return dataclasses.replace(row, verdict="checkpoint only")
    if abs(answer.difference) <= margin:
        return row
    reason = "no spread over seeds on either side to hold the difference against"
    return dataclasses.replace(row, verdict="not comparable", reason=f"{row.reason}; {reason}".removeprefix("; "))
