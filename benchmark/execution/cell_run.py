"""The values that the stages of one cell share: what to run, where, and what it is doing now."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Cell, Item, Job, Json
from benchmark.errors import RecordError
from benchmark.evaluation.trained_encoder import entry_of
from benchmark.execution.cell_folder import CellFolder
from benchmark.execution.provenance import provenance
from benchmark.plain_text import shortened
from benchmark.progress import Event, Reporter
from benchmark.records.record import RECORD, Record
from benchmark.records.record_files import has_record, read_record, set_aside
from benchmark.records.record_text import LaterSchemaError
from benchmark.training.out_of_memory import FailedTraining
from benchmark.training.stop import StopRequest


@dataclass(kw_only=True)
class CellProgress:
    """What a cell is doing now: reported to the user, and named in the record if it fails."""

    title: str
    reporter: Reporter
    stage: str = "prepare"
    training: FailedTraining | None = None
    """The training in progress; the out-of-memory report describes it."""
    written: float = field(default_factory=time.monotonic)
    """When scores were last written, by the monotonic clock; at first, when the cell started."""

    def enter(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Starts a stage, or the next step of one."""
        self.stage = stage
        self.reporter(Event(kind="stage", cell=self.title, stage=stage, done=done, total=total))

    def note(self, text: str) -> None:
        """Reports something that the user should know."""
        self.reporter(Event(kind="note", cell=self.title, text=shortened(text)))


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """One job with everything that its stages need."""

    job: Job
    device: torch.device
    catalog: Catalog
    folder: CellFolder
    progress: CellProgress
    threads: int
    """CPU threads. Training resumes with those of its checkpoint, since another number gives other sums."""
    sources: Json
    """Fingerprints of the code that trains: as it was when the training began, which a checkpoint knows."""
    checkpoint_key: str
    """A checkpoint of another key is not resumed: it belongs to another cell or version."""
    stop: StopRequest | None
    """Asks the training to write a checkpoint and stop; None: no stop can be requested."""

    @property
    def cell(self) -> Cell:
        """The job's cell."""
        return self.job.cell

    def spec(self, kind: str, singular: str, item: Item) -> Any:
        """The spec of an item of the cell, from the provider that the plan chose."""
        return entry_of(self.catalog, kind, singular, item).spec

    def provenance(self) -> Json:
        """The conditions of this run, as its record holds them."""
        return provenance(self.cell, self.catalog, self.device, self.threads, self.sources)

    def stored_record(self) -> Record | None:
        """The record of an earlier run; None if there is none. A damaged one is renamed, which is reported.

        Raises:
            RecordError: another version of repbench wrote it, or it is of another cell. It is left untouched.
        """
        path = self.folder.path
        if not has_record(str(path)):
            return None
        try:
            record = read_record(path)
        except LaterSchemaError:
            raise
        except RecordError:
            renamed = set_aside(path)
            self.progress.note(f"renamed an unreadable record to {renamed.name}")
            return None
        if record.id != self.cell.id:
            raise RecordError(
                f"{path / RECORD} is the record of another cell, {record.name} ({record.short_id}); was the folder "
                f"renamed? Give it its own name again, or move {RECORD} out of it, and run again"
            )
        return record
