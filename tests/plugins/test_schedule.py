"""Which job starts when, on a simulated clock: longest first, within memory, exclusive jobs without others."""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from sample_jobs import sample_job

from bench_executors.schedule import Schedule
from benchmark.api.cells import Job
from benchmark.execution.runner import longest_first

GIB = 2**30


def job(number: int, seconds: float | None = None, memory: int | None = None, *, exclusive: bool = False) -> Job:
    return sample_job(number, expected_seconds=seconds, memory=memory, exclusive=exclusive)


@dataclass
class Simulated:
    """A schedule on a simulated clock that jumps from one end of a job to the next."""

    started: list[tuple[float, Job, str]] = field(default_factory=list)
    ended: dict[int, float] = field(default_factory=dict)
    most_jobs: dict[str, int] = field(default_factory=dict)
    """Device -> most jobs at once."""
    most_bytes: dict[str, int] = field(default_factory=dict)
    """Device -> most bytes of jobs at once."""

    @property
    def makespan(self) -> float:
        return max(self.ended.values())


def simulated(
    jobs: Sequence[Job], slots: Sequence[str], seconds: Mapping[int, float], memory: Mapping[str, int] | None = None
) -> Simulated:
    """Runs a schedule; `seconds` are by seed."""
    schedule, result, now = Schedule(jobs, slots, memory or {}), Simulated(), 0.0
    running: list[tuple[float, int, Job, str]] = []
    while not schedule.is_over:
        while (start := schedule.next()) is not None:
            each, device = start
            heapq.heappush(running, (now + seconds[each.cell.seed or 0], len(result.started), each, device))
            result.started.append((now, each, device))
            there = [other for _, _, other, where in running if where == device]
            result.most_jobs[device] = max(result.most_jobs.get(device, 0), len(there))
            result.most_bytes[device] = max(result.most_bytes.get(device, 0), sum(other.memory or 0 for other in there))
            assert len(there) == 1 or not any(other.exclusive for other in there), "another job beside an exclusive one"
        assert running, "nothing runs and nothing starts"
        now, _, each, device = heapq.heappop(running)
        schedule.ended(each, device)
        assert each.cell.seed not in result.ended, "a job ran twice"
        result.ended[each.cell.seed or 0] = now
    return result


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("distribution", ["uniform", "two kinds", "heavy tail"])
def test_makespan_of_two_hundred_cells_on_eight_devices_is_within_five_percent_of_the_bound(
    distribution: str, seed: int
) -> None:
    """No schedule is shorter than the bound: the mean load of a device, or the longest cell."""
    rng = random.Random(seed)
    draw = {
        "uniform": lambda: rng.uniform(1, 100),
        "two kinds": lambda: rng.choice([5.0, 200.0]),
        "heavy tail": lambda: min(400.0, 10 * rng.paretovariate(1.5)),
    }[distribution]
    seconds = {number: draw() for number in range(200)}
    jobs = longest_first([job(number, seconds[number]) for number in seconds])
    result = simulated(jobs, [f"cuda:{number}" for number in range(8)], seconds)
    assert result.ended.keys() == seconds.keys()
    assert result.makespan <= 1.05 * max(sum(seconds.values()) / 8, max(seconds.values()))


def test_longest_first_beats_an_order_with_a_long_cell_at_the_end() -> None:
    """The test above depends on this order."""
    seconds = dict.fromkeys(range(40), 1.0) | {40: 20.0}
    slots = ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    in_order = simulated([job(number, seconds[number]) for number in seconds], slots, seconds)
    best = simulated(longest_first([job(number, seconds[number]) for number in seconds]), slots, seconds)
    assert best.makespan == 20.0
    assert in_order.makespan == 30.0


def test_every_device_gets_a_cell_before_one_gets_two() -> None:
    slots = ["cuda:0", "cuda:1"] * 2
    result = simulated([job(number) for number in range(4)], slots, dict.fromkeys(range(4), 1.0))
    assert [device for _, _, device in result.started] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert result.most_jobs == {"cuda:0": 2, "cuda:1": 2}


@pytest.mark.parametrize("seed", range(5))
def test_cells_on_a_device_fit_in_its_memory(seed: int) -> None:
    rng = random.Random(seed)
    seconds = {number: rng.uniform(1, 10) for number in range(60)}
    jobs = [job(number, seconds[number], rng.randint(1, 9) * GIB) for number in seconds]
    memory = {"cuda:0": 10 * GIB, "cuda:1": 16 * GIB}
    result = simulated(longest_first(jobs), ["cuda:0", "cuda:1"] * 4, seconds, memory)
    assert result.ended.keys() == seconds.keys()
    assert all(result.most_bytes[device] <= memory[device] for device in memory)
    assert max(result.most_jobs.values()) > 1


def test_smaller_cell_starts_before_one_that_does_not_fit() -> None:
    jobs = [job(0, 10.0, 6 * GIB), job(1, 9.0, 6 * GIB), job(2, 1.0, 2 * GIB)]
    result = simulated(jobs, ["cpu", "cpu"], {0: 10.0, 1: 9.0, 2: 1.0}, {"cpu": 8 * GIB})
    assert [(when, each.cell.seed) for when, each, _ in result.started] == [(0.0, 0), (0.0, 2), (10.0, 1)]


def test_cell_larger_than_the_device_runs_without_others() -> None:
    """The estimate may be too high. If it is right, the cell fails with a report."""
    jobs = [job(0, 5.0, 99 * GIB), job(1, 4.0, GIB)]
    result = simulated(jobs, ["cpu", "cpu"], {0: 5.0, 1: 4.0}, {"cpu": 8 * GIB})
    assert [(when, each.cell.seed) for when, each, _ in result.started] == [(0.0, 0), (5.0, 1)]


def test_exclusive_jobs_run_without_others_and_do_not_block_other_devices() -> None:
    jobs = [job(0, exclusive=True), job(1), job(2, exclusive=True), job(3)]
    result = simulated(jobs, ["cuda:0", "cuda:1"] * 2, dict.fromkeys(range(4), 4.0))
    assert result.ended.keys() == {0, 1, 2, 3}
    assert [when for when, _, _ in result.started][:2] == [0.0, 0.0]


def test_exclusive_jobs_on_one_device_run_one_after_another() -> None:
    result = simulated([job(number, exclusive=True) for number in range(3)], ["cpu"] * 3, dict.fromkeys(range(3), 4.0))
    assert [when for when, _, _ in result.started] == [0.0, 4.0, 8.0]
