"""Training against the clock: data, step and both, ours beside the plain way, by turns in one process."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Accelerate, Cell
from benchmark.api.methods import Batch, Losses
from benchmark.api.parameters import bind
from benchmark.encoder import NormalizedEncoder
from benchmark.errors import TrainingError, UsageError
from benchmark.evaluation import trained_encoder
from benchmark.evaluation.cell_data import load_cell_data
from benchmark.execution import devices
from benchmark.execution.request import Plan
from benchmark.progress import silent
from benchmark.speed import timing
from benchmark.speed.reference import PlainEncoder, PlainImages, plain_batches
from benchmark.speed.timing import DeviceLimits, TimedCall
from benchmark.training import acceleration
from benchmark.training.loop import Loop, TrainingData, TrainingTask
from benchmark.training.optimizer import optimizer_for


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How to measure."""

    device: torch.device
    threads: int
    rounds: int = 5
    least_seconds: float = 0.5
    """Of one turn of one contestant."""
    batch: int | None = None
    """Instead of the recipe's."""
    accelerate: Accelerate = "auto"
    workers: int = 1
    """Processes of the plain data loader."""
    plain: bool = True
    """Measure the plain way as well."""
    profile: bool = False
    """Say which operations a step spends its time in."""
    together: int = 1
    """Processes that train the same at once; 1: not measured."""


@dataclass(frozen=True, kw_only=True)
class TrainingTimes:
    """One number of a speed report."""

    subject: str
    """`aet / blocknet / digits`, an evaluator, `device`, `start-up`."""
    quantity: str
    value: float
    unit: str
    spread: tuple[float, float] | None = None
    """Least and largest over the rounds; None for what was counted or taken once."""
    batch: int | None = None
    detail: str = ""


class _DataLoop(Loop):
    """Makes batches and the method's views, and trains nothing."""

    def plain_step(self, optimizer: Optimizer, batch: Batch) -> None:
        """The views of a batch, if the method makes any."""
        if self.has("views"):
            self.hooks.views(batch)


class _StepLoop(Loop):
    """Trains on one batch that was made before, again and again."""

    fixed: Batch | None = None
    views: Any = None

    def prepared(self, raw: Tensor, index: Tensor, progress: float) -> Batch:
        """The same batch every time; its views are made with it, once."""
        if self.fixed is None or len(self.fixed.index) != len(index):
            self.fixed = super().prepared(raw.clone(), index.clone(), progress)
            self.views = self.hooks.views(self.fixed) if self.has("views") else None
        return self.fixed

    def plain_step(self, optimizer: Optimizer, batch: Batch) -> None:
        """As in training, from the views that were made before."""
        if not self.has("loss_of"):
            super().plain_step(optimizer, batch)
            return
        losses = cast(Losses, self.hooks.loss_of(self.fixed, self.views))
        self.descend(optimizer, losses)
        self.sums.add(losses)


@dataclass(frozen=True, kw_only=True)
class TimedTraining:
    """A cell's training, ready to be built as often as it takes."""

    cell: Cell
    spec: Any
    params: Any
    images: Tensor
    labels: Tensor | None
    num_classes: int
    mean: Sequence[float]
    std: Sequence[float]
    settings: TrainingSettings
    catalog: Catalog

    @property
    def title(self) -> str:
        """As in the report."""
        return title_of(self.cell)

    @property
    def batch(self) -> int:
        """Images of a step."""
        return min(self.cell.recipe.batch, len(self.images))

    def encoder(self) -> NormalizedEncoder:
        """A fresh one on the device, as a cell has it."""
        return trained_encoder.new_encoder(
            dataclasses.replace(self.cell, seed=0),
            self.catalog,
            image_shape=(self.images.shape[1], self.images.shape[2], self.images.shape[3]),
            num_images=len(self.images),
            mean=self.mean,
            std=self.std,
            device=self.settings.device,
        )

    def loop(self, kind: type[Loop], encoder: NormalizedEncoder, accelerate: Accelerate) -> Loop:
        """The training loop, or a part of it, with a method of its own."""
        task = TrainingTask(
            spec=self.spec, params=self.params, recipe=self.cell.recipe, seed=0, title=self.title, accelerate=accelerate
        )
        data = TrainingData(
            images=self.images, labels=self.labels, num_classes=self.num_classes, device=self.settings.device
        )
        with torch.random.fork_rng([self.settings.device] if self.settings.device.type == "cuda" else []):
            return kind(task, data, encoder, silent)

    def plain_images(self) -> PlainImages:
        """The dataset of the plain loader."""
        recipe = self.cell.recipe
        return PlainImages(self.images.cpu().numpy(), recipe.augment, recipe.pad, self.spec.plain_views, self.params)


def training_of(cell: Cell, catalog: Catalog, data_dir: Path, settings: TrainingSettings) -> TimedTraining | None:
    """A cell with its images on the device; None if it does not train."""
    spec = trained_encoder.entry_of(catalog, "methods", "method", cell.method).spec
    if not spec.trains:
        return None
    data = load_cell_data(cell, catalog, data_dir, device=settings.device)
    mean, std = data.normalization(cell.recipe)
    return TimedTraining(
        cell=cell,
        spec=spec,
        params=bind(spec.params, cell.method.params, f"method '{spec.name}'"),
        images=data.images_to_train_on(spec.labels),
        labels=data.train.labels if spec.labels == "all" else None,
        num_classes=len(data.class_names),
        mean=mean,
        std=std,
        settings=settings,
        catalog=catalog,
    )


def _endless(loop: Loop, optimizer: Optimizer) -> Iterator[None]:
    """Steps without end, as the training loop makes them."""
    loop.method.train()
    while True:
        order = torch.randperm(len(loop.data.images))
        for raw, index in loop.feed.batches(order, loop.batch, loop.steps_per_epoch):
            if len(index) == loop.batch:  # a last, smaller batch is another amount of work
                loop.accelerator.step(optimizer, raw, index, 0.0)
                yield


def measure_trainings(training: TimedTraining, ceilings: DeviceLimits) -> list[TrainingTimes]:
    """Everything about one cell's training."""
    settings = training.settings
    with contextlib.ExitStack() as stack:
        contestants: dict[str, TimedCall] = {}
        loops: dict[str, Loop] = {}
        for name, kind in (("data", _DataLoop), ("step", _StepLoop), ("both", Loop)):
            loop = training.loop(kind, training.encoder(), settings.accelerate)
            stack.enter_context(loop.accelerator.running())
            steps = _endless(loop, loop.optimizer())
            stack.callback(steps.close)  # type: ignore[attr-defined]  # a generator
            with loop.accelerator.setting():
                for _ in range(_warm_up(settings)):
                    next(steps)
            contestants[name] = TimedCall(call=_calling(steps), setting=loop.accelerator.setting)
            loops[name] = loop
        if settings.plain:
            for name, steps in _plain_ways(training):
                next(steps)
                stack.callback(steps.close)
                contestants[f"plain {name}"] = TimedCall(call=_calling(steps))
        seconds = timing.interleaved(contestants, settings.device, settings.rounds, settings.least_seconds)
        found = _rates(training, seconds)
        both = contestants["both"]
        if settings.profile:
            for name in ("both", *(["plain step"] if settings.plain else [])):
                found += _profile(training, name, contestants[name])
        with both.setting(), timing.peak_memory(settings.device) as peak:
            both.call()
            both.call()
        detail = "; ".join(f"{what}: {how}" for what, how in loops["both"].accelerator.report.items())
    step_rate = training.batch / statistics.median(seconds["step"])
    found += [_number(training, "peak memory", peak.bytes, "bytes", detail="above weights and images")]
    found += _work(training, ceilings, step_rate)
    both_rate = training.batch / statistics.median(seconds["both"])
    epochs = training.cell.recipe.epochs
    found.append(
        _number(
            training,
            "schedule",
            epochs * len(training.images) / both_rate,
            "s",
            detail=f"projected: {epochs} epochs of {len(training.images)} images; {detail}",
        )
    )
    return found


def _warm_up(settings: TrainingSettings) -> int:
    """Steps before the clock: on a GPU until the step is captured."""
    return acceleration.WARM_UP_STEPS + 2 if settings.device.type == "cuda" else 1


def _calling(steps: Iterator[None]) -> Callable[[], object]:
    return lambda: next(steps)


def _plain_ways(training: TimedTraining) -> Iterator[tuple[str, Any]]:
    """The plain loader, the plain step, and the step fed by the loader."""
    settings, device = training.settings, training.settings.device

    def stepping() -> tuple[Loop, Optimizer]:
        loop = training.loop(_StepLoop, PlainEncoder(training.encoder()).to(device), "off")
        loop.method.train()
        groups = [{"params": [p for p in loop.method.parameters() if p.requires_grad]}]
        return loop, optimizer_for(groups, training.cell.recipe, fused=None)

    def step(loop: Loop, optimizer: Optimizer) -> None:
        index = torch.arange(training.batch, device=device)
        loop.plain_step(optimizer, loop.prepared(training.images[index], index, 0.0))

    def loader() -> Iterator[None]:
        for batch in plain_batches(training.plain_images(), training.batch, settings.workers):
            for tensor in batch:
                tensor.to(device)
            yield

    def alone() -> Iterator[None]:
        loop, optimizer = stepping()
        while True:
            step(loop, optimizer)
            yield

    def both() -> Iterator[None]:
        loop, optimizer = stepping()
        for _ in loader():
            step(loop, optimizer)
            yield

    yield "data", loader()
    yield "step", alone()
    yield "both", both()


def _rates(training: TimedTraining, seconds: dict[str, list[float]]) -> list[TrainingTimes]:
    found = []
    for name, each in seconds.items():
        rates = [training.batch / one for one in each]
        found.append(_number(training, name, statistics.median(rates), "images/s", spread=(min(rates), max(rates))))
    for name in ("data", "step", "both"):
        if f"plain {name}" in seconds:
            pair = seconds[f"plain {name}"], seconds[name]
            ratios = [slow / fast for slow, fast in zip(*pair, strict=True)]
            found.append(
                _number(training, f"{name} ratio", timing.ratio(*pair), "x", spread=(min(ratios), max(ratios)))
            )
    return found


def _profile(training: TimedTraining, name: str, contestant: TimedCall) -> list[TrainingTimes]:
    """The operations that a call spends most of its time in, with their parts of it."""
    with contestant.setting():
        contestant.call()
        parts = timing.profile(contestant.call, training.settings.device)
    return [
        _number(training, f"{name}: {operation}", part, "fraction", detail="of the time of one profiled step")
        for operation, part in parts
    ]


def _work(training: TimedTraining, ceilings: DeviceLimits, rate: float) -> list[TrainingTimes]:
    """FLOPs and bytes of an image, and which part of the ceilings the step reaches with them."""
    loop = training.loop(_StepLoop, training.encoder(), "off")
    loop.method.train()
    optimizer = loop.optimizer()
    index = torch.arange(training.batch, device=training.settings.device)
    found = timing.work(lambda: loop.plain_step(optimizer, loop.prepared(training.images[index], index, 0.0)))
    flops, traffic = found.flops / training.batch, found.bytes / training.batch
    return [
        _number(training, "flops per image", flops, "flop"),
        _number(training, "bytes per image", traffic, "bytes", detail="every operation reads and writes memory once"),
        _number(training, "part of product ceiling", flops * rate / ceilings.flops, "fraction"),
        _number(training, "part of copy ceiling", traffic * rate / ceilings.bytes, "fraction"),
    ]


def _number(
    training: TimedTraining,
    quantity: str,
    value: float,
    unit: str,
    *,
    spread: tuple[float, float] | None = None,
    detail: str = "",
) -> TrainingTimes:
    return TrainingTimes(
        subject=training.title,
        quantity=quantity,
        value=float(value),
        unit=unit,
        spread=spread,
        batch=training.batch,
        detail=detail,
    )


# --- several at once --------------------------------------------------------------------------------------------------


def _together(training: TimedTraining, data_dir: Path) -> list[TrainingTimes]:
    """What the device gives to several processes that train the same at once, against one alone; each loads its own."""
    settings = training.settings
    alone, all_of_them = (_rate_of(training.cell, data_dir, settings, count) for count in (1, settings.together))
    detail = f"{settings.together} processes, {settings.threads} threads each"
    return [
        _number(training, f"{settings.together} at once", all_of_them, "images/s", detail=f"sum of {detail}"),
        _number(
            training, f"{settings.together} at once ratio", all_of_them / alone, "x", detail=f"{detail}, against 1"
        ),
    ]


def _rate_of(cell: Cell, data_dir: Path, settings: TrainingSettings, count: int) -> float:
    """Images a second of `count` processes taken together, over the time in which all of them train."""
    spawn = multiprocessing.get_context("spawn")
    barrier, rates = spawn.Barrier(count), spawn.Queue()
    processes = [
        spawn.Process(target=_train_for_a_while, args=(cell, data_dir, settings, barrier, rates), daemon=True)
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failed = [process.exitcode for process in processes if process.exitcode]
    if failed:
        raise TrainingError(f"--together {settings.together}: {len(failed)} of {count} processes failed; see above")
    return float(sum(rates.get() for _ in processes))


def _train_for_a_while(cell: Cell, data_dir: Path, settings: TrainingSettings, barrier: Any, rates: Any) -> None:
    seconds = settings.rounds * settings.least_seconds
    with _aborted_by_failure(barrier), devices.threads(settings.threads):
        training = training_of(cell, load_catalog(), data_dir, settings)
        if training is None:
            return
        loop = training.loop(Loop, training.encoder(), settings.accelerate)
        with loop.accelerator.running(), loop.accelerator.setting():
            steps = _endless(loop, loop.optimizer())
            for _ in range(_warm_up(settings)):
                next(steps)
            timing.wait_for(settings.device)
            barrier.wait()
            start, done = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                next(steps)
                done += 1
            timing.wait_for(settings.device)
            rates.put(done * training.batch / (time.perf_counter() - start))


@contextlib.contextmanager
def _aborted_by_failure(barrier: Any) -> Iterator[None]:
    """Nobody waits for a process that has died."""
    try:
        yield
    except BaseException:
        barrier.abort()
        raise


def trainings(
    plan: Plan, catalog: Catalog, data_dir: Path, settings: TrainingSettings, ceilings: DeviceLimits
) -> Iterator[list[TrainingTimes]]:
    """The numbers of each cell, one cell after another; of one that cannot be timed, the reason."""
    yield [_not_timed(skip.title, skip.reason) for skip in plan.skips]
    with devices.threads(settings.threads):
        for planned in plan.cells:
            title = title_of(planned.cell)
            try:
                training = training_of(planned.cell, catalog, data_dir, settings)
                if training is None:
                    yield [_not_timed(title, "it does not train")]
                    continue
                yield measure_trainings(training, ceilings)
                if settings.together > 1:
                    yield _together(training, data_dir)
            except Exception as error:  # a stranger's code, or memory that is out: the others are timed all the same
                yield [_not_timed(title, f"{type(error).__name__}: {' '.join(str(error).split())}")]


def check_trains(plan: Plan, catalog: Catalog) -> None:
    """Whether there is anything to time.

    Raises:
        UsageError: nothing is, with the reasons.
    """
    cells = [planned.cell for planned in plan.cells]
    if not any(trained_encoder.entry_of(catalog, "methods", "method", cell.method).spec.trains for cell in cells):
        reasons = "; ".join(f"{skip.title}: {skip.reason}" for skip in plan.skips)
        raise UsageError(f"nothing to time: {reasons or 'none of the methods trains'}")


def title_of(cell: Cell) -> str:
    """As in the report."""
    return f"{cell.method.label} / {cell.encoder.label} / {cell.dataset.label}"


def _not_timed(title: str, reason: str) -> TrainingTimes:
    return TrainingTimes(subject=title, quantity="not timed", value=0.0, unit="", detail=reason)
