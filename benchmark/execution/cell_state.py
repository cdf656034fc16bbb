"""The state of each planned cell in an output folder."""

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
from benchmark.records.columns import REFUSAL, Columns
from benchmark.records.record import CHECKPOINT, RECORD, Record, SchemaError, read_record

Rerun = Literal["none", "failed", "stale", "all"]
CellState = Literal["new", "done", "failed", "interrupted", "scores missing", "stale", "unreadable"]
NEW: tuple[CellState, str, bool] = ("new", "", False)
"""What is said of a cell that has left nothing."""


@dataclass(frozen=True, kw_only=True)
class PendingCell:
    """A planned cell with what the output folder has of it."""

    planned: PlannedCell
    folder: str
    standing: CellState
    detail: str = ""
    """Why it failed, what is missing, which version changed."""
    retrain: bool = False
    """Whether doing it again starts with training: finished cells, other versions and providers, not other protocols."""

    @property
    def cell(self) -> Cell:
        """The cell itself."""
        return self.planned.cell


def survey(plan: Plan, out: Path) -> list[PendingCell]:
    """What the output folder has of each planned cell; nothing is changed.

    Raises:
        RecordError: a record of another schema version is in the way.
    """
    errands = []
    there = _folder_names(out)
    known = index.opened(out)
    for planned in plan.cells:
        folder = cell_folder(planned.cell)
        place = known.place(folder) if folder in there else None
        if place is not None:
            standing, detail, retrain = _state_of(_of_summary(known.columns, place), planned)
        else:
            standing, detail, retrain = _cell_state(planned, out / folder) if folder in there else NEW
        errands.append(PendingCell(planned=planned, folder=folder, standing=standing, detail=detail, retrain=retrain))
    return errands


def _folder_names(out: Path) -> set[str]:
    """What is in the output folder, asked for once: most cells of a large plan are not there."""
    try:
        with os.scandir(out) as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def cells_to_run(errands: Sequence[PendingCell], rerun: Rerun) -> list[PendingCell]:
    """Those that have to run: finished cells are left out, stale ones are kept unless they were asked for."""
    always: set[CellState] = {"new", "interrupted", "scores missing", "unreadable"}
    more: Mapping[Rerun, set[CellState]] = {
        "none": set(),
        "failed": {"failed"},
        "stale": {"failed", "stale"},
        "all": {"failed", "stale", "done"},
    }
    wanted = always | more[rerun]
    return [errand for errand in errands if errand.standing in wanted]


def _cell_state(planned: PlannedCell, folder: Path) -> tuple[CellState, str, bool]:
    """(standing, detail, retrain)."""
    if not (folder / RECORD).exists():
        interrupted = (folder / CHECKPOINT).exists()
        return ("interrupted", "has a checkpoint", False) if interrupted else ("new", "", False)
    try:
        record = read_record(folder)
    except SchemaError as error:
        raise UsageError(str(error)) from error
    except RecordError as error:
        return "unreadable", str(error), False
    return _state_of(_of_record(record), planned)


@dataclass(frozen=True, kw_only=True)
class _Remains:
    """What a standing follows from, of what a cell has left."""

    state: State
    reason: str
    """Why it failed."""
    trained: bool
    versions: Json
    """Kind -> version."""
    providers: Json
    """Kind -> distribution."""
    scored: Collection[tuple[str, ...]]
    """Tap, pool, evaluator, protocol of its scores."""
    refused: Collection[tuple[str, ...]]
    """Of those that make no sense for it."""


def _of_record(record: Record) -> _Remains:
    return _Remains(
        state=record.state,
        reason=str((record.failure or {}).get("reason", "")),
        trained=record.trained,
        versions=record.provenance.get("versions", {}),
        providers={kind: record.cell.get(kind, {}).get("provider") for kind in ("method", "encoder", "dataset")},
        scored={score.key()[:4] for score in record.scores},
        refused={tuple(each[key] for key in REFUSAL) for each in record.checks.get("not_applicable", ())},
    )


def _of_summary(columns: Columns, place: int) -> _Remains:
    """The same, of a record that the index knows."""
    brief = columns.briefs[place]
    return _Remains(
        state=brief.state,
        reason=brief.failure or "",
        trained=brief.trained,
        versions=brief.common.spec_versions,
        providers=brief.common.providers,
        scored={(kind.tap, kind.pool, kind.evaluator, kind.protocol) for kind in columns.kinds_of(place)},
        refused=brief.refused,
    )


def _state_of(left: _Remains, planned: PlannedCell) -> tuple[CellState, str, bool]:
    changed = _changed(left, planned.cell)
    if changed and left.scored:
        return "stale", changed, True
    retrain = bool(changed)  # no score rests on it, so there is nothing to keep
    if left.state == "failed":
        return "failed", left.reason, retrain
    if left.state == "interrupted":
        return "interrupted", "trained, not scored" if left.trained else "", retrain
    keyed = (((each.tap, each.pool, each.evaluator.label, each.protocol), each) for each in planned.scores)
    missing = [request for key, request in keyed if key not in left.scored and key not in left.refused]
    if not missing:
        return "done", "", True
    have = {key[:3] for key in left.scored}
    stale = sorted({m.protocol for m in missing if (m.tap, m.pool, m.evaluator.label) in have})
    if stale:
        return "stale", f"scored under another protocol than {', '.join(stale)}", False
    return "scores missing", ", ".join(f"{m.evaluator.label} at {m.tap}" for m in missing), retrain


def _changed(left: _Remains, cell: Cell) -> str:
    """Laws and providers that are others than the record's, in words."""
    now = {"method": cell.method, "encoder": cell.encoder, "dataset": cell.dataset}
    words = [
        f"{kind} {item.label} had version {left.versions[kind]}, now {item.version}"
        for kind, item in now.items()
        if kind in left.versions and left.versions[kind] != item.version
    ]
    words += [
        f"{kind} {item.label} was given by {left.providers[kind]}, now by {item.provider}"
        for kind, item in now.items()
        if left.providers[kind] and item.provider and left.providers[kind] != item.provider
    ]
    return ", ".join(words)
