"""Measure the highest arithmetic and memory throughput of a device."""

from __future__ import annotations

import contextlib
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.execution.devices import cores
from benchmark.speed.measurement import Measurement, MeasurementSettings
from benchmark.speed.timing import TimedCall, time_in_turns

MIN_SECONDS = 0.2
"""Shortest duration of one measurement."""


@dataclass(frozen=True, kw_only=True)
class DeviceLimits:
    """Highest measured throughput of a device."""

    flops: float
    """Floating point operations per second of a large matrix product in the precision that training uses."""
    bytes: float
    """Bytes per second, read and written, of a copy on the device."""

    def measurements(self, precision: str) -> list[Measurement]:
        """Both limits as entries of a speed report."""
        return [
            Measurement(
                subject="device",
                quantity="matrix product",
                value=self.flops,
                unit="flop/s",
                detail=f"{precision}, maximum over rounds",
            ),
            Measurement(
                subject="device",
                quantity="copy",
                value=self.bytes,
                unit="bytes/s",
                detail="read and written, maximum over rounds",
            ),
        ]


def measure_device(settings: MeasurementSettings) -> tuple[DeviceLimits, list[Measurement]]:
    """The limits of the device in the precision that training uses on it."""
    low_precision = settings.device.type == "cuda" and torch.cuda.is_bf16_supported()
    precision = torch.bfloat16 if low_precision else torch.float32
    limits = measure_limits(settings.device, precision, settings.rounds)
    return limits, limits.measurements("bfloat16" if low_precision else "float32")


def measure_limits(device: torch.device, precision: torch.dtype, rounds: int) -> DeviceLimits:
    """The fastest of `rounds` matrix products and copies."""
    side = 8192 if device.type == "cuda" else 2048
    left = torch.randn(side, side, device=device, dtype=precision)
    right = torch.randn(side, side, device=device, dtype=precision)
    product = torch.empty_like(left)
    source = torch.ones((2**30 if device.type == "cuda" else 2**27) // 4, device=device)
    target = torch.empty_like(source)
    seconds = time_in_turns(
        {
            "product": TimedCall(call=lambda: torch.mm(left, right, out=product)),
            "copy": TimedCall(call=lambda: target.copy_(source)),
        },
        device,
        rounds,
        MIN_SECONDS,
    )
    return DeviceLimits(flops=2 * side**3 / min(seconds["product"]), bytes=2 * source.nbytes / min(seconds["copy"]))


def cpu_name() -> str:
    """Name of the processor and number of available cores."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {cores()} cores"
    return f"{platform.machine()}, {cores()} cores"
