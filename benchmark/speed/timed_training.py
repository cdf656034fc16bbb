"""Build the training of a cell so that its data, its step and both can be timed separately."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Accelerate, Cell
from benchmark.api.methods import Batch, Losses, MethodSpec
from benchmark.api.parameters import bind
from benchmark.encoder import NormalizedEncoder
from benchmark.evaluation import trained_encoder
from benchmark.evaluation.cell_data import load_cell_data
from benchmark.progress import silent
from benchmark.speed.measurement import Measurement, MeasurementSettings
from benchmark.speed.plain import PlainEncoder, PlainImages, plain_batches
from benchmark.training import acceleration
from benchmark.training.acceleration import Accelerator
from benchmark.training.batches import batch_source_for
from benchmark.training.optimizer import optimizer_for
from benchmark.training.step import TrainingStep
from benchmark.training.task import TrainingData, TrainingTask


class DataStep(TrainingStep):
    """Makes batches and the method's views, without training."""

    def run(self, optimizer: Optimizer, batch: Batch) -> None:
        """Makes the views of a batch, if the method has any."""
        if self.has("views"):
            self.hooks.views(batch)


class FixedBatchStep(TrainingStep):
    """Trains on one batch that was made once, in every step."""

    fixed: Batch | None = None
    views: Any = None

    def make_batch(self, raw: Tensor, index: Tensor, progress: float) -> Batch:
        """The same batch in every step. Its views are made once."""
        if self.fixed is None or len(self.fixed.index) != len(index):
            self.fixed = super().make_batch(raw.clone(), index.clone(), progress)
            self.views = self.hooks.views(self.fixed) if self.has("views") else None
        return self.fixed

    def run(self, optimizer: Optimizer, batch: Batch) -> None:
        """A training step that uses the views of the fixed batch."""
        if not self.has("loss_of"):
            super().run(optimizer, batch)
            return
        losses = cast(Losses, self.hooks.loss_of(self.fixed, self.views))
        self.update(optimizer, losses)
        self.sums.add(losses)


@dataclass(frozen=True)
class AcceleratedStep:
    """A training step with its accelerator."""

    step: TrainingStep
    accelerator: Accelerator


@dataclass(frozen=True, kw_only=True)
class TimedTraining:
    """The training of a cell, to be built once per measurement."""

    cell: Cell
    spec: MethodSpec
    params: Any
    """Parameters of the method."""
    images: Tensor
    """(N, C, H, W) uint8, on the device."""
    labels: Tensor | None
    """(N,) int64; None if the method uses no labels."""
    num_classes: int
    mean: Sequence[float]
    """Per channel, for images in [0, 1]."""
    std: Sequence[float]
    """Per channel, for images in [0, 1]."""
    settings: MeasurementSettings
    catalog: Catalog

    @property
    def title(self) -> str:
        """Name of the cell in a speed report."""
        return cell_title(self.cell)

    @property
    def batch(self) -> int:
        """Images per step."""
        return min(self.cell.recipe.batch, len(self.images))

    def encoder(self) -> NormalizedEncoder:
        """A new encoder on the device, as in a cell with seed 0."""
        return trained_encoder.new_encoder(
            dataclasses.replace(self.cell, seed=0),
            self.catalog,
            image_shape=(self.images.shape[1], self.images.shape[2], self.images.shape[3]),
            num_images=len(self.images),
            mean=self.mean,
            std=self.std,
            device=self.settings.device,
        )

    def new_step(self, kind: type[TrainingStep], encoder: NormalizedEncoder, accelerate: Accelerate) -> AcceleratedStep:
        """A new training step, or one of its parts, with a new method.

        Args:
            kind: `TrainingStep`, `DataStep` or `FixedBatchStep`.
            encoder: what is trained.
            accelerate: as `--accelerate`.
        """
        task = TrainingTask(
            spec=self.spec, params=self.params, recipe=self.cell.recipe, seed=0, title=self.title, accelerate=accelerate
        )
        data = TrainingData(
            images=self.images, labels=self.labels, num_classes=self.num_classes, device=self.settings.device
        )
        with torch.random.fork_rng([self.settings.device] if self.settings.device.type == "cuda" else []):
            step = kind(task, data, encoder, silent)
        return AcceleratedStep(step, Accelerator(step))

    def plain_images(self) -> PlainImages:
        """The dataset of the plain data loader."""
        recipe = self.cell.recipe
        return PlainImages(self.images.cpu().numpy(), recipe.augment, recipe.pad, self.spec.plain_views, self.params)

    def measurement(
        self, quantity: str, value: float, unit: str, *, spread: tuple[float, float] | None = None, detail: str = ""
    ) -> Measurement:
        """An entry of the speed report about this training."""
        return Measurement(
            subject=self.title,
            quantity=quantity,
            value=float(value),
            unit=unit,
            spread=spread,
            batch=self.batch,
            detail=detail,
        )


def load_training(cell: Cell, catalog: Catalog, data_dir: Path, settings: MeasurementSettings) -> TimedTraining | None:
    """The training of a cell, with its images on the device; None if the method does not train."""
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


def cell_title(cell: Cell) -> str:
    """Name of a cell in a speed report: method / encoder / dataset."""
    return f"{cell.method.label} / {cell.encoder.label} / {cell.dataset.label}"


def training_steps(accelerated: AcceleratedStep, optimizer: Optimizer) -> Iterator[None]:
    """An infinite sequence of steps over shuffled epochs."""
    step = accelerated.step
    step.method.train()
    source = batch_source_for(step.data.images, step.device)
    while True:
        order = torch.randperm(step.length.num_images)
        for raw, index in source.batches(order, step.length.batch, step.length.steps_per_epoch):
            if len(index) == step.length.batch:  # the last batch of an epoch may be smaller, which takes less time
                accelerated.accelerator.step(optimizer, raw, index, 0.0)
                yield


def plain_iterations(training: TimedTraining) -> Iterator[tuple[str, Iterator[None]]]:
    """(`data`, `step` or `both`, infinite iterations) of the plain pipeline: loading, training, training on loaded data."""
    yield "data", _plain_data(training)
    yield "step", _plain_steps(training)
    yield "both", _plain_training(training)


def _plain_data(training: TimedTraining) -> Iterator[None]:
    for tensors in plain_batches(training.plain_images(), training.batch, training.settings.workers):
        for tensor in tensors:
            tensor.to(training.settings.device)
        yield


def _plain_steps(training: TimedTraining) -> Iterator[None]:
    encoder = PlainEncoder(training.encoder()).to(training.settings.device)
    step = training.new_step(FixedBatchStep, encoder, "off").step
    step.method.train()
    groups = [{"params": [p for p in step.method.parameters() if p.requires_grad]}]
    optimizer = optimizer_for(groups, training.cell.recipe, fused=None)
    while True:
        run_plain_step(training, step, optimizer)
        yield


def _plain_training(training: TimedTraining) -> Iterator[None]:
    steps = _plain_steps(training)
    for _ in _plain_data(training):
        next(steps)
        yield


def run_plain_step(training: TimedTraining, step: TrainingStep, optimizer: Optimizer) -> None:
    """One step on the first images of the dataset, without acceleration."""
    index = torch.arange(training.batch, device=training.settings.device)
    step.run(optimizer, step.make_batch(training.images[index], index, 0.0))


def warm_up_steps(settings: MeasurementSettings) -> int:
    """Number of steps before a measurement. On a GPU the step is captured during them."""
    return acceleration.WARM_UP_STEPS + 2 if settings.device.type == "cuda" else 1
