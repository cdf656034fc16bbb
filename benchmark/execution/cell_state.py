"""Compare a plan with an output folder: the state of each planned cell, and which cells have to run."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.api.cells import Cell, Json, State
from benchmark.errors import RecordError, UsageError
from benchmark.execution.plan import cell_folder
from benchmark.execution.request import Plan, PlannedCell
from benchmark.records import index
from benchmark.records.columns import NOT_APPLICABLE_KEY, Columns
from benchmark.records.earlier_folders import EarlierFolders
from benchmark.records.record import CHECKPOINT, KINDS, RECORD, Record
from benchmark.records.record_files import read_record
from benchmark.records.record_text import SchemaError

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


@dataclass(frozen=True, kw_only=True)
class PendingCell:
    """A planned cell with its state in the output folder."""

    planned: PlannedCell
    folder: str
    """Name of its folder in the output folder."""
    state: CellState
    detail: str = ""
    """Why it failed, which scores are missing, or which version changed."""
    retrain: bool = False
    """Whether a run starts with training: for finished cells and changed versions or providers, not changed protocols."""

    @property
    def cell(self) -> Cell:
        """The cell itself."""
        return self.planned.cell


_Assessment = tuple[CellState, str, bool]
"""state, detail, retrain"""


def survey(plan: Plan, out: Path) -> list[PendingCell]:
    """The state of each planned cell in an output folder. Nothing is changed.

    Raises:
        UsageError: a record has another schema version.
    """
    cells = []
    names = _folder_names(out)
    known = index.read_index(out)
    earlier = EarlierFolders(out, names)
    for planned in plan.cells:
        folder = cell_folder(planned.cell)
        if folder not in names:
            folder = earlier.find(folder, planned.cell.id) or folder
        position = known.position(folder) if folder in names else None
        state: _Assessment = ("new", "", False)
        if position is not None:
            state = _state_of(_evidence_of_summary(known.columns, position), planned)
        elif folder in names:
            state = _state_of_folder(planned, out / folder)
        cells.append(PendingCell(planned=planned, folder=folder, state=state[0], detail=state[1], retrain=state[2]))
    return cells


def cells_to_run(cells: Sequence[PendingCell], rerun: Rerun) -> list[PendingCell]:
    """The cells that have to run under a value of --rerun."""
    states = ALWAYS_RUN | RERUN[rerun]
    return [cell for cell in cells if cell.state in states]


def _folder_names(out: Path) -> set[str]:
    """The entries of the output folder, listed once: most cells of a large plan are not there."""
    try:
        with os.scandir(out) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _state_of_folder(planned: PlannedCell, folder: Path) -> _Assessment:
    """The state of a cell whose record the index does not hold."""
    if not (folder / RECORD).exists():
        interrupted = (folder / CHECKPOINT).exists()
        return ("interrupted", "has a checkpoint", False) if interrupted else ("new", "", False)
    try:
        record = read_record(folder)
    except SchemaError as error:
        raise UsageError(str(error)) from error
    except RecordError as error:
        return "unreadable", str(error), False
    return _state_of(_evidence_of_record(record), planned)


@dataclass(frozen=True, kw_only=True)
class _Evidence:
    """The part of a record that decides a cell's state."""

    id: str
    state: State
    reason: str
    """Why the cell failed."""
    trained: bool
    versions: Json
    """Kind -> version of its spec."""
    providers: Json
    """Kind -> distribution that provides it."""
    scored: Collection[tuple[str, ...]]
    """tap, pool, evaluator, protocol of each score."""
    not_applicable: Collection[tuple[str, ...]]
    """The same of each request that does not apply to the cell."""


def _evidence_of_record(record: Record) -> _Evidence:
    refused = record.checks.get("not_applicable", ())
    return _Evidence(
        id=record.id,
        state=record.state,
        reason=str((record.failure or {}).get("reason", "")),
        trained=record.trained,
        versions=record.provenance.get("versions", {}),
        providers={kind: record.cell.get(kind, {}).get("provider") for kind in KINDS},
        scored={score.key()[:4] for score in record.scores},
        not_applicable={tuple(each[key] for key in NOT_APPLICABLE_KEY) for each in refused},
    )


def _evidence_of_summary(columns: Columns, position: int) -> _Evidence:
    """The same of a record that the index holds."""
    summary = columns.summaries[position]
    return _Evidence(
        id=summary.id,
        state=summary.state,
        reason=summary.failure or "",
        trained=summary.trained,
        versions=summary.shared.spec_versions,
        providers=summary.shared.providers,
        scored={(key.tap, key.pool, key.evaluator, key.protocol) for key in columns.score_keys_of(position)},
        not_applicable=summary.not_applicable,
    )


def _state_of(evidence: _Evidence, planned: PlannedCell) -> _Assessment:
    if evidence.id != planned.cell.id:
        return "unreadable", f"holds the record of another cell, {evidence.id[:10]}", False
    changed = _changes(evidence, planned.cell)
    if changed and evidence.scored:
        return "stale", changed, True
    retrain = bool(changed)  # without scores there is nothing to keep
    if evidence.state == "failed":
        return "failed", evidence.reason, retrain
    if evidence.state == "interrupted":
        return "interrupted", "trained, not scored" if evidence.trained else "", retrain
    keyed = (((each.tap, each.pool, each.evaluator.label, each.protocol), each) for each in planned.scores)
    missing = [each for key, each in keyed if key not in evidence.scored and key not in evidence.not_applicable]
    if not missing:
        return "done", "", True
    scored = {key[:3] for key in evidence.scored}
    stale = sorted({each.protocol for each in missing if (each.tap, each.pool, each.evaluator.label) in scored})
    if stale:
        return "stale", f"scored under another protocol than {', '.join(stale)}", False
    return "scores missing", ", ".join(f"{each.evaluator.label} at {each.tap}" for each in missing), retrain


def _changes(evidence: _Evidence, cell: Cell) -> str:
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
