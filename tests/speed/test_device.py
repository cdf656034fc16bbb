"""Limits of a device, and start-up times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from speed_samples import CPU

from benchmark.api.cells import Job
from benchmark.progress import Event
from benchmark.speed import device_limits, startup


def test_device_limits_are_plausible() -> None:
    limits = device_limits.measure_limits(CPU, torch.float32, 1)
    assert 1e7 < limits.flops < 1e15
    assert 1e7 < limits.bytes < 1e13
    entries = {entry.quantity: entry for entry in limits.measurements("float32")}
    assert (entries["matrix product"].value, entries["copy"].value) == (limits.flops, limits.bytes)
    assert {entry.subject for entry in entries.values()} == {"device"}


def test_help_is_measured_in_new_processes_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Sequence[str]] = []
    monkeypatch.setattr(startup.subprocess, "run", lambda words, **options: started.append(words))
    assert len(startup.help_seconds(3)) == 3
    assert len(started) == 4
    assert {tuple(words[1:]) for words in started} == {("-m", "benchmark", "--help")}


class Executor:
    """Starts each job after half a second and ends it after a quarter of a second, on a fake clock."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def run(self, jobs: Sequence[Job], reporter: Callable[[Event], None]) -> Iterator[None]:
        for job in jobs:
            self.clock[0] += 0.5
            reporter(Event(kind="started", cell=job.cell.id))
            self.clock[0] += 0.25
            yield


def test_cell_starts_are_measured_from_the_end_of_the_previous_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [10.0]
    monkeypatch.setattr(startup.time, "perf_counter", lambda: clock[0])
    spec = SimpleNamespace(params=lambda: None, build=lambda context: Executor(clock))
    catalog: Any = SimpleNamespace(executors={}, find=lambda kind, singular, name: SimpleNamespace(spec=spec))
    assert startup.cell_start_seconds(catalog) == [0.5] * startup.STARTED_CELLS
