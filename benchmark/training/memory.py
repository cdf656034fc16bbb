"""Free memory of a device, and whether a dataset fits into it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

RESIDENT_SHARE = 0.5
"""Fraction of the free memory that a dataset may take. A larger dataset is streamed."""
NO_LIMIT = 2**62
"""Number of free bytes where the system does not report it."""


def fits_in_memory(size: int, device: torch.device) -> bool:
    """Whether a dataset of a size in bytes fits into the device's memory and leaves enough for the training."""
    return size <= RESIDENT_SHARE * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Free bytes of the GPU, or of the host; `NO_LIMIT` where the system does not report it."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return min(_free_on_host(), _free_in_container())


def _free_on_host() -> int:
    with contextlib.suppress(OSError, ValueError), Path("/proc/meminfo").open(encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return NO_LIMIT


def _free_in_container() -> int:
    """Free bytes under the memory limit of the process's control group, if it has one."""
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text(encoding="ascii"))  # "max" means no limit
        return max(0, limit - int((group / "memory.current").read_text(encoding="ascii")))
    return NO_LIMIT
