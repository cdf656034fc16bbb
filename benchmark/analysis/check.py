"""Check a run for regressions: compare its scores with those of a baseline, across seeds.

All scores of a run are judged together: a score *regressed* if its Holm-adjusted interval excludes 0 on the worse side and it
is worse by more than the margin. A score or cell that cannot be compared is reported, never ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.analysis.baselines import read_baseline
from benchmark.analysis.check_rows import CheckRow, CheckRows, Verdict, unreadable_cells
from benchmark.analysis.seed_groups import stored_groups
from benchmark.analysis.sources import read_leaderboard
from benchmark.api.limits import LIMITS
from benchmark.errors import ExitCode, UsageError
from benchmark.records.leaderboard import JSONL
from benchmark.records.output_folder import OutputFolder
from benchmark.stats.comparison import Comparison
from benchmark.stats.multiple_testing import MARGIN, adjust, gate

VERDICTS: tuple[Verdict, ...] = ("regressed", "improved", "no evidence", "checkpoint only", "not comparable", "new")
RESULTS = {
    ExitCode.REGRESSED: "regressed",
    ExitCode.NOT_COMPARABLE: "not comparable",
    ExitCode.FAILED_CELLS: "cells failed",
    ExitCode.OK: "passed",
}
"""Exit code -> first words of the summary line."""
NO_SPREAD = "no spread over seeds on either side, so the difference cannot be tested"
NO_OUTCOMES = "The baseline has no per-image outcomes: the comparison does not include the variance over test images."


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The result of a check."""

    baseline: str
    """How the baseline was named."""
    margin: float
    """Smallest drop that counts as a regression (fraction)."""
    rows: tuple[CheckRow, ...]
    ignored: tuple[str, ...] = ()
    """Cells and scores of the baseline that the run did not request."""
    failed: tuple[str, ...] = ()
    """Failed cells and scores of the run that are not in the baseline."""
    notes: tuple[str, ...] = ()
    missing: str = ""
    """Why there is no baseline; empty if there is one."""

    def count(self, verdict: Verdict) -> int:
        """Number of rows with a verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    @property
    def exit_code(self) -> ExitCode:
        """The first that applies: a regression, not comparable, failed cells."""
        if self.count("regressed"):
            return ExitCode.REGRESSED
        compared = any(row.comparison is not None for row in self.rows)
        if self.count("not comparable") or not compared:
            return ExitCode.NOT_COMPARABLE
        return ExitCode.FAILED_CELLS if self.failed else ExitCode.OK

    @property
    def summary(self) -> str:
        """The result in one line."""
        result = RESULTS[self.exit_code]
        if self.missing:
            return f"{result}: {self.missing}"
        counts = ", ".join(f"{self.count(verdict)} {verdict}" for verdict in VERDICTS if self.count(verdict))
        return f"{result}: {counts or 'no scores'} (margin {self.margin:g}, baseline {self.baseline})"

    def __str__(self) -> str:
        from benchmark.analysis.check_report import check_report

        return str(check_report(self))

    def _repr_html_(self) -> str:
        from benchmark.analysis.check_report import check_report

        return check_report(self)._repr_html_()


def check_records(out: Path, baseline: str, margin: float = MARGIN) -> CheckReport:
    """Compares a run's headline scores with a baseline.

    Args:
        out: the run's folder of records, or a leaderboard's `.jsonl`.
        baseline: a leaderboard's `.csv` or `.jsonl`, or `REV:FILE` in a git revision.
        margin: smallest drop that counts as a regression (fraction).

    Returns:
        A verdict on every score. Without a baseline every score is new, and the exit code is NOT_COMPARABLE.

    Raises:
        UsageError: the run has no record, or an argument is invalid.
        RecordError: a file of the baseline is damaged.
    """
    try:
        LIMITS["margin"].check(margin)
    except ValueError as error:
        raise UsageError(f"--margin {error}, a fraction such as 0.005 for half a point") from None
    store = read_leaderboard(str(out)) if out.is_file() or out.name.endswith(JSONL) else OutputFolder(out)
    unreadable = unreadable_cells(out, store.problems)
    states = [summary.state for summary in store.columns.summaries]
    if set(states) <= {"smoke"} and not unreadable:
        raise UsageError(f"no record in {out} except smoke records; bench run --out {out} writes records")
    stored = read_baseline(baseline)
    checked = CheckRows(baseline=stored)
    for group in stored_groups(store):
        checked.add_stored_group(group)
    for record in store.records(at for at, state in enumerate(states) if state not in ("done", "smoke")):
        checked.add_unfinished(record)
    without_outcomes = stored.groups and not any(group.read().has_outcomes for group in stored.groups)
    return CheckReport(
        baseline=baseline,
        margin=margin,
        rows=tuple(_judge([*checked.rows, *checked.missing_rows, *unreadable], margin)),
        ignored=(*dict.fromkeys(checked.ignored_cells()), *checked.ignored_scores),
        failed=tuple(checked.failed),
        notes=(*stored.notes, *((NO_OUTCOMES,) if without_outcomes else ())),
        missing=stored.missing,
    )


def _judge(rows: Sequence[CheckRow], margin: float) -> list[CheckRow]:
    """The rows with verdicts; all comparisons are adjusted together."""
    comparisons = {index: row.comparison for index, row in enumerate(rows) if row.comparison is not None}
    verdicts = gate(list(comparisons.values()), margin=margin)
    adjusted = adjust(list(comparisons.values()))
    judged = list(rows)
    for index, comparison, verdict in zip(comparisons, adjusted, verdicts, strict=True):
        row = dataclasses.replace(rows[index], comparison=comparison)
        if verdict == "not testable":
            judged[index] = _judge_untestable(row, comparison, margin)
        else:
            judged[index] = dataclasses.replace(row, verdict=verdict)
    return judged


def _judge_untestable(row: CheckRow, comparison: Comparison, margin: float) -> CheckRow:
    """With one seed, only checkpoints are compared and nothing regresses; seeds without any spread cannot be tested."""
    if min(comparison.seeds) < 2:
        return dataclasses.replace(row, verdict="checkpoint only")
    if abs(comparison.difference) <= margin:
        return row
    remark = f"{row.remark}; {NO_SPREAD}".removeprefix("; ")
    return dataclasses.replace(row, verdict="not comparable", remark=remark)
