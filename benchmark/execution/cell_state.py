"""Compare a plan with an output folder: the state of each planned cell, and which cells have to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmark.api.cells import Cell
from benchmark.api.source_code import InstalledCode
from benchmark.errors import RecordError, UsageError
from benchmark.execution.cell_evidence import Evidence, evidence_of_record, evidence_of_summary
from benchmark.execution.plan import cell_folder, distinct_folder
from benchmark.execution.request import Plan, PlannedCell
from benchmark.records import index, marks
from benchmark.records.changed_files import changed_files
from benchmark.records.earlier_folders import EarlierFolders
from benchmark.records.record import CHECKPOINT, Record
from benchmark.records.record_files import folder_names, has_record, log_left_out, read_record
from benchmark.records.record_text import LaterSchemaError

Rerun = Literal["none", "failed", "stale", "all"]
CellState = Literal["new", "done", "failed", "interrupted", "scores missing", "stale", "unreadable"]
ALWAYS_RUN: frozenset[CellState] = frozenset({"new", "interrupted", "scores missing", "unreadable"})
RERUN: Mapping[Rerun, frozenset[CellState]] = {
    "none": frozenset(),
    "failed": frozenset({"failed"}),
    "stale": frozenset({"failed", "stale"}),
    "all": frozenset({"failed", "stale", "done"}),
}
"""Value of --rerun -> states that run again in addition to `ALWAYS_RUN`."""
TRAINED_AGAIN: frozenset[CellState] = frozenset({"done", "stale", "failed", "scores missing"})
"""States of cells that `--rerun all` trains again. An interrupted cell resumes."""


@dataclass(frozen=True, kw_only=True)
class PendingCell:
    """A planned cell with its state in the output folder."""

    planned: PlannedCell
    folder: str
    """Name of its folder in the output folder."""
    state: CellState
    detail: str = ""
    """Why it failed, which scores are missing, and what has changed since."""
    retrain: bool = False
    """Whether a run starts with training: for finished cells and changed versions or providers, not changed protocols."""
    outdated: bool = False
    """Whether the code that trained it, or a stored file, has changed since: `--rerun stale` trains it again."""
    rescore: tuple[str, ...] = ()
    """Labels of the requested evaluators whose code has changed since: `--rerun stale` computes their scores again."""

    @property
    def cell(self) -> Cell:
        """The cell itself."""
        return self.planned.cell


def survey(plan: Plan, out: Path) -> list[PendingCell]:
    """The state of each planned cell in an output folder. Nothing is changed.

    Raises:
        UsageError: a record has a later schema version.
        RecordError: the output folder cannot be read.
    """
    names = set(folder_names(out))  # listed once: most cells of a large plan are not there
    known = index.read_index(out)
    earlier = EarlierFolders(out, names)
    cells: list[PendingCell] = []
    recorded: dict[int, Evidence] = {}
    for planned in plan.cells:
        folder = cell_folder(planned.cell)
        if folder not in names:
            folder = earlier.find(folder, planned.cell.id) or folder
        if folder in names and _dataset_label(known, out, folder) not in (None, planned.cell.dataset.label):
            folder = distinct_folder(planned.cell)
        cell = PendingCell(planned=planned, folder=folder, state="new")
        position = known.position(folder) if folder in names else None
        if position is not None:
            recorded[len(cells)] = evidence_of_summary(known.columns, position)
        elif folder in names:
            cell, record = _read(cell, out / folder)
            if record is not None:
                recorded[len(cells)] = evidence_of_record(record)
        cells.append(cell)
    changed = changed_files((each.stored(cells[number].folder) for number, each in recorded.items()), out)
    installed = InstalledCode()
    for number, evidence in recorded.items():
        cell = _with_state(cells[number], evidence)
        cells[number] = _with_changes(cell, evidence, installed, changed.get(cell.folder, ()))
    return cells


def _dataset_label(known: index.Index, out: Path, folder: str) -> str | None:
    """The label of the dataset in a record; None if there is no record that can be read."""
    position = known.position(folder)
    if position is not None:
        return known.columns.summaries[position].labels[2]
    try:
        return read_record(out / folder).labels[2] if has_record(str(out / folder)) else None
    except RecordError:
        return None


def cells_to_run(cells: Sequence[PendingCell], rerun: Rerun) -> list[PendingCell]:
    """The cells that have to run under a value of --rerun, with what has to be done again."""
    states = ALWAYS_RUN | RERUN[rerun]
    return [_under(rerun, cell) for cell in cells if cell.state in states]


def _under(rerun: Rerun, cell: PendingCell) -> PendingCell:
    """A cell with what has to be done again under a value of --rerun."""
    again = rerun in ("stale", "all")
    retrain = cell.retrain or (again and cell.outdated) or (rerun == "all" and cell.state in TRAINED_AGAIN)
    rescore = cell.rescore if again else ()
    if (retrain, rescore) == (cell.retrain, cell.rescore):
        return cell  # most cells of a large plan
    return replace(cell, retrain=retrain, rescore=rescore)


def _read(cell: PendingCell, folder: Path) -> tuple[PendingCell, Record | None]:
    """A cell whose record the index does not hold, and its record, if there is one that can be read."""
    if not has_record(str(folder)):
        interrupted = (folder / CHECKPOINT).exists()
        return (replace(cell, state="interrupted", detail="has a checkpoint") if interrupted else cell), None
    try:
        return cell, read_record(folder)
    except LaterSchemaError as error:
        raise UsageError(str(error)) from error
    except RecordError as error:
        log_left_out([str(error)])
        return replace(cell, state="unreadable", detail=str(error)), None


# --- from one record --------------------------------------------------------------------------------------------------


def _with_state(pending: PendingCell, evidence: Evidence) -> PendingCell:
    """A cell with the state that follows from its record."""
    if evidence.id != pending.cell.id:
        return replace(pending, state="unreadable", detail=f"holds the record of another cell, {evidence.id[:10]}")
    changed = _changed_versions(evidence, pending.cell)
    if changed and evidence.scored:
        return replace(pending, state="stale", detail=changed, retrain=True)
    pending = replace(pending, retrain=bool(changed))  # without scores there is nothing to keep
    if evidence.state == "failed":
        return replace(pending, state="failed", detail=evidence.reason)
    if evidence.state == "interrupted":
        return replace(pending, state="interrupted", detail="trained, not scored" if evidence.trained else "")
    keyed = (((each.tap, each.pool, each.evaluator.label, each.protocol), each) for each in pending.planned.scores)
    missing = [each for key, each in keyed if key not in evidence.scored and key not in evidence.not_applicable]
    if not missing:
        return replace(pending, state="done", retrain=True)
    scored = {key[:3] for key in evidence.scored}
    stale = sorted({each.protocol for each in missing if (each.tap, each.pool, each.evaluator.label) in scored})
    if stale:
        detail = f"scored under another protocol than {', '.join(stale)}"
        return replace(pending, state="stale", detail=detail, retrain=False)
    detail = ", ".join(f"{each.evaluator.label} at {each.tap}" for each in missing)
    return replace(pending, state="scores missing", detail=detail)


def _changed_versions(evidence: Evidence, cell: Cell) -> str:
    """The versions and providers that differ from those of the record, as text."""
    installed = {"method": cell.method, "encoder": cell.encoder, "dataset": cell.dataset}
    versions, providers = evidence.versions, evidence.providers
    changes = [
        f"{kind} {item.label} had version {versions[kind]}, now {item.version}"
        for kind, item in installed.items()
        if kind in versions and versions[kind] != item.version
    ]
    changes += [
        f"{kind} {item.label} came from {providers[kind]}, now from {item.provider}"
        for kind, item in installed.items()
        if providers[kind] and item.provider and providers[kind] != item.provider
    ]
    return ", ".join(changes)


def _with_changes(
    pending: PendingCell, evidence: Evidence, installed: InstalledCode, files: Sequence[str]
) -> PendingCell:
    """A cell with what has changed since its record was written, although no version was raised.

    A finished cell becomes stale. Further scores are computed nevertheless: only a version says that numbers differ.
    """
    if pending.state in ("failed", "unreadable") or not evidence.trained:
        return replace(pending, outdated=bool(files))
    requested = {each.evaluator.label for each in pending.planned.scores}
    rescore = tuple(each for each in marks.changed_evaluators(evidence.sources, installed) if each in requested)
    outdated = bool(files) or bool(marks.changed_kinds(evidence.sources, installed))
    stale = pending.state == "done" and (outdated or bool(rescore))
    changes = [f"{name} {detail}".strip() for name, detail in marks.code_changes(evidence.sources, installed)]
    changes += [marks.OF_FILE[name][0] for name in files] + evidence.unverified
    return replace(
        pending,
        state="stale" if stale else pending.state,
        detail="; ".join(text for text in (pending.detail, *changes) if text),
        retrain=outdated if stale else pending.retrain,
        outdated=outdated,
        rescore=rescore,
    )
