"""The settings, the measurements and the results of `bench speed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from benchmark.api.cells import Accelerate


@dataclass(frozen=True, kw_only=True)
class MeasurementSettings:
    """How to measure."""

    device: torch.device
    threads: int
    """CPU threads of a measured process."""
    rounds: int = 5
    """Number of times that each call is measured, 1 or more. Reported values are medians over rounds."""
    min_seconds: float = 0.5
    """Shortest duration of one training measurement, in seconds."""
    accelerate: Accelerate = "auto"
    workers: int = 1
    """Worker processes of the plain data loader. 0: load in the measured process."""
    with_plain: bool = True
    """Whether to measure the plain PyTorch pipeline as well."""
    with_profile: bool = False
    """Whether to report the operations that take most of a step's time."""
    processes: int = 1
    """Number of processes that train the same cell at once. 1: not measured."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measured or counted number."""

    subject: str
    """What was measured: `aet / blocknet / digits`, an evaluator, `device` or `start-up`."""
    quantity: str
    """Name of the number. `not timed`: `detail` holds the reason."""
    value: float
    """In `unit`; the median over rounds if it was measured repeatedly."""
    unit: str
    """`s`, `images/s`, `bytes`, `bytes/s`, `flop`, `flop/s`, `x` (a ratio), `fraction`, or empty."""
    spread: tuple[float, float] | None = None
    """Smallest and largest value over rounds; None for a number that was counted or measured once."""
    batch: int | None = None
    """Images per training step; None for numbers that are not about training."""
    detail: str = ""
    """Conditions or a reason, in words."""


@dataclass(frozen=True, kw_only=True)
class SpeedResults:
    """What one run of `bench speed` measured."""

    conditions: Mapping[str, object]
    """Settings, versions, device and time, the same for all measurements."""
    measurements: tuple[Measurement, ...]


def not_timed(subject: str, reason: str) -> Measurement:
    """An entry for something that was not measured, with the reason."""
    return Measurement(subject=subject, quantity="not timed", value=0.0, unit="", detail=reason)
