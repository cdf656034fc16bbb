"""The local executor on a real clock: many cells of uneven length on pretended devices, and what the harness costs.

These are the only tests that look at a clock: they compare with the cells' own seconds of the same run, never with a
number of seconds. Slow, and alone on the machine, or they measure something else.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench_executors.local import Local
from bench_executors.parameters import LocalParams
from benchmark.api.catalog import load_catalog
from benchmark.api.cells import Job, Outcome
from benchmark.api.executors import ExecutorContext
from benchmark.api.grammar import parse_items
from benchmark.execution.plan import cell_folder, plan
from benchmark.execution.request import Request
from benchmark.execution.runner import longest_first
from benchmark.progress import Event

STEP_SECONDS = 0.1


def jobs_of(epochs: Sequence[int], seeds: int, out: Path) -> list[Job]:
    """Cells of `epochs` x 3 steps of `STEP_SECONDS` each."""
    found = []
    for number in epochs:
        asked = Request(
            methods=parse_items(["steady"]),
            encoders=parse_items(["tiny"]),
            datasets=parse_items(["stripes"]),
            evaluators=parse_items(["centroid"]),
            epochs=number,
            seeds=tuple(range(seeds)),
            floors=False,
        )
        found += [
            Job(
                cell=planned.cell,
                scores=planned.scores,
                data_dir="data",
                out_dir=str(out),
                folder=cell_folder(planned.cell),
                expected_seconds=3 * number * STEP_SECONDS,
            )
            for planned in plan(asked, load_catalog()).cells
        ]
    return found


def timed(jobs: Sequence[Job], devices: tuple[str, ...]) -> tuple[float, list[Outcome]]:
    """Seconds from the first cell's start to the last one's end, and all outcomes."""
    executor = Local(ExecutorContext(params=LocalParams(), devices=devices, slots=1, threads=1))
    began: list[float] = []

    def note(event: Event) -> None:
        if event.kind == "started" and not began:
            began.append(time.monotonic())

    outcomes = list(executor.run(jobs, note))
    return time.monotonic() - began[0], outcomes


@pytest.mark.slow
def test_two_hundred_uneven_cells_on_eight_pretended_devices_end_near_the_bound(
    third_party: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("THIRD_PARTY_STEP_SECONDS", str(STEP_SECONDS))
    chance = random.Random(0)
    jobs = jobs_of(chance.sample(range(2, 24), 20), 10, tmp_path)
    assert len(jobs) == 200
    chance.shuffle(jobs)
    makespan, outcomes = timed(longest_first(jobs), tuple(f"cpu:{number}" for number in range(8)))
    assert [outcome.reason for outcome in outcomes if outcome.state != "done"] == []
    assert len({outcome.cell_id for outcome in outcomes}) == len(jobs)
    bound = max(sum(outcome.seconds for outcome in outcomes) / 8, max(outcome.seconds for outcome in outcomes))
    print(f"{len(jobs)} cells, makespan {makespan:.1f} s, bound {bound:.1f} s, ratio {makespan / bound:.3f}")  # noqa: T201
    assert makespan <= 1.05 * bound


@pytest.mark.slow
def test_the_harness_costs_less_than_a_fiftieth_of_cells_of_five_seconds(
    third_party: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the time that two slots have, the part in which no cell is at work."""
    monkeypatch.setenv("THIRD_PARTY_STEP_SECONDS", str(STEP_SECONDS))
    jobs = jobs_of([16], 16, tmp_path)
    makespan, outcomes = timed(jobs, ("cpu:0", "cpu:1"))
    assert [outcome.reason for outcome in outcomes if outcome.state != "done"] == []
    busy = sum(outcome.seconds for outcome in outcomes)
    idle = 1 - busy / (2 * makespan)
    mean = busy / len(outcomes)
    print(f"{len(jobs)} cells of {mean:.2f} s, makespan {makespan:.1f} s, overhead {100 * idle:.2f} %")  # noqa: T201
    assert idle < 0.02
