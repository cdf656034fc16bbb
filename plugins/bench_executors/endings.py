"""How the end of a cell is told where its own process does not: as an outcome, and as an event."""

from __future__ import annotations

import time
from typing import Literal

import benchmark
from benchmark.progress import Event, Reporter

Cause = Literal["", "memory", "silence", "crash"]
"""Of a failure: see `benchmark.Outcome`."""


def ended(
    job: benchmark.Job,
    since: float,
    state: Literal["failed", "elsewhere"],
    reason: str = "",
    *,
    cause: Cause = "",
    traceback: str = "",
) -> benchmark.Outcome:
    """An outcome of our own.

    Args:
        job: the cell's.
        since: when it began, by the monotonic clock.
        state: `elsewhere` where another run works on it.
        reason: why it failed, one line.
        cause: what an executor or a runner may do something about.
        traceback: all that is known of it.
    """
    return benchmark.Outcome(
        cell_id=job.cell.id,
        folder=job.folder,
        state=state,
        seconds=time.monotonic() - since,
        reason=reason,
        traceback=traceback,
        cause=cause,
    )


def tell(job: benchmark.Job, outcome: benchmark.Outcome, reporter: Reporter) -> None:
    """Says that the cell has come to an end, unless it was another run's."""
    if outcome.state != "elsewhere":
        values = {"seconds": outcome.seconds}
        title = job.cell.title
        reporter(Event(kind="finished", cell=title, stage=outcome.state, values=values, text=outcome.reason))
