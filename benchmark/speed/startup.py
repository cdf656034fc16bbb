"""Measure the start-up time of the command line and of a cell's process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Cell, Item, Job
from benchmark.api.executors import ExecutorContext
from benchmark.api.recipes import Recipe
from benchmark.progress import Event
from benchmark.speed.measurement import Measurement, MeasurementSettings

STARTED_CELLS = 4
"""Number of cells that are started; the first also starts the fork server."""


def measure_startup(catalog: Catalog, settings: MeasurementSettings) -> list[Measurement]:
    """Seconds of `bench --help`, and from the end of one cell to the start of the next in the default executor."""
    starts = cell_start_seconds(catalog)
    times = {
        "bench --help": help_seconds(settings.rounds),
        "first cell's process": starts[:1],
        "next cell's process": starts[1:],
    }
    return [
        Measurement(
            subject="start-up",
            quantity=quantity,
            value=statistics.median(seconds),
            unit="s",
            spread=(min(seconds), max(seconds)),
        )
        for quantity, seconds in times.items()
        if seconds
    ]


def help_seconds(rounds: int) -> list[float]:
    """Seconds of `bench --help` in a new process, without the first call, which may read from the disk."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "benchmark", "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def cell_start_seconds(catalog: Catalog) -> list[float]:
    """Seconds from the end of one cell to the start of the next, for `STARTED_CELLS` cells of the local executor.

    The cells name a dataset that does not exist, so each fails as soon as it has started.
    """
    spec = catalog.find(catalog.executors, "executor", "local").spec
    seconds: list[float] = []
    ended = time.perf_counter()

    def reporter(event: Event) -> None:
        if event.kind == "started":
            seconds.append(time.perf_counter() - ended)

    with tempfile.TemporaryDirectory() as folder:
        executor = spec.build(ExecutorContext(params=spec.params(), devices=("cpu",), slots=1, threads=1))
        jobs = [_failing_job(number, folder) for number in range(STARTED_CELLS)]
        ended = time.perf_counter()
        for _ in executor.run(jobs, reporter):
            ended = time.perf_counter()
    return seconds


def _failing_job(number: int, folder: str) -> Job:
    item = Item(name="nothing", label="nothing", params={}, identity={})
    cell = Cell(
        id=f"{number:064d}",
        method=item,
        encoder=item,
        dataset=item,
        fingerprint="",
        subset=None,
        seed=0,
        recipe=Recipe(epochs=0),
        smoke=True,
    )
    return Job(cell=cell, scores=(), data_dir=folder, out_dir=folder, folder=str(number))
