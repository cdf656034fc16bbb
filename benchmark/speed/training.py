"""Measure the training of cells: data, step and both, next to a plain PyTorch pipeline."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmark.api.catalog import Catalog
from benchmark.errors import PLUGIN_ERRORS, UsageError
from benchmark.evaluation import trained_encoder
from benchmark.execution import devices
from benchmark.execution.request import Plan
from benchmark.speed.concurrent_training import measure_concurrent
from benchmark.speed.device_limits import DeviceLimits
from benchmark.speed.measurement import Measurement, MeasurementSettings, not_timed
from benchmark.speed.memory import peak_memory
from benchmark.speed.operation_counts import count_operations
from benchmark.speed.timed_training import (
    AcceleratedStep,
    DataStep,
    FixedBatchStep,
    TimedTraining,
    cell_title,
    load_training,
    plain_iterations,
    run_plain_step,
    training_steps,
    warm_up_steps,
)
from benchmark.speed.timing import TimedCall, profile, speedup, time_in_turns
from benchmark.training.step import TrainingStep

PARTS = ("data", "step", "both")
"""What is timed: making batches and views, the step on one fixed batch, and both together."""
STEPS: dict[str, type[TrainingStep]] = {"data": DataStep, "step": FixedBatchStep, "both": TrainingStep}


def check_any_trains(plan: Plan, catalog: Catalog) -> None:
    """Checks that the plan holds a cell that trains.

    Raises:
        UsageError: it holds none; the message gives the reasons.
    """
    cells = [planned.cell for planned in plan.cells]
    if not any(trained_encoder.entry_of(catalog, "methods", "method", cell.method).spec.trains for cell in cells):
        reasons = "; ".join(f"{skip.title}: {skip.reason}" for skip in plan.skips)
        raise UsageError(f"no training to measure: {reasons or 'none of the methods trains'}")


def measure_trainings(
    plan: Plan, catalog: Catalog, data_dir: Path, settings: MeasurementSettings, limits: DeviceLimits
) -> Iterator[list[Measurement]]:
    """The measurements of each cell of a plan. A cell that cannot be measured gives its reason.

    Args:
        plan: the cells and the skipped combinations.
        catalog: the installed plugins.
        data_dir: folder of the datasets.
        settings: how to measure.
        limits: the device's throughput, to which the step is compared.
    """
    yield [not_timed(skip.title, skip.reason) for skip in plan.skips]
    with devices.threads(settings.threads):
        for planned in plan.cells:
            title = cell_title(planned.cell)
            try:
                training = load_training(planned.cell, catalog, data_dir, settings)
                if training is None:
                    yield [not_timed(title, "the method does not train")]
                    continue
                yield measure_training(training, limits)
                if settings.processes > 1:
                    yield measure_concurrent(training, data_dir)
            except PLUGIN_ERRORS as error:  # plugin code, or out of memory: the other cells are measured nevertheless
                yield [not_timed(title, f"{type(error).__name__}: {' '.join(str(error).split())}")]


def measure_training(training: TimedTraining, limits: DeviceLimits) -> list[Measurement]:
    """Rates, peak memory, work per image and projected duration of one cell's training."""
    settings = training.settings
    with contextlib.ExitStack() as stack:
        calls, parts = _timed_steps(training, stack)
        if settings.with_plain:
            calls |= _timed_plain(training, stack)
        seconds = time_in_turns(calls, settings.device, settings.rounds, settings.min_seconds)
        measurements = _rates(training, seconds)
        if settings.with_profile:
            for name in ("both", *(["plain step"] if settings.with_plain else [])):
                measurements += _profile(training, name, calls[name])
        peak = _peak_memory(training, calls["both"])
        acceleration = "; ".join(f"{what}: {how}" for what, how in parts["both"].accelerator.report.items())
    measurements.append(peak)
    measurements += _work(training, limits, training.batch / statistics.median(seconds["step"]))
    measurements.append(_projected(training, training.batch / statistics.median(seconds["both"]), acceleration))
    return measurements


def _timed_steps(
    training: TimedTraining, stack: contextlib.ExitStack
) -> tuple[dict[str, TimedCall], dict[str, AcceleratedStep]]:
    """The three parts, warmed up; they are closed with the stack."""
    calls, parts = {}, {}
    for name, kind in STEPS.items():
        part = training.new_step(kind, training.encoder(), training.settings.accelerate)
        stack.enter_context(part.accelerator.running())
        steps = training_steps(part, part.step.optimizer())
        stack.callback(steps.close)  # type: ignore[attr-defined]  # a generator
        with part.accelerator.setting():
            for _ in range(warm_up_steps(training.settings)):
                next(steps)
        calls[name] = TimedCall(call=_next_of(steps), setting=part.accelerator.setting)
        parts[name] = part
    return calls, parts


def _timed_plain(training: TimedTraining, stack: contextlib.ExitStack) -> dict[str, TimedCall]:
    calls = {}
    for name, iterations in plain_iterations(training):
        next(iterations)
        stack.callback(iterations.close)  # type: ignore[attr-defined]  # a generator
        calls[f"plain {name}"] = TimedCall(call=_next_of(iterations))
    return calls


def _next_of(iterations: Iterator[None]) -> Callable[[], object]:
    return lambda: next(iterations)


def _rates(training: TimedTraining, seconds: dict[str, list[float]]) -> list[Measurement]:
    """Images per second of each call, and how many times as fast as the plain pipeline each part is."""
    measurements = []
    for name, rounds in seconds.items():
        rates = [training.batch / duration for duration in rounds]
        spread = (min(rates), max(rates))
        measurements.append(training.measurement(name, statistics.median(rates), "images/s", spread=spread))
    for name in PARTS:
        if f"plain {name}" in seconds:
            plain, own = seconds[f"plain {name}"], seconds[name]
            ratios = [slow / fast for slow, fast in zip(plain, own, strict=True)]
            spread = (min(ratios), max(ratios))
            measurements.append(training.measurement(f"{name} ratio", speedup(plain, own), "x", spread=spread))
    return measurements


def _profile(training: TimedTraining, name: str, timed: TimedCall) -> list[Measurement]:
    """The operations that take most of a call's time, each with its fraction."""
    with timed.setting():
        timed.call()
        operations = profile(timed.call, training.settings.device)
    return [
        training.measurement(f"{name}: {operation}", fraction, "fraction", detail="of the time of one profiled step")
        for operation, fraction in operations
    ]


def _peak_memory(training: TimedTraining, timed: TimedCall) -> Measurement:
    with timed.setting(), peak_memory(training.settings.device) as peak:
        timed.call()
        timed.call()
    return training.measurement("peak memory", peak.bytes, "bytes", detail="without weights and images")


def _work(training: TimedTraining, limits: DeviceLimits, rate: float) -> list[Measurement]:
    """FLOPs and bytes per image, and the fraction of the device's limits that the step reaches.

    Args:
        training: the training.
        limits: throughput of the device.
        rate: images per second of the step.
    """
    step = training.new_step(FixedBatchStep, training.encoder(), "off").step
    step.method.train()
    optimizer = step.optimizer()
    counts = count_operations(lambda: run_plain_step(training, step, optimizer))
    flops, traffic = counts.flops / training.batch, counts.bytes / training.batch
    return [
        training.measurement("flops per image", flops, "flop"),
        training.measurement(
            "bytes per image", traffic, "bytes", detail="if every operation reads and writes memory once"
        ),
        training.measurement("fraction of product limit", flops * rate / limits.flops, "fraction"),
        training.measurement("fraction of copy limit", traffic * rate / limits.bytes, "fraction"),
    ]


def _projected(training: TimedTraining, rate: float, acceleration: str) -> Measurement:
    epochs, images = training.cell.recipe.epochs, len(training.images)
    detail = f"projected: {epochs} epochs of {images} images; {acceleration}"
    return training.measurement("training time", epochs * images / rate, "s", detail=detail)
