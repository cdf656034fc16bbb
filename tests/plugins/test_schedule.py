"""Which cell starts when: longest first, within memory, on a simulated clock; what runs alone runs alone."""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from bench_executors.schedule import Schedule
from benchmark.api.cells import Cell, Item, Job
from benchmark.api.recipes import Recipe
from benchmark.execution.runner import longest_first

GIB = 2**30


def job(number: int, seconds: float | None = None, memory: int | None = None, *, exclusive: bool = False) -> Job:
    item = Item(name="nothing", label="nothing")
    cell = Cell(
        id=f"{number:064d}",
        method=item,
        encoder=item,
        dataset=item,
        fingerprint="",
        subset=None,
        seed=number,
        recipe=Recipe(epochs=1),
    )
    return Job(
        cell=cell,
        scores=(),
        data_dir="",
        out_dir="",
        folder=str(number),
        expected_seconds=seconds,
        memory=memory,
        exclusive=exclusive,
    )


@dataclass
class Simulated:
    """What a schedule did on a clock that jumps from one end of a cell to the next."""

    started: list[tuple[float, Job, str]] = field(default_factory=list)
    ended: dict[int, float] = field(default_factory=dict)
    together: dict[str, int] = field(default_factory=dict)
    """Device -> most cells that ran there at once."""
    most: dict[str, int] = field(default_factory=dict)
    """Device -> most bytes that ran there at once."""

    @property
    def makespan(self) -> float:
        return max(self.ended.values())


def simulated(
    jobs: Sequence[Job],
    slots: Sequence[str],
    seconds: Mapping[int, float],
    memory: Mapping[str, int] | None = None,
    retried: Sequence[int] = (),
) -> Simulated:
    """Runs a schedule; jobs in `retried` end at once the first time and want to run alone."""
    schedule, found, now = Schedule(jobs, slots, memory or {}), Simulated(), 0.0
    running: list[tuple[float, int, Job, str]] = []
    while not schedule.is_over:
        while given := schedule.next():
            each, device = given
            again = each.cell.seed in retried and not each.exclusive
            length = 0.0 if again else seconds[each.cell.seed or 0]
            heapq.heappush(running, (now + length, len(found.started), each, device))
            found.started.append((now, each, device))
            there = [other for _, _, other, where in running if where == device]
            found.together[device] = max(found.together.get(device, 0), len(there))
            found.most[device] = max(found.most.get(device, 0), sum(other.memory or 0 for other in there))
            if any(other.exclusive for other in there):
                assert len(there) == 1, "something runs beside a cell that is to be alone"
        assert running, "nothing runs, and nothing starts"
        now, _, each, device = heapq.heappop(running)
        schedule.ended(each, device)
        if each.cell.seed in retried and not each.exclusive:
            schedule.again(dataclasses.replace(each, exclusive=True))
        else:
            assert each.cell.seed not in found.ended, "done twice"
            found.ended[each.cell.seed or 0] = now
    return found


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("law", ["uniform", "two kinds", "heavy tail"])
def test_two_hundred_uneven_cells_on_eight_devices_end_within_a_twentieth_of_the_bound(law: str, seed: int) -> None:
    """The bound that no schedule goes below: the mean load of a device, or the longest cell."""
    chance = random.Random(seed)
    draw = {
        "uniform": lambda: chance.uniform(1, 100),
        "two kinds": lambda: chance.choice([5.0, 200.0]),
        "heavy tail": lambda: min(400.0, 10 * chance.paretovariate(1.5)),
    }[law]
    seconds = {number: draw() for number in range(200)}
    jobs = longest_first([job(number, seconds[number]) for number in seconds])
    found = simulated(jobs, [f"cuda:{number}" for number in range(8)], seconds)
    assert found.ended.keys() == seconds.keys()
    assert found.makespan <= 1.05 * max(sum(seconds.values()) / 8, max(seconds.values()))


def test_in_the_order_asked_for_a_long_cell_at_the_end_would_cost_more() -> None:
    """That the longest come first is what the bound above rests on."""
    seconds = dict.fromkeys(range(40), 1.0) | {40: 20.0}
    slots = ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    as_asked = simulated([job(number, seconds[number]) for number in seconds], slots, seconds)
    best = simulated(longest_first([job(number, seconds[number]) for number in seconds]), slots, seconds)
    assert best.makespan == 20.0
    assert as_asked.makespan == 30.0


def test_cells_of_which_nothing_is_known_come_first_and_in_the_order_asked_for() -> None:
    jobs = [job(0, 5.0), job(1), job(2, 50.0), job(3), job(4, 0.0)]
    assert [each.cell.seed for each in longest_first(jobs)] == [1, 3, 2, 0, 4]


def test_no_device_gets_a_second_cell_before_every_device_has_one() -> None:
    slots = ["cuda:0", "cuda:1"] * 2
    found = simulated([job(number) for number in range(4)], slots, dict.fromkeys(range(4), 1.0))
    assert [device for _, _, device in found.started] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert found.together == {"cuda:0": 2, "cuda:1": 2}


@pytest.mark.parametrize("seed", range(5))
def test_cells_are_packed_within_a_devices_memory(seed: int) -> None:
    chance = random.Random(seed)
    seconds = {number: chance.uniform(1, 10) for number in range(60)}
    jobs = [job(number, seconds[number], chance.randint(1, 9) * GIB) for number in seconds]
    room = {"cuda:0": 10 * GIB, "cuda:1": 16 * GIB}
    found = simulated(longest_first(jobs), ["cuda:0", "cuda:1"] * 4, seconds, room)
    assert found.ended.keys() == seconds.keys()
    assert all(found.most[device] <= room[device] for device in room)
    assert max(found.together.values()) > 1


def test_a_cell_that_does_not_fit_beside_others_lets_a_smaller_one_pass() -> None:
    jobs = [job(0, 10.0, 6 * GIB), job(1, 9.0, 6 * GIB), job(2, 1.0, 2 * GIB)]
    found = simulated(jobs, ["cpu", "cpu"], {0: 10.0, 1: 9.0, 2: 1.0}, {"cpu": 8 * GIB})
    assert [(when, each.cell.seed) for when, each, _ in found.started] == [(0.0, 0), (0.0, 2), (10.0, 1)]


def test_a_cell_larger_than_the_device_runs_when_nothing_else_does() -> None:
    """The estimate may be wrong, and if it is right the cell says so itself."""
    jobs = [job(0, 5.0, 99 * GIB), job(1, 4.0, GIB)]
    found = simulated(jobs, ["cpu", "cpu"], {0: 5.0, 1: 4.0}, {"cpu": 8 * GIB})
    assert [(when, each.cell.seed) for when, each, _ in found.started] == [(0.0, 0), (5.0, 1)]


def test_what_ran_out_of_memory_runs_again_alone_and_only_once() -> None:
    seconds = dict.fromkeys(range(6), 4.0)
    found = simulated([job(number) for number in range(6)], ["cpu"] * 3, seconds, retried=[1, 4])
    runs = [each.cell.seed for _, each, _ in found.started]
    assert sorted(runs) == [0, 1, 1, 2, 3, 4, 4, 5]
    assert found.ended.keys() == seconds.keys()
