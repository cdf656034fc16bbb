"""The report of `bench status`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from benchmark.api.cells import Json
from benchmark.execution.estimates import as_words
from benchmark.execution.run_files import QueuedCell, RunFile
from benchmark.execution.status import RunningCell, Status
from benchmark.progress import values_as_text
from benchmark.records.locks import LockInfo
from benchmark.reports.table import Report, Table

if TYPE_CHECKING:
    import pandas as pd

MAX_WAITING = 10
"""Number of waiting cells that the table for people lists."""
RUNNING_COLUMNS = ("cell", "device", "stage", "progress", "values", "since", "time left", "process", "remark")
FRAME_COLUMNS = (
    "folder",
    "state",
    "title",
    "device",
    "stage",
    "done",
    "total",
    "values",
    "since",
    "process",
    "expected_seconds",
    "seconds_left",
    "reason",
)


def status_report(status: Status) -> Report:
    """The status of an output folder: counts, and the cells that are not done."""
    facts = {
        "out": str(status.out),
        "cells": _counts(status),
        "slots": status.slots,
        "seconds_left": status.seconds_left,
        "without_estimate": status.estimates.count(None),
        "runs": [_run_json(run, alive=True) for run in status.runs]
        + [_run_json(run, alive=False) for run in status.dead_runs],
        "changed": status.changed,
        "unreadable": list(status.problems),
    }
    return Report(tables=lambda: _tables(status), frame=lambda: _frame(status), facts=facts)


def _counts(status: Status) -> dict[str, int]:
    return {
        "running": sum(not each.abandoned for each in status.running),
        "waiting": len(status.waiting),
        "done": status.done,
        "failed": len(status.failed),
        "interrupted": len(status.interrupted),
        **({"smoke": status.smoke} if status.smoke else {}),
    }


# --- for machines -----------------------------------------------------------------------------------------------------


def _frame(status: Status) -> pd.DataFrame:
    """One row for each cell that is not done; times in seconds."""
    import pandas as pd

    rows: list[Json] = [_running_json(each) for each in status.running]
    rows += [_waiting_json(cell) for cell in status.waiting]
    rows += [{"folder": folder, "state": "failed", "reason": reason} for folder, reason in status.failed.items()]
    rows += [{"folder": folder, "state": "interrupted"} for folder in status.interrupted]
    return pd.DataFrame([{name: row.get(name) for name in FRAME_COLUMNS} for row in rows], columns=FRAME_COLUMNS)


def _running_json(each: RunningCell) -> Json:
    lock = each.lock
    return {
        "folder": each.folder,
        "state": "abandoned" if each.abandoned else "running",
        "title": lock.title,
        "device": lock.device,
        "stage": lock.stage,
        "done": lock.done,
        "total": lock.total,
        "values": dict(lock.values),
        "since": lock.since,
        "process": _process(lock),
        "expected_seconds": each.expected,
        "seconds_left": each.seconds_left,
    }


def _waiting_json(cell: QueuedCell) -> Json:
    return {"folder": cell.folder, "state": "waiting", "title": cell.title, "expected_seconds": cell.seconds}


def _run_json(run: RunFile, *, alive: bool) -> Json:
    return {"process": run.name, "since": run.since, "slots": run.slots, "cells": len(run.cells), "alive": alive}


# --- for people -------------------------------------------------------------------------------------------------------


def _tables(status: Status) -> list[Table]:
    counts = [(state, str(count)) for state, count in _counts(status).items()]
    waiting = [(cell.title, _time(cell.seconds)) for cell in status.waiting[:MAX_WAITING]]
    tables = [
        _table(f"cells in {status.out}", ("state", "cells"), counts, tuple(_notes(status))),
        _table("running", RUNNING_COLUMNS, [_running_row(each) for each in status.running]),
        _table("waiting", ("cell", "expected"), waiting, _more(status)),
        _table("failed", ("cell", "reason"), list(status.failed.items())),
    ]
    return [table for table in tables if table.rows]


def _running_row(each: RunningCell) -> tuple[str, ...]:
    lock = each.lock
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(lock.since))
    progress = f"{lock.done}/{lock.total}" if lock.total else ""
    left, remark = ("", "abandoned") if each.abandoned else (_time(each.seconds_left), "")
    values = values_as_text(lock.values)
    return (lock.title, lock.device, lock.stage, progress, values, since, left, _process(lock), remark)


def _more(status: Status) -> tuple[str, ...]:
    more = len(status.waiting) - MAX_WAITING
    return (f"{more} more; --format json lists all.",) if more > 0 else ()


def _notes(status: Status) -> Iterator[str]:
    estimates = status.estimates
    if not status.runs:
        yield "No run is active."
    elif estimates:
        unknown = estimates.count(None)
        left = "unknown" if status.seconds_left is None else as_words(status.seconds_left)
        slots = f"{status.slots} {'slot' if status.slots == 1 else 'slots'}"
        without = f"; {unknown} of {len(estimates)} cells have no past record" if unknown else ""
        yield f"Time left: {left} on {slots}{without}."
    if status.changed:
        yield (
            f"{status.changed} finished cells: their plugins' code or their weights have changed since; see bench table. "
            "bench run --rerun stale repeats them."
        )
    for run in status.dead_runs:
        yield f"Run {run.name} died. Run the same command again to resume."


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], notes: tuple[str, ...] = ()) -> Table:
    return Table(title=title, columns=columns, rows=tuple(rows), notes=notes, kept=len(columns))


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else as_words(seconds)


def _process(lock: LockInfo) -> str:
    return f"{lock.owner.host}:{lock.owner.pid}"
