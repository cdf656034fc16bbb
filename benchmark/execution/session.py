"""What `bench run` does from a request to records: plan, survey, run what is due, read back what is there."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Accelerate, Item, Outcome
from benchmark.api.grammar import parse_items
from benchmark.api.parameters import as_dict, bind
from benchmark.errors import RecordError, UsageError
from benchmark.execution import cell_state, runner
from benchmark.execution.devices import cores, expected_devices, resolve_devices
from benchmark.execution.estimates import Estimates
from benchmark.execution.plan import plan
from benchmark.execution.request import Plan, Request
from benchmark.execution.run_files import QueuedCell, announce
from benchmark.execution.summary import Result, result_of
from benchmark.progress import reporter_for
from benchmark.records import dataframe, index
from benchmark.records.atomic import replaced

SCORES = "scores.csv"
"""The CSV of all finished records below --out."""
SHARE = 0.9
"""Of a device's memory that cells may hold together: the rest is for what no record tells of, CUDA's own included."""
PATIENCE = 19
"""Times as long as it took to write it, until it is written again while cells run."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a request is carried out, as typed."""

    out: Path
    data_dir: Path
    device: str
    """`auto`, `cpu`, `cuda`, `cuda:0,1`."""
    executor: str
    """An item: `local`, `inline`."""
    threads: int
    """CPU threads of each cell."""
    rerun: cell_state.Rerun
    accelerate: Accelerate = "auto"
    per_device: str = "auto"
    """Cells at once on each device: a number, or `auto`: a GPU takes one, the CPU as many as its cores have threads for."""
    timeout: float | None = None
    """Seconds of silence after which a cell is ended; None: never."""
    checkpoint_minutes: float = 1.0
    """Least time between two checkpoints of a cell."""
    checkpoint_epochs: int | None = None
    """Also after every so many epochs."""


@dataclass(frozen=True, kw_only=True)
class RunForecast:
    """What a run would do, and how long that may take."""

    plan: Plan
    errands: tuple[cell_state.PendingCell, ...]
    due: tuple[cell_state.PendingCell, ...]
    estimates: Estimates
    devices: tuple[str, ...]
    slots: int
    """On all devices together."""


def forecast(request: Request, where: RunOptions, catalog: Catalog | None = None) -> RunForecast:
    """What a run would do; nothing is run. Without torch: which devices there are is guessed.

    Raises:
        UsageError: something asked for does not exist or cannot be.
    """
    found = plan(request, catalog or load_catalog())
    devices = expected_devices(where.device)
    estimates = _estimates(found, where.out, devices)
    errands = cell_state.survey(found, where.out)
    return RunForecast(
        plan=found,
        errands=tuple(errands),
        due=tuple(cell_state.cells_to_run(errands, where.rerun)),
        estimates=estimates,
        devices=devices,
        slots=slots_of_device(where, devices) * len(devices),
    )


def _estimates(found: Plan, out: Path, devices: Sequence[str]) -> Estimates:
    columns, _ = index.read(out)
    return Estimates(columns.briefs, devices[0].partition(":")[0], found.images)


def run(request: Request, where: RunOptions, *, quiet: bool = False, catalog: Catalog | None = None) -> Result:
    """Carries out a request.

    Raises:
        UsageError: something asked for does not exist or cannot be; nothing was run.
        KeyboardInterrupt: passes after the CSV of what is finished was written.
    """
    catalog = catalog or load_catalog()
    found = plan(request, catalog)
    if not found.cells:
        reasons = "; ".join(f"{skip.title}: {skip.reason}" for skip in found.skips)
        raise UsageError(f"nothing to run: {reasons or 'no method, encoder or dataset was named'}")
    runner.check_writable(where.out)
    errands = cell_state.survey(found, where.out)
    todo = cell_state.cells_to_run(errands, where.rerun)
    place = _place(where, catalog) if todo else None
    outcomes: list[Outcome] = []
    scores = Scores(where.out)
    try:
        if place is not None:
            estimates = _estimates(found, where.out, place.devices)
            slots = place.slots * len(place.devices)
            with (
                announce(where.out, slots, _cells(todo, where.out, estimates)),
                reporter_for(len(todo), slots, quiet) as tell,
            ):
                for outcome in runner.run(todo, catalog, place, tell, guess=estimates.guess):
                    outcomes.append(outcome)
                    scores.refresh()
    finally:
        scores.write()
    result = result_of(found, errands, todo, outcomes, where.out / SCORES)
    return dataclasses.replace(result, problem=scores.problem)


def _cells(todo: Sequence[cell_state.PendingCell], out: Path, estimates: Estimates) -> list[QueuedCell]:
    """What is to be done, as other terminals are told of it."""
    return [
        QueuedCell(
            id=errand.cell.id,
            folder=errand.folder,
            title=errand.cell.title,
            seconds=estimates.seconds(errand),
            stamp=None if errand.standing == "new" else index.stamp_of(f"{out}/{errand.folder}"),
        )
        for errand in todo
    ]


def _place(where: RunOptions, catalog: Catalog) -> runner.RunConfig:
    chosen = parse_items([where.executor])
    if len(chosen) != 1:
        raise UsageError(f"--executor {where.executor}: name one executor")
    spec = catalog.find(catalog.executors, "executor", chosen[0].name).spec
    params = as_dict(bind(spec.params, dict(chosen[0].params), f"executor '{spec.name}'"))
    for option, value in (("--timeout", where.timeout), ("--checkpoint-minutes", where.checkpoint_minutes)):
        if value is not None and not math.isfinite(value):
            raise UsageError(f"{option} {value} cannot be; it is a number, leave it out for the default")
    devices = resolve_devices(where.device)
    return runner.RunConfig(
        out=where.out,
        data_dir=where.data_dir,
        executor=Item(name=chosen[0].name, params=params),
        devices=devices,
        slots=slots_of_device(where, devices),
        threads=where.threads,
        rerun=where.rerun,
        accelerate=where.accelerate,
        timeout=where.timeout,
        checkpoint_seconds=60 * where.checkpoint_minutes,
        checkpoint_epochs=where.checkpoint_epochs,
        memory=_memory(devices),
    )


def slots_of_device(where: RunOptions, devices: Sequence[str]) -> int:
    """Cells at once on each device.

    Raises:
        UsageError: --per-device is neither a number from 1 nor `auto`.
    """
    word = where.per_device.strip()
    if word == "auto":
        return max(1, cores() // where.threads) if tuple(devices) == ("cpu",) else 1
    if not word.isdecimal() or int(word) < 1:
        raise UsageError(
            f"--per-device {where.per_device}: cells at once on each device are a whole number from 1, or auto"
        )
    return int(word)


def _memory(devices: Sequence[str]) -> dict[str, int]:
    """Device -> bytes that cells may hold there together: what the host has left, all that a GPU has, less a tenth."""
    import torch  # here, because a run that has nothing to do needs none

    from benchmark.training.batches import free_memory

    return {
        device: int(
            SHARE
            * (
                free_memory(torch.device(device))
                if device == "cpu"
                else torch.cuda.get_device_properties(device).total_memory
            )
        )
        for device in devices
    }


class Scores:
    """The CSV of all finished records below a folder."""

    def __init__(self, out: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.out = out
        self.clock = clock
        self.next = -math.inf
        """When it may be written again."""
        self.problem = ""
        """Why it could not be written the last time it was tried: a full disk costs no running cell."""

    def refresh(self) -> None:
        """Writes it again, unless that were to take more than a twentieth of the time: it grows with every cell."""
        if self.clock() >= self.next:
            self.write()

    def write(self) -> None:
        """Writes it, or keeps why it could not be."""
        start = self.clock()
        columns, _ = index.read(self.out)
        done = columns.chosen([place for place, brief in enumerate(columns.briefs) if brief.state == "done"])
        self.problem = ""
        try:
            with replaced(self.out / SCORES) as file:
                file.write(dataframe.write_csv(done).encode())
        except RecordError as error:
            self.problem = str(error)
        end = self.clock()
        self.next = end + PATIENCE * (end - start)
