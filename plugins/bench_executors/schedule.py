"""Which cell starts next, and on which device: longest first, as many as there are slots and memory for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import benchmark


class Schedule:
    """Jobs that wait and jobs that run. Knows no process and no clock.

    A list schedule: the first waiting job that fits starts as soon as a slot is free. With the longest first its end lies
    at most a third beyond the best one (Graham 1969), and with many cells to a slot within a few per cent.

    Args:
        jobs: longest first, as they come from the runner.
        slots: the device of each slot.
        memory: device -> bytes that its jobs may hold together; a device that is not in it takes what comes.
    """

    def __init__(self, jobs: Sequence[benchmark.Job], slots: Sequence[str], memory: Mapping[str, int]) -> None:
        self._waiting = list(jobs)
        self._alone: list[benchmark.Job] = []
        self._slots = list(slots)
        self._memory = memory
        self._running: dict[str, list[benchmark.Job]] = {device: [] for device in slots}

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self._waiting or self._alone or any(self._running.values()))

    def next(self) -> tuple[benchmark.Job, str] | None:
        """A job that starts now, and its device; None where one has to end first. Emptier devices come first."""
        for device in sorted(dict.fromkeys(self._slots), key=lambda name: len(self._running[name])):
            if not self._is_open(device):
                continue
            if self._alone and not self._running[device]:
                return self._start(self._alone, 0, device)
            for place, job in enumerate(self._waiting):
                if self._fits(job, device):
                    return self._start(self._waiting, place, device)
        return None

    def ended(self, job: benchmark.Job, device: str) -> None:
        """Its slot is free again."""
        self._running[device].remove(job)

    def again(self, job: benchmark.Job) -> None:
        """The job is to run with a device to itself, as soon as one has nothing to do."""
        self._alone.append(job)

    def _start(self, jobs: list[benchmark.Job], place: int, device: str) -> tuple[benchmark.Job, str]:
        job = jobs.pop(place)
        self._running[device].append(job)
        return job, device

    def _is_open(self, device: str) -> bool:
        running = self._running[device]
        return len(running) < self._slots.count(device) and not any(job.exclusive for job in running)

    def _fits(self, job: benchmark.Job, device: str) -> bool:
        """Whether what is known of its memory leaves room beside the others; an empty device takes anything."""
        running = self._running[device]
        if not running or job.memory is None or device not in self._memory:
            return True
        return sum(each.memory or 0 for each in running) + job.memory <= self._memory[device]
