"""The result of a run: the records of the request's cells, what is missing, what failed, and lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.api.cells import Outcome
from benchmark.execution.cell_state import PendingCell
from benchmark.execution.request import Plan, Skip
from benchmark.execution.runner import BY_ANOTHER
from benchmark.records import index
from benchmark.records.columns import Columns
from benchmark.records.record import Record
from benchmark.records.record_files import read_record
from benchmark.reports.table import MissingCell


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of a run."""

    out: Path
    """The output folder."""
    scores: Columns
    """The request's cells that have scores, in their order."""
    missing: tuple[MissingCell, ...]
    """The request's cells that have none, and skipped combinations, each with the reason."""
    failed: tuple[Outcome, ...]
    """Cells that failed in this run."""
    summary: tuple[str, ...]
    """Lines for people: how many cells are done, skipped or failed, and what was left out and why."""
    problem: str = ""
    """Why scores.csv could not be written; the record of every finished cell is complete."""

    @property
    def records(self) -> tuple[Record, ...]:
        """The whole records of these cells."""
        return tuple(read_record(self.out / summary.folder) for summary in self.scores.summaries)


def result_of(
    plan: Plan, cells: Sequence[PendingCell], run: Sequence[PendingCell], outcomes: Sequence[Outcome], scores: Path
) -> RunResult:
    """Reads the scores back after a run.

    Args:
        plan: the plan of the request.
        cells: all planned cells, in their state before the run.
        run: those of them that were run.
        outcomes: how they ended.
        scores: path of scores.csv, which lies in the output folder.
    """
    out = scores.parent
    columns, _ = index.read(out)
    positions = {summary.folder: at for at, summary in enumerate(columns.summaries) if columns.score_counts[at]}
    failed = {outcome.cell_id: outcome for outcome in outcomes if outcome.state == "failed"}
    missing = [_missing(cell, failed.get(cell.cell.id)) for cell in cells if cell.folder not in positions]
    missing += [_skipped(skip) for skip in plan.skips]
    scored = columns.take([positions[cell.folder] for cell in cells if cell.folder in positions])
    summary = (
        _counts(plan, cells, run, outcomes, scores),
        *_other_runs(outcomes),
        *(f"failed: {outcome.folder}: {outcome.reason}" for outcome in failed.values()),
        *_kept(cells, run),
        *(f"skipped: {skip.title}: {skip.reason}" for skip in plan.skips),
        *(f"skipped: {note}" for note in dict.fromkeys(note for each in plan.cells for note in each.notes)),
        *_not_applicable(scored, out),
    )
    return RunResult(out=out, scores=scored, missing=tuple(missing), failed=tuple(failed.values()), summary=summary)


def _missing(pending: PendingCell, outcome: Outcome | None) -> MissingCell:
    cell = pending.cell
    reason = f"{pending.state}: {pending.detail}".rstrip(": ") if outcome is None else f"failed: {outcome.reason}"
    return MissingCell(
        method=cell.method.label, encoder=cell.encoder.label, dataset=cell.dataset.label, seed=cell.seed, reason=reason
    )


def _skipped(skip: Skip) -> MissingCell:
    method, encoder, dataset = skip.combination or (skip.title, "-", "-")
    return MissingCell(method=method, encoder=encoder, dataset=dataset, seed=None, reason=f"skipped: {skip.reason}")


def _counts(
    plan: Plan, cells: Sequence[PendingCell], run: Sequence[PendingCell], outcomes: Sequence[Outcome], scores: Path
) -> str:
    failed = sum(outcome.state == "failed" for outcome in outcomes)
    done = len(outcomes) - failed - _by_another(outcomes)
    earlier = sum(cell.state == "done" for cell in cells) - sum(cell.state == "done" for cell in run)
    return f"cells: {done} done, {earlier} finished before, {failed} failed, {len(plan.skips)} skipped; {scores}"


def _by_another(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.state != "failed" and BY_ANOTHER in outcome.reason for outcome in outcomes)


def _other_runs(outcomes: Sequence[Outcome]) -> Iterator[str]:
    if count := _by_another(outcomes):
        yield f"cells done by another run: {count}"


def _kept(cells: Sequence[PendingCell], run: Sequence[PendingCell]) -> Iterator[str]:
    """Stale and failed cells that this run did not touch, with the option that runs them."""
    ran = {cell.cell.id for cell in run}
    for cell in cells:
        if cell.cell.id not in ran and cell.state in ("stale", "failed"):
            yield f"{cell.state}, kept (--rerun {cell.state} runs it again): {cell.folder}: {cell.detail}"


def _not_applicable(columns: Columns, out: Path) -> Iterator[str]:
    """The requests that do not apply to a cell; the reasons are read from the records that have one."""
    for summary in columns.summaries:
        checks = read_record(out / summary.folder).checks if summary.not_applicable else {}
        for each in checks.get("not_applicable", ()):
            method, encoder, _ = summary.labels
            yield f"not applicable: {each['evaluator']} of {method} / {encoder} at {each['tap']}: {each['reason']}"
