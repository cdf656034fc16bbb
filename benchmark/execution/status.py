"""What goes on in an output folder, seen from any terminal: running, waiting, done, failed, and the time that is left.

Nothing is asked of the runs themselves: claims say what is being done, run files what is waiting, records what became of
the rest.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.api.cells import Json
from benchmark.execution.estimates import as_words, on_slots
from benchmark.execution.run_files import QueuedCell, RunFile, read_runs
from benchmark.progress import values_as_text
from benchmark.records import index
from benchmark.records.columns import RecordSummary
from benchmark.records.locks import HEARTBEAT_SECONDS, LockInfo, read_lock
from benchmark.records.record import CHECKPOINT
from benchmark.reports.table import Table

NEXT = 10
"""Waiting cells that a table names."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A cell that has a claim."""

    folder: str
    sign: LockInfo
    left: bool
    """Whether its process is gone: nobody works on it, whoever comes next may take it."""
    expected: float | None
    """Seconds in all, as past records have it."""

    @property
    def rest(self) -> float | None:
        """Seconds to go. What is behind follows from heartbeats: the clocks of two machines may differ."""
        return None if self.expected is None else max(0.0, self.expected - self.sign.beat * HEARTBEAT_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Status:
    """An output folder at one moment. A cell is in one place only, running before waiting before what its record says."""

    out: Path
    running: tuple[Running, ...]
    waiting: tuple[QueuedCell, ...]
    done: int
    smoke: int
    failed: Mapping[str, str]
    """Folder -> reason."""
    interrupted: tuple[str, ...]
    runs: tuple[RunFile, ...]
    """That go on, or are on another machine, of which nothing more is known."""
    ended: tuple[RunFile, ...]
    """Whose process died without a word."""
    problems: tuple[str, ...]
    """A sentence for each record that could not be read."""

    @property
    def slots(self) -> int:
        """Of all runs together."""
        return sum(run.slots for run in self.runs)

    @property
    def rests(self) -> list[float | None]:
        """Seconds to go of each cell that is running or waiting; None where no past record says it."""
        return [*(each.rest for each in self.running if not each.left), *(due.seconds for due in self.waiting)]

    @property
    def seconds_left(self) -> float | None:
        """Until all of which something is known is done; None where nothing is."""
        known = [rest for rest in self.rests if rest is not None]
        return on_slots(known, max(1, self.slots)) if known else None


def _is_behind(sign: LockInfo, brief: RecordSummary | None) -> bool:
    """Whether a claim was left on a finished cell by a run that was killed in its very last moment: nothing is lost."""
    return brief is not None and brief.state == "done" and bool(sign.owner.is_gone())


def read_status(out: Path) -> Status:
    """What goes on in an output folder now."""
    runs = read_runs(out)
    living = [run for run in runs if not run.owner.is_gone()]
    due = {cell.folder: cell for run in living for cell in run.cells}
    columns, problems = index.read(out)
    briefs = {brief.folder: brief for brief in columns.summaries}
    signs = {
        name: sign
        for name in _names(out)
        if (sign := read_lock(out / name)) is not None and not _is_behind(sign, briefs.get(name))
    }
    running = [
        Running(
            folder=name, sign=sign, left=bool(sign.owner.is_gone()), expected=due[name].seconds if name in due else None
        )
        for name, sign in signs.items()
    ]
    busy = {each.folder for each in running if not each.left}
    waiting = {
        name: cell for name, cell in due.items() if name not in busy and _is_waiting(out, cell, briefs.get(name))
    }
    rest = [brief for name, brief in briefs.items() if name not in busy and name not in waiting]
    stopped = {name for name in _names(out) if name not in briefs and (out / name / CHECKPOINT).exists()}
    stopped |= {brief.folder for brief in rest if brief.state == "interrupted"}
    return Status(
        out=out,
        running=tuple(running),
        waiting=tuple(waiting.values()),
        done=sum(brief.state == "done" for brief in rest),
        smoke=sum(brief.state == "smoke" for brief in rest),
        failed={brief.folder: " ".join((brief.failure or "").split()) for brief in rest if brief.state == "failed"},
        interrupted=tuple(sorted(stopped - busy - set(waiting))),
        runs=tuple(living),
        ended=tuple(run for run in runs if run not in living),
        problems=tuple(problems),
    )


def _names(out: Path) -> list[str]:
    with os.scandir(out) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _is_waiting(out: Path, cell: QueuedCell, brief: RecordSummary | None) -> bool:
    """Whether a run that goes on has still to do a cell: it has left no other record than the run found."""
    if brief is None or brief.state == "interrupted":
        return True
    return cell.stamp is not None and cell.stamp == index.stamp_of(f"{out}/{cell.folder}")


# --- for machines -----------------------------------------------------------------------------------------------------


def as_json(found: Status) -> str:
    """All of it, times in seconds."""
    body = {
        "out": str(found.out),
        "running": [_running_json(each) for each in found.running],
        "waiting": [_due_json(due) for due in found.waiting],
        **{"done": found.done, "smoke": found.smoke, "interrupted": list(found.interrupted)},
        "failed": [{"folder": folder, "reason": reason} for folder, reason in found.failed.items()],
        "runs": [_run_json(run) for run in found.runs],
        "ended": [_run_json(run) for run in found.ended],
        "slots": found.slots,
        "seconds_left": found.seconds_left,
        "without_estimate": found.rests.count(None),
        "left_out": list(found.problems),
    }
    return json.dumps(body, indent=1) + "\n"


def _running_json(each: Running) -> Json:
    sign = {key: value for key, value in dataclasses.asdict(each.sign).items() if key not in ("owner", "token", "beat")}
    times = {"expected_seconds": each.expected, "seconds_left": each.rest}
    return {"folder": each.folder, **sign, "owner": _owner(each.sign), "left_behind": each.left, **times}


def _due_json(due: QueuedCell) -> Json:
    return {"id": due.id, "folder": due.folder, "title": due.title, "expected_seconds": due.seconds}


def _run_json(run: RunFile) -> Json:
    return {"owner": run.name, "since": run.since, "slots": run.slots, "cells": len(run.cells)}


# --- for people -------------------------------------------------------------------------------------------------------


def status_tables(found: Status) -> list[Table]:
    """How many cells are in which state; those that run; those that come next; those that failed, with the reason."""
    counts = {
        "running": sum(not each.left for each in found.running),
        "waiting": len(found.waiting),
        "done": found.done,
        "failed": len(found.failed),
        "interrupted": len(found.interrupted),
        **({"smoke": found.smoke} if found.smoke else {}),
    }
    rows = [(state, str(count)) for state, count in counts.items()]
    parts = [
        _table(f"cells in {found.out}", ("state", "cells"), rows, tuple(_notes(found))),
        _table("running", RUNNING, [_running_row(each) for each in found.running]),
        _table("waiting", ("cell", "expected"), _waiting_rows(found), _more(found)),
        _table("failed", ("cell", "reason"), list(found.failed.items())),
    ]
    return [part for part in parts if part.rows]


RUNNING = ("cell", "device", "doing", "done", "values", "since", "time left", "process", "remarks")


def _running_row(each: Running) -> tuple[str, ...]:
    sign = each.sign
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(sign.since))
    done = f"{sign.done}/{sign.total}" if sign.total else ""
    left, remark = ("", "left behind") if each.left else (_expected(each.rest), "")
    return (sign.title, sign.device, sign.stage, done, values_as_text(sign.values), since, left, _owner(sign), remark)


def _waiting_rows(found: Status) -> list[tuple[str, ...]]:
    return [(due.title, _expected(due.seconds)) for due in found.waiting[:NEXT]]


def _more(found: Status) -> tuple[str, ...]:
    more = len(found.waiting) - NEXT
    return (f"and {more} more; --format json has all",) if more > 0 else ()


def _notes(found: Status) -> Iterator[str]:
    if not found.runs:
        yield "No run is going on."
    elif found.rests:
        silent = found.rests.count(None)
        left = found.seconds_left
        unknown = f"; {silent} of {len(found.rests)} cells have no past record" if silent else ""
        slots = f"{found.slots} {'slot' if found.slots == 1 else 'slots'}"
        yield f"Time left: {'unknown' if left is None else as_words(left)} on {slots}{unknown}."
    for run in found.ended:
        yield f"The run {run.name} has ended without a word; what it left unfinished goes on with the same command."


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], notes: tuple[str, ...] = ()) -> Table:
    return Table(title=title, columns=columns, rows=tuple(rows), notes=notes, kept=len(columns))


def _expected(seconds: float | None) -> str:
    return "unknown" if seconds is None else as_words(seconds)


def _owner(sign: LockInfo) -> str:
    return f"{sign.owner.host}:{sign.owner.pid}"
