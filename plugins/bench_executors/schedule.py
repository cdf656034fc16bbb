"""Which job starts next, and on which device: longest first, as slots and memory allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import benchmark


class Schedule:
    """Waiting and running jobs. It uses no processes and no clock.

    This is list scheduling: the first waiting job that fits starts as soon as a slot is free. With the longest job first, the
    makespan is at most 4/3 of the best one (Graham 1969, Bounds on multiprocessing timing anomalies).

    Args:
        jobs: longest first, as the runner passes them.
        slots: the device of each slot.
        memory: device -> bytes that its jobs may hold together. A device that is not in it has no limit.
    """

    def __init__(self, jobs: Sequence[benchmark.Job], slots: Sequence[str], memory: Mapping[str, int]) -> None:
        self._waiting = list(jobs)
        self._slots = list(slots)
        self._memory = memory
        self._running: dict[str, list[benchmark.Job]] = {device: [] for device in slots}

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not (self._waiting or any(self._running.values()))

    def next(self) -> tuple[benchmark.Job, str] | None:
        """A job to start now, with its device; None if a running job has to end first. Emptier devices come first."""
        for device in sorted(dict.fromkeys(self._slots), key=lambda name: len(self._running[name])):
            if not self._has_slot(device):
                continue
            for index, job in enumerate(self._waiting):
                if self._fits(job, device):
                    del self._waiting[index]
                    self._running[device].append(job)
                    return job, device
        return None

    def ended(self, job: benchmark.Job, device: str) -> None:
        """Frees the slot of a job."""
        self._running[device].remove(job)

    def _has_slot(self, device: str) -> bool:
        running = self._running[device]
        return len(running) < self._slots.count(device) and not any(job.exclusive for job in running)

    def _fits(self, job: benchmark.Job, device: str) -> bool:
        """Whether a job's expected memory fits beside the others. An empty device takes any job."""
        running = self._running[device]
        if not running:
            return True
        if job.exclusive:
            return False
        if job.memory is None or device not in self._memory:
            return True
        return sum(each.memory or 0 for each in running) + job.memory <= self._memory[device]
