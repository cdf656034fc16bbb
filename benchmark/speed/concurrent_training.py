"""Measure the throughput of several processes that train the same cell at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmark.api.catalog import load_catalog
from benchmark.api.cells import Cell
from benchmark.errors import TrainingError
from benchmark.execution import devices
from benchmark.speed.measurement import Measurement, MeasurementSettings
from benchmark.speed.timed_training import TimedTraining, load_training, training_steps, warm_up_steps
from benchmark.speed.timing import synchronize
from benchmark.training.step import TrainingStep


def measure_concurrent(training: TimedTraining, data_dir: Path) -> list[Measurement]:
    """Images per second of `settings.processes` processes together, and the ratio to one process."""
    settings = training.settings
    single, total = (concurrent_rate(training.cell, data_dir, settings, count) for count in (1, settings.processes))
    detail = f"{settings.processes} processes, {settings.threads} threads each"
    return [
        training.measurement(f"{settings.processes} at once", total, "images/s", detail=f"sum of {detail}"),
        training.measurement(
            f"{settings.processes} at once ratio", total / single, "x", detail=f"{detail}, relative to one process"
        ),
    ]


def concurrent_rate(cell: Cell, data_dir: Path, settings: MeasurementSettings, count: int) -> float:
    """Images per second of `count` processes together, while all of them train. Each loads the dataset itself.

    Raises:
        TrainingError: a process failed.
    """
    spawn = multiprocessing.get_context("spawn")
    barrier, rates = spawn.Barrier(count), spawn.Queue()
    processes = [
        spawn.Process(target=_train_for_seconds, args=(cell, data_dir, settings, barrier, rates), daemon=True)
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failed = [process.exitcode for process in processes if process.exitcode]
    if failed:
        raise TrainingError(
            f"--together {settings.processes}: {len(failed)} of {count} processes failed; their errors are printed above"
        )
    return float(sum(rates.get() for _ in processes))


def _train_for_seconds(
    cell: Cell, data_dir: Path, settings: MeasurementSettings, barrier: Barrier, rates: Queue[float]
) -> None:
    """Puts the rate of one process into `rates`, measured after all processes have warmed up."""
    seconds = settings.rounds * settings.min_seconds
    with _abort_on_failure(barrier), devices.threads(settings.threads):
        training = load_training(cell, load_catalog(), data_dir, settings)
        if training is None:
            return
        part = training.new_step(TrainingStep, training.encoder(), settings.accelerate)
        with part.accelerator.running(), part.accelerator.setting():
            steps = training_steps(part, part.step.optimizer())
            for _ in range(warm_up_steps(settings)):
                next(steps)
            synchronize(settings.device)
            barrier.wait()
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                next(steps)
                count += 1
            synchronize(settings.device)
            rates.put(count * training.batch / (time.perf_counter() - start))


@contextlib.contextmanager
def _abort_on_failure(barrier: Barrier) -> Iterator[None]:
    """If the block fails, the other processes stop waiting at the barrier."""
    try:
        yield
    except BaseException:
        barrier.abort()
        raise
