"""The status of an output folder: what is running, waiting, done and failed, and the time left.

It is read from files only: locks show what is running, run files what is waiting, records everything else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.execution.estimates import on_slots
from benchmark.execution.run_files import QueuedCell, RunFile, read_runs
from benchmark.records import index, marks
from benchmark.records.columns import RecordSummary
from benchmark.records.locks import HEARTBEAT_SECONDS, LockInfo, read_lock
from benchmark.records.record import CHECKPOINT
from benchmark.records.record_files import folder_names


@dataclass(frozen=True, kw_only=True)
class RunningCell:
    """A cell that is locked."""

    folder: str
    """Name of its folder in the output folder."""
    lock: LockInfo
    abandoned: bool
    """Whether the process has died. The next run takes the cell over."""
    expected: float | None
    """Seconds in total, estimated from past records; None without any."""

    @property
    def seconds_left(self) -> float | None:
        """Estimate. The time so far is counted in heartbeats, since clocks of two machines may differ."""
        return None if self.expected is None else max(0.0, self.expected - self.lock.heartbeat * HEARTBEAT_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Status:
    """An output folder at one moment. Each cell counts once: as running, else as waiting, else by its record."""

    out: Path
    running: tuple[RunningCell, ...]
    waiting: tuple[QueuedCell, ...]
    done: int
    smoke: int
    failed: Mapping[str, str]
    """Folder -> reason."""
    interrupted: tuple[str, ...]
    """Folders of cells with a checkpoint or weights, but without scores."""
    runs: tuple[RunFile, ...]
    """Runs that are alive, or that are on another machine."""
    dead_runs: tuple[RunFile, ...]
    """Runs whose process has died."""
    changed: int
    """Finished cells whose plugin code or weights file has changed since."""
    problems: tuple[str, ...]
    """One message for each record that cannot be read."""

    @property
    def slots(self) -> int:
        """Cells at once, over all runs."""
        return sum(run.slots for run in self.runs)

    @property
    def estimates(self) -> list[float | None]:
        """Seconds left of each running or waiting cell; None without an estimate."""
        running = [each.seconds_left for each in self.running if not each.abandoned]
        return [*running, *(cell.seconds for cell in self.waiting)]

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all cells with an estimate are done; None if there are none."""
        known = [seconds for seconds in self.estimates if seconds is not None]
        return on_slots(known, max(1, self.slots)) if known else None


def read_status(out: Path) -> Status:
    """The status of an output folder now."""
    runs = read_runs(out)
    alive = [run for run in runs if not run.owner.seems_gone()]
    queued = {cell.folder: cell for run in alive for cell in run.cells}
    columns, problems = index.read(out)
    columns = marks.marked(columns, out)
    summaries = {summary.folder: summary for summary in columns.summaries}
    names = _folder_names(out)
    running = _running(out, names, queued, summaries)
    busy = {each.folder for each in running if not each.abandoned}
    waiting = {
        name: cell for name, cell in queued.items() if name not in busy and _is_waiting(out, cell, summaries.get(name))
    }
    others = [summary for name, summary in summaries.items() if name not in busy and name not in waiting]
    interrupted = {name for name in names if name not in summaries and (out / name / CHECKPOINT).exists()}
    interrupted |= {summary.folder for summary in others if summary.state == "interrupted"}
    return Status(
        out=out,
        running=tuple(running),
        waiting=tuple(waiting.values()),
        done=sum(summary.state == "done" for summary in others),
        smoke=sum(summary.state == "smoke" for summary in others),
        failed={each.folder: " ".join((each.failure or "").split()) for each in others if each.state == "failed"},
        interrupted=tuple(sorted(interrupted - busy - set(waiting))),
        runs=tuple(alive),
        dead_runs=tuple(run for run in runs if run not in alive),
        changed=sum(any(name in marks.OUTDATED for name, _ in each.caveats) for each in others if each.state == "done"),
        problems=tuple(problems),
    )


def _folder_names(out: Path) -> list[str]:
    return [name for name in folder_names(out) if os.path.isdir(f"{out}/{name}")]  # noqa: PTH112  # False for a link loop


def _running(
    out: Path, names: Sequence[str], queued: Mapping[str, QueuedCell], summaries: Mapping[str, RecordSummary]
) -> list[RunningCell]:
    running = []
    for name in names:
        lock = read_lock(out / name)
        if lock is None:
            continue
        gone, summary = lock.owner.seems_gone(), summaries.get(name)
        if gone and summary is not None and summary.state == "done":
            continue  # killed between writing the record and releasing the lock: the cell is complete
        expected = queued[name].seconds if name in queued else None
        running.append(RunningCell(folder=name, lock=lock, abandoned=gone, expected=expected))
    return running


def _is_waiting(out: Path, cell: QueuedCell, summary: RecordSummary | None) -> bool:
    """Whether a run has not yet executed a queued cell: its record is unchanged since the run started."""
    if summary is None or summary.state == "interrupted":
        return True
    return cell.stamp is not None and cell.stamp == index.stamp_of(f"{out}/{cell.folder}")
