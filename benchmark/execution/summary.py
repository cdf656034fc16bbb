"""What there is to say after a run: the records that were asked for, what is missing and why, and lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.api.cells import Outcome
from benchmark.errors import RecordError
from benchmark.execution import cell_state, runner
from benchmark.execution.request import Plan, Skip
from benchmark.records.record import Record, read_record
from benchmark.reports.table import MissingCell


@dataclass(frozen=True, kw_only=True)
class Result:
    """What there is after a run."""

    records: tuple[Record, ...]
    """Of the request's cells, those that have scores."""
    missing: tuple[MissingCell, ...]
    """Of the request's cells, those that have none, with the reason."""
    failed: tuple[Outcome, ...]
    summary: tuple[str, ...]
    """Lines for people: how many were done, skipped, failed; what was left out and why."""
    problem: str = ""
    """Why the CSV of all scores could not be written; every finished cell's own record is whole."""


def result_of(
    found: Plan,
    errands: Sequence[cell_state.PendingCell],
    todo: Sequence[cell_state.PendingCell],
    outcomes: Sequence[Outcome],
    scores: Path,
) -> Result:
    """What is read back once all is done; `scores` is the CSV, next to the cells' folders."""
    records, missing = [], []
    failed = {outcome.cell_id: outcome for outcome in outcomes if outcome.state == "failed"}
    for errand in errands:
        record = _readable(scores.parent / errand.folder)
        if record is not None and record.scores:
            records.append(record)
        else:
            missing.append(_missing(errand, failed))
    missing += [_skipped(skip) for skip in found.skips]
    return Result(
        records=tuple(records),
        missing=tuple(missing),
        failed=tuple(failed.values()),
        summary=(*_summary(found, errands, todo, outcomes, scores), *_refused(records)),
    )


def _readable(folder: Path) -> Record | None:
    try:
        return read_record(folder)
    except RecordError:
        return None


def _missing(errand: cell_state.PendingCell, failed: dict[str, Outcome]) -> MissingCell:
    cell = errand.cell
    outcome = failed.get(cell.id)
    reason = f"failed: {outcome.reason}" if outcome else f"{errand.standing}: {errand.detail}".rstrip(": ")
    return MissingCell(
        method=cell.method.label, encoder=cell.encoder.label, dataset=cell.dataset.label, seed=cell.seed, reason=reason
    )


def _skipped(skip: Skip) -> MissingCell:
    method, encoder, dataset = skip.combination or (skip.title, "-", "-")
    return MissingCell(method=method, encoder=encoder, dataset=dataset, seed=None, reason=f"skipped: {skip.reason}")


def _refused(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        for refused in record.checks.get("not_applicable", ()):
            where = f"{record.cell['method']['label']} / {record.cell['encoder']['label']} at {refused['tap']}"
            yield f"left out: {refused['evaluator']} of {where}: {refused['reason']}"


def _summary(
    found: Plan,
    errands: Sequence[cell_state.PendingCell],
    todo: Sequence[cell_state.PendingCell],
    outcomes: Sequence[Outcome],
    scores: Path,
) -> Iterator[str]:
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    others = sum(outcome.state != "failed" and runner.BY_ANOTHER in outcome.reason for outcome in outcomes)
    done = len(outcomes) - len(failed) - others
    kept = sum(errand.standing == "done" for errand in errands) - sum(errand.standing == "done" for errand in todo)
    yield f"{done} cells done, {kept} finished before, {len(failed)} failed, {len(found.skips)} skipped; {scores}"
    if others:
        yield f"{others} cells done by another run"
    for outcome in failed:
        yield f"failed: {outcome.folder}: {outcome.reason}"
    asked = {errand.cell.id for errand in todo}
    for errand in errands:
        if errand.cell.id not in asked and errand.standing in ("stale", "failed"):
            how = "--rerun stale" if errand.standing == "stale" else "--rerun failed"
            yield f"{errand.standing}, left as it is ({how}): {errand.folder}: {errand.detail}"
    for skip in found.skips:
        yield f"skipped: {skip.title}: {skip.reason}"
    for note in dict.fromkeys(note for planned in found.cells for note in planned.notes):
        yield f"skipped: {note}"
