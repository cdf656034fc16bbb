"""The file of an active run in its output folder. `bench status` reads the waiting cells from it.

It names the process, its slots and the cells that it will run. Locks show which of them are running now. A file whose process
has died is removed by the next run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.index import Stamp
from benchmark.records.locks import Owner, current_process
from benchmark.records.stored_file import read_regular

RUNS = ".runs"
"""The folder of these files, in the output folder."""
TRIES = 3
"""Number of attempts to write a file. Another run that ends may remove the empty folder before a write."""


@dataclass(frozen=True, kw_only=True)
class QueuedCell:
    """A cell that a run will execute."""

    id: str
    folder: str
    """Name of its folder in the output folder."""
    title: str
    seconds: float | None
    """Estimate from past records; None if there are none."""
    stamp: Stamp | None
    """State of the record's file when the run started. While it is unchanged, the cell has not run again."""


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """One run."""

    owner: Owner
    since: float
    """Seconds since 1970 by the owner's clock: shown, never compared."""
    slots: int
    """Cells at once, on all its devices together."""
    cells: tuple[QueuedCell, ...]

    @property
    def name(self) -> str:
        """`host:pid`."""
        return f"{self.owner.host}:{self.owner.pid}"


@contextlib.contextmanager
def announce(out: Path, slots: int, cells: Sequence[QueuedCell]) -> Iterator[None]:
    """Keeps the file of this process inside the block. If it cannot be written, the run continues without it."""
    run = RunFile(owner=current_process(), since=time.time(), slots=slots, cells=tuple(cells))
    path = out / RUNS / _file_name(run.owner)
    _remove_dead(out)
    try:
        _write(path, json.dumps(msgspec.to_builtins(run)).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()  # fails while another run has a file there


def read_runs(out: Path) -> list[RunFile]:
    """The runs on an output folder, also those whose process has died; the oldest first."""
    runs = (_read(path) for path in sorted((out / RUNS).glob("*.json")))
    return sorted((run for run in runs if run is not None), key=lambda run: run.since)


def _file_name(owner: Owner) -> str:
    """Containers may share a host name and the numbers of their processes."""
    unique = hashlib.sha256(repr(owner).encode()).hexdigest()[:8]
    return f"{owner.host}-{owner.pid}-{unique}.json"


def _write(path: Path, text: bytes) -> None:
    for _ in range(TRIES):
        with contextlib.suppress(RecordError):
            with replaced(path, synced=False) as file:
                file.write(text)
            return


def _read(path: Path) -> RunFile | None:
    try:
        return msgspec.convert(json.loads(read_regular(path)), RunFile)
    except (OSError, RecordError, ValueError, RecursionError, msgspec.ValidationError):
        return None  # the run has ended meanwhile, or the file is damaged


def _remove_dead(out: Path) -> None:
    """Removes the files of processes of this machine that have died."""
    for path in (out / RUNS).glob("*.json"):
        run = _read(path)
        if run is not None and run.owner.seems_gone():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
