"""Time calls in turns, and profile one call."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

PROFILED_OPERATIONS = 6
"""Number of operations that `profile` returns."""


@dataclass(frozen=True, kw_only=True)
class TimedCall:
    """A call whose duration is compared with others."""

    call: Callable[[], object]
    setting: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext
    """Context manager around each measurement. One call inside it is not timed."""


def time_in_turns(
    calls: Mapping[str, TimedCall], device: torch.device, rounds: int, min_seconds: float
) -> dict[str, list[float]]:
    """Seconds per call: for each name, one number per round.

    All calls are measured in every round, so that a temporary slowdown of the machine affects all of them.

    Args:
        calls: what is measured, in this order in every round.
        device: synchronized before and after each measurement.
        rounds: 1 or more.
        min_seconds: shortest duration of a measurement, which has at least two calls.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, timed in calls.items():
            with timed.setting():
                timed.call()
                synchronize(device)
                start = time.perf_counter()
                count = 0
                while count < 2 or time.perf_counter() - start < min_seconds:
                    timed.call()
                    count += 1
                synchronize(device)
                seconds[name].append((time.perf_counter() - start) / count)
    return seconds


def speedup(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Median over rounds of slow / fast, where both numbers of a ratio come from the same round."""
    return statistics.median(slow_round / fast_round for slow_round, fast_round in zip(slow, fast, strict=True))


def synchronize(device: torch.device) -> None:
    """Waits until all queued work of a GPU is done. Does nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def profile(call: Callable[[], object], device: torch.device) -> list[tuple[str, float]]:
    """(operation, fraction of the total time) of the operations that take most time in one call.

    Times are the GPU's on a GPU, else the CPU's.
    """
    on_gpu = device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        call()
        synchronize(device)
    times = {
        event.key: float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)
        for event in profiler.key_averages()
    }
    total = sum(times.values()) or 1.0
    slowest = sorted(times.items(), key=lambda item: -item[1])[:PROFILED_OPERATIONS]
    return [(operation, duration / total) for operation, duration in slowest]
