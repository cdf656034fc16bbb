"""What a run says of itself while it goes on: one small file in its output folder, gone when it ends.

It names the process, its slots and the cells that it will do, so that another terminal can tell what is still waiting. Which
cells are being done is told by their claims. A file whose process has died is left to the next run to clear away.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.index import Stamp
from benchmark.records.locks import Owner, current_process

RUNS = ".runs"
"""Folder of these files, in the output folder."""
TRIES = 3
"""Another run that ends may take the folder away, empty, just before a file comes into it."""


@dataclass(frozen=True, kw_only=True)
class QueuedCell:
    """A cell that a run will do."""

    id: str
    folder: str
    """Its name in the output folder."""
    title: str
    seconds: float | None
    """As past records have it; None where they say nothing."""
    stamp: Stamp | None
    """Of the record that the run found there: as long as it stands, the cell has not been done again."""


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """What one run says."""

    owner: Owner
    since: float
    """Seconds since 1970, by the owner's clock: shown, never compared."""
    slots: int
    """Cells at once, on all its devices together."""
    cells: tuple[QueuedCell, ...]

    @property
    def name(self) -> str:
        """`host:pid`."""
        return f"{self.owner.host}:{self.owner.pid}"


@contextlib.contextmanager
def announce(out: Path, slots: int, cells: Sequence[QueuedCell]) -> Iterator[None]:
    """The file of this process, as long as something is done. Where it cannot be written, it is done without."""
    run = RunFile(owner=current_process(), since=time.time(), slots=slots, cells=tuple(cells))
    path = out / RUNS / f"{run.owner.host}-{run.owner.pid}.json"
    _clear(out)
    try:
        _write(path, json.dumps(_as_json(run)).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()  # refused as long as another run has a file there


def read_runs(out: Path) -> list[RunFile]:
    """What runs on an output folder say of themselves, those that died without a word included; first come first."""
    runs = (_read(path) for path in sorted((out / RUNS).glob("*.json")))
    return sorted((run for run in runs if run is not None), key=lambda run: run.since)


def _write(path: Path, text: bytes) -> None:
    for _ in range(TRIES):
        with contextlib.suppress(RecordError):
            with replaced(path, synced=False) as file:
                file.write(text)
            return


def _as_json(run: RunFile) -> dict[str, object]:
    cells = [vars(cell) for cell in run.cells]  # asdict would go through a hundred thousand of them field by field
    return {"owner": asdict(run.owner), "since": run.since, "slots": run.slots, "cells": cells}


def _read(path: Path) -> RunFile | None:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        cells = tuple(
            QueuedCell(**{**cell, "stamp": cell["stamp"] and Stamp(*cell["stamp"])}) for cell in body["cells"]
        )
        return RunFile(**{**body, "owner": Owner(**body["owner"]), "cells": cells})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # its run has ended meanwhile, or it is not whole: what it would tell is seen from records as well


def _clear(out: Path) -> None:
    """Takes away the files of this machine's processes that are gone."""
    for run in read_runs(out):
        if run.owner.is_gone():
            with contextlib.suppress(OSError):
                (out / RUNS / f"{run.owner.host}-{run.owner.pid}.json").unlink(missing_ok=True)
