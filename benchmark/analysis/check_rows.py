"""The rows of a check: each score of a run next to its baseline, and what is missing on either side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from benchmark.analysis import baselines
from benchmark.analysis.baselines import Baseline
from benchmark.analysis.seed_groups import ScoreName, SeedGroup, SeedScores, StoredGroup, label_of, score_mismatch
from benchmark.records.caveats import doubt_text, doubts_of, joined
from benchmark.records.record import CHECKPOINT, RECORD, Record
from benchmark.stats.comparison import Comparison
from benchmark.stats.significance import SeedOutcomes, compare_methods, compare_methods_by_score, pool_spread

Verdict = Literal["regressed", "improved", "no evidence", "checkpoint only", "not comparable", "new"]
"""`checkpoint only`: one seed, so the variance across seeds is unknown. `new`: not in the baseline."""
BASELINE_SPREAD = "One seed: spread over seeds taken from the baseline"


@dataclass(frozen=True, kw_only=True)
class CheckRow:
    """One score of one cell, next to its baseline."""

    cell: str
    """method/encoder/dataset."""
    score: str
    """Evaluator, metric and tap."""
    verdict: Verdict
    baseline: float | None = None
    """Mean over the baseline's seeds, raw; None if there is none."""
    now: float | None = None
    """Mean over the run's seeds, raw; None if there is none."""
    comparison: Comparison | None = None
    """Run minus baseline, adjusted over all rows; None if there is nothing to compare."""
    remark: str = ""
    """Why the row is not comparable, or what limits the comparison."""


@dataclass
class CheckRows:
    """Rows and remarks, collected cell by cell."""

    baseline: Baseline
    rows: list[CheckRow] = field(default_factory=list)
    """Scores that exist, and scores that failed in finished cells."""
    missing_rows: list[CheckRow] = field(default_factory=list)
    """Unfinished cells that the baseline has."""
    ignored_scores: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    matched: set[int] = field(default_factory=set)
    """`id` of each group of the baseline that belongs to a cell of the run."""

    def add_stored_group(self, group: StoredGroup) -> None:
        """Adds the scores of a finished cell. Its records are read if the baseline has the cell."""
        if self.baseline.with_label(group.label):
            self.add_group(group.read())
            return
        caveats = [caveat for at in group.positions for caveat in group.store.columns.summaries[at].caveats]
        self.rows += _with_remark(_new_rows(group.label, group.headline_means()), doubt_text(caveats))
        for position in group.positions:
            if group.store.columns.summaries[position].failure is not None:
                self._add_failed_scores(group.store.read(position), [])

    def add_group(self, group: SeedGroup) -> None:
        """Adds the scores of a finished cell."""
        counterpart = baselines.find_counterpart(group, self.baseline)
        if isinstance(counterpart, str):
            self.matched.update(id(each) for each in self.baseline.with_label(group.label))
            self.rows += _with_remark(_without_baseline(group, counterpart), doubts_of(group.records))
            expected = {}
        else:
            self.matched.add(id(counterpart))
            before = counterpart.read()
            self.ignored_scores += _not_requested(group, before)
            doubts = [(side, doubts_of(each.records)) for side, each in (("run", group), ("baseline", before))]
            remark = joined(*(f"{side} {doubt}" for side, doubt in doubts if doubt))
            self.rows += _with_remark(_compare_group(group, before), remark)
            expected = before.scores()
        for record in group.records:
            if record.failure is not None:
                self._add_failed_scores(record, list(expected))

    def _add_failed_scores(self, record: Record, expected: Sequence[ScoreName]) -> None:
        """Adds the scores that failed in a finished cell: rows for scores of the baseline, else a remark."""
        scored = {ScoreName(each.tap, each.pool, each.evaluator, each.metric) for each in record.scores}
        absent = [name for name in expected if name not in scored]
        failure = f"{(record.failure or {}).get('stage', '')} {_failure_reason(record)}"
        # Of the absent scores, those that the failure names; the others may not have been requested.
        lost = [name for name in absent if name.evaluator in failure] or absent
        remark = f"seed {record.seed}, some scores failed: {_failure_reason(record)}"
        self.rows += [_missing_row(label_of(record), str(name), remark) for name in lost]
        if not lost:
            self.failed.append(f"{label_of(record)}: {remark}")

    def add_unfinished(self, record: Record) -> None:
        """Adds a cell that did not finish: a row if the baseline has it, else a remark."""
        seed = "" if record.seed is None else f"seed {record.seed} "
        remark = f"{seed}is {record.state}: {_failure_reason(record)}".rstrip(": ")
        groups = self.baseline.with_label(label_of(record))
        if groups:
            self.matched |= {id(group) for group in groups}
            self.missing_rows.append(_missing_row(label_of(record), "all scores", remark))
        else:
            self.failed.append(f"{label_of(record)}: {remark}")

    def ignored_cells(self) -> list[str]:
        """Cells of the baseline that belong to no cell of the run."""
        unmatched = [group for group in self.baseline.groups if id(group) not in self.matched]
        return [f"{group.label} ({group.epochs:g} epochs)" for group in unmatched]


def unreadable_cells(out: Path, problems: Sequence[str]) -> list[CheckRow]:
    """Rows for cell folders without a readable record: the baseline's scores of them are missing."""
    rows = [_missing_row(str(out), "all scores", problem) for problem in problems]
    started = [path.parent for path in sorted(out.glob(f"*/{CHECKPOINT}")) if not (path.parent / RECORD).exists()]
    remark = "interrupted: has a checkpoint and no record"
    return rows + [_missing_row(folder.name, "all scores", remark) for folder in started]


def _missing_row(cell: str, score: str, remark: str) -> CheckRow:
    return CheckRow(cell=cell, score=score, verdict="not comparable", remark=remark)


def _failure_reason(record: Record) -> str:
    return str((record.failure or {}).get("reason", ""))


def _not_requested(group: SeedGroup, baseline: SeedGroup) -> list[str]:
    """One line with the scores of the baseline that no record of the run has; failures are reported elsewhere."""
    scores = group.scores()
    absent = [str(name) for name in baseline.scores() if name not in scores]
    failed = any(record.failure for record in group.records)
    return [f"{group.label}: {'; '.join(absent)}"] if absent and not failed else []


def _with_remark(rows: Sequence[CheckRow], remark: str) -> list[CheckRow]:
    """Rows with a further remark, which may be empty."""
    return [dataclasses.replace(row, remark=joined(row.remark, remark)) for row in rows]


# --- one cell ---------------------------------------------------------------------------------------------------------


def _without_baseline(group: SeedGroup, reason: str) -> list[CheckRow]:
    """Rows of a cell that the baseline does not have (empty reason), or has under other settings."""
    means = {name: scores.latest_protocol().mean for name, scores in group.scores().items()}
    return _new_rows(group.label, means, reason)


def _new_rows(cell: str, means: Mapping[ScoreName, float], reason: str = "") -> list[CheckRow]:
    """Rows of a cell from the mean of each of its scores; see `_without_baseline`."""
    verdict: Verdict = "not comparable" if reason else "new"
    remark = reason or "not in the baseline"
    return [
        CheckRow(cell=cell, score=str(name), verdict=verdict, now=mean, remark=remark) for name, mean in means.items()
    ]


def _compare_group(group: SeedGroup, baseline: SeedGroup) -> list[CheckRow]:
    """A row for each headline score of the run."""
    baseline_scores = baseline.scores()
    mismatch = baselines.baseline_mismatch(group.records[0], baseline.records[0])
    check_params = not baselines.is_from_csv(baseline.records[0])
    rows = []
    for name, all_scores in group.scores().items():
        scores = all_scores.latest_protocol()
        row = CheckRow(cell=group.label, score=str(name), verdict="no evidence", now=scores.mean)
        if name not in baseline_scores:
            rows.append(dataclasses.replace(row, verdict="new", remark="the baseline has no such score"))
            continue
        before = baseline_scores[name].of_protocol(scores.members[0][1].protocol)
        row = dataclasses.replace(row, baseline=before.mean)
        reason = mismatch or score_mismatch(scores, before, check_params=check_params)
        if reason:
            rows.append(dataclasses.replace(row, verdict="not comparable", remark=reason))
        else:
            rows.append(_compare_score(row, scores, before))
    return rows


def _compare_score(row: CheckRow, now: SeedScores, before: SeedScores) -> CheckRow:
    """The row with its comparison."""
    higher = now.higher_is_better
    outcomes_now, outcomes_before = _half_precision(now.outcomes()), _half_precision(before.outcomes())
    if outcomes_now is None or outcomes_before is None:
        comparison = _compare_by_score(now.values, before.values, higher)
        remark = "no per-image outcomes: variance over test images not included"
        if len(now.values) == 1 and comparison.testable:
            remark = f"{remark}; {BASELINE_SPREAD}"
        return dataclasses.replace(row, comparison=comparison, remark=remark)
    pooled = pool_spread([outcomes_before])
    one_seed = len(outcomes_now.outcomes) == 1 and not outcomes_now.seedless and pooled is not None
    try:
        comparison = compare_methods(outcomes_now, outcomes_before, pooled=pooled, higher_is_better=higher)
    except ValueError as error:
        return dataclasses.replace(row, verdict="not comparable", remark=f"different test images: {error}")
    return dataclasses.replace(row, comparison=comparison, remark=BASELINE_SPREAD if one_seed else "")


def _half_precision(sample: SeedOutcomes | None) -> SeedOutcomes | None:
    """Outcomes in the precision of a leaderboard, so that a run differs from its own export by exactly 0."""
    if sample is None:
        return None
    with np.errstate(over="ignore"):
        outcomes = sample.outcomes.astype(np.float16).astype(np.float64)
    return None if np.isinf(outcomes).any() else dataclasses.replace(sample, outcomes=outcomes)


def _compare_by_score(now: Sequence[float], before: Sequence[float], higher_is_better: bool) -> Comparison:
    """Welch's t-test on one score per seed; a run of one seed is compared using the baseline's spread, s sqrt(1 + 1/n)."""
    comparison = compare_methods_by_score(now, before, higher_is_better=higher_is_better)
    n = len(before)
    if len(now) > 1 or n < 2:
        return comparison
    error = float(np.std(before, ddof=1)) * math.sqrt(1 + 1 / n)
    if error <= 0:
        return comparison
    return dataclasses.replace(comparison, standard_error=error, degrees_of_freedom=n - 1.0)
