"""Measure the peak memory of a block of code."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

SAMPLE_SECONDS = 0.005
"""Time between two samples of the host's memory."""


@dataclass
class PeakMemory:
    """Filled in when `peak_memory` ends."""

    bytes: int = 0
    """Peak minus the memory held before: of the GPU's allocator, or resident in the host's memory."""


@contextlib.contextmanager
def peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measures the peak memory inside the block, relative to the memory held before. On a CPU it is sampled."""
    peak = PeakMemory()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    before, stop = resident_bytes(), threading.Event()
    largest = [before]

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            largest[0] = max(largest[0], resident_bytes())

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield peak
    finally:
        stop.set()
        sampler.join()
        peak.bytes = max(largest[0], resident_bytes()) - before


def resident_bytes() -> int:
    """Resident memory of this process in bytes; 0 on systems without /proc."""
    with contextlib.suppress(OSError, ValueError):
        import resource

        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return 0
