"""Executor `local` on a real clock: makespan of many uneven cells, and overhead.

Only these tests measure time. They compare it with the cells' own seconds in the same run. They are slow, and need a machine
without other load.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from sample_jobs import third_party_jobs

from bench_executors.local import Local
from bench_executors.parameters import LocalParams
from benchmark.api.cells import Job, Outcome
from benchmark.api.executors import ExecutorContext
from benchmark.execution.runner import longest_first
from benchmark.progress import Event

STEP_SECONDS = 0.1


def jobs_of(epochs: Sequence[int], seeds: int, out: Path) -> list[Job]:
    """Cells of `epochs` x 3 steps of `STEP_SECONDS` each."""
    return [
        job
        for number in epochs
        for job in third_party_jobs(
            out, "steady", epochs=number, seeds=tuple(range(seeds)), expected_seconds=3 * number * STEP_SECONDS
        )
    ]


def timed(jobs: Sequence[Job], devices: tuple[str, ...]) -> tuple[float, list[Outcome]]:
    """Seconds from the start of the first cell to the end of the last one, and all outcomes."""
    executor = Local(ExecutorContext(params=LocalParams(), devices=devices, slots=1, threads=1))
    started: list[float] = []

    def note(event: Event) -> None:
        if event.kind == "started" and not started:
            started.append(time.monotonic())

    outcomes = list(executor.run(jobs, note))
    return time.monotonic() - started[0], outcomes


@pytest.mark.slow
def test_makespan_of_two_hundred_cells_on_eight_simulated_devices_is_near_the_bound(
    third_party: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THIRD_PARTY_STEP_SECONDS", str(STEP_SECONDS))
    rng = random.Random(0)
    jobs = jobs_of(rng.sample(range(2, 24), 20), 10, tmp_path)
    assert len(jobs) == 200
    rng.shuffle(jobs)
    makespan, outcomes = timed(longest_first(jobs), tuple(f"cpu:{number}" for number in range(8)))
    assert [outcome.reason for outcome in outcomes if outcome.state != "done"] == []
    assert len({outcome.cell_id for outcome in outcomes}) == len(jobs)
    bound = max(sum(outcome.seconds for outcome in outcomes) / 8, max(outcome.seconds for outcome in outcomes))
    print(f"{len(jobs)} cells, makespan {makespan:.1f} s, bound {bound:.1f} s, ratio {makespan / bound:.3f}")  # noqa: T201
    assert makespan <= 1.05 * bound


@pytest.mark.slow
def test_overhead_is_below_two_percent_for_cells_of_five_seconds(
    third_party: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The fraction of two slots' time in which no cell runs."""
    monkeypatch.setenv("THIRD_PARTY_STEP_SECONDS", str(STEP_SECONDS))
    jobs = jobs_of([16], 16, tmp_path)
    makespan, outcomes = timed(jobs, ("cpu:0", "cpu:1"))
    assert [outcome.reason for outcome in outcomes if outcome.state != "done"] == []
    busy = sum(outcome.seconds for outcome in outcomes)
    idle = 1 - busy / (2 * makespan)
    mean = busy / len(outcomes)
    print(f"{len(jobs)} cells of {mean:.2f} s, makespan {makespan:.1f} s, overhead {100 * idle:.2f} %")  # noqa: T201
    assert idle < 0.02
