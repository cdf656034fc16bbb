"""Outcomes that an executor creates for cells whose process or node returned none."""

from __future__ import annotations

import time

import benchmark


def elsewhere(job: benchmark.Job, started: float) -> benchmark.Outcome:
    """The outcome of a cell that another run works on.

    Args:
        job: the cell's job.
        started: when the job started, by the monotonic clock.
    """
    seconds = time.monotonic() - started
    return benchmark.Outcome(cell_id=job.cell.id, folder=job.folder, state="elsewhere", seconds=seconds)


def failed(
    job: benchmark.Job, started: float, reason: str, *, cause: benchmark.Cause = "", traceback: str = ""
) -> benchmark.Outcome:
    """The outcome of a cell that failed.

    Args:
        job: the cell's job.
        started: when the job started, by the monotonic clock.
        reason: one line.
        cause: `memory`, `silence` or `crash`, if it is known.
        traceback: everything that is known about the failure.
    """
    return benchmark.Outcome(
        cell_id=job.cell.id,
        folder=job.folder,
        state="failed",
        seconds=time.monotonic() - started,
        reason=reason,
        traceback=traceback,
        cause=cause,
    )
