"""What one training takes and returns: images, settings, the losses of each epoch and the trained encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.api.cells import Accelerate
from benchmark.api.methods import MethodSpec
from benchmark.api.recipes import Recipe
from benchmark.encoder import NormalizedEncoder
from benchmark.records.atomic import Replace, replaced
from benchmark.training.stop import StopRequest


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The images to train on."""

    images: Tensor
    """(N, C, H, W) uint8, on the device, or on the CPU and streamed from there; may be memory-mapped."""
    labels: Tensor | None
    """(N,) int64, on the device. The method gets them only if its spec declares `labels="all"`."""
    num_classes: int
    """Number of classes."""
    device: torch.device | None = None
    """Where to train; None: where the images are."""
    streamed: bool = False
    """Gather batches ahead in a thread even if the images are on the device: they are mapped from a file."""


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """The settings of one training."""

    spec: MethodSpec
    """The method."""
    params: Any
    """An instance of the method's `params` dataclass."""
    recipe: Recipe
    """Optimizer, schedule, batch size and augmentation."""
    seed: int | None
    """Seed of the cell; None for a method without randomness."""
    title: str
    """Name of the cell in events and messages."""
    checkpoint: Path | None = None
    """File for the training state; None: the state is not saved."""
    replace: Replace = replaced
    """How the file is replaced; a cell's lock refuses once another run has taken over the cell."""
    checkpoint_seconds: float = 60.0
    """Minimum time between two checkpoints."""
    checkpoint_epochs: int | None = None
    """Also write a checkpoint after every N epochs; None: by time only."""
    checkpoint_key: str = ""
    """Cell id and versions. A checkpoint with another key is not resumed."""
    sources: Mapping[str, Any] = field(default_factory=dict)
    """Fingerprints of the code, kept in the checkpoint."""
    stop: StopRequest | None = None
    """Asks the training to write a checkpoint and stop; None: no stop can be requested."""
    steps: int | None = None
    """Stop after this many steps (--smoke); None: train all epochs."""
    accelerate: Accelerate = "auto"
    """`auto`: what is faster on the device; `off`: the plain step; `compile`: compile the network in any case."""
    report_seconds: float = 1.0
    """Minimum time between two events that report a step."""


@dataclass(frozen=True, kw_only=True)
class TrainingLength:
    """How many steps a training has."""

    batch: int
    """Images in a full batch."""
    steps_per_epoch: int
    """Optimization steps in one epoch."""
    total_steps: int
    """Optimization steps in all epochs of the recipe."""
    num_images: int
    """Images to train on."""

    def images_seen(self, steps: int) -> int:
        """Number of images in the first `steps` steps; the last batch of an epoch may be smaller than the others."""
        epochs, rest = divmod(steps, self.steps_per_epoch)
        return epochs * min(self.steps_per_epoch * self.batch, self.num_images) + rest * self.batch


def training_length(recipe: Recipe, num_images: int) -> TrainingLength:
    """The length of a recipe's training on a number of images. A batch holds at most all of them."""
    batch = min(recipe.batch, num_images)
    steps = max(1, num_images // batch if recipe.drop_last else math.ceil(num_images / batch))
    return TrainingLength(batch=batch, steps_per_epoch=steps, total_steps=recipe.epochs * steps, num_images=num_images)


@dataclass(frozen=True, kw_only=True)
class TrainingPosition:
    """A position in a training, between two steps."""

    epoch: int = 0
    """Number of finished epochs."""
    step: int = 0
    """Number of finished steps of the next epoch."""


@dataclass(frozen=True, kw_only=True)
class EpochLosses:
    """Mean losses of one epoch."""

    epoch: int
    """1 for the first."""
    learning_rate: float
    """The rate of the epoch's last step."""
    losses: Mapping[str, float]
    """`total` and the method's parts."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of a training."""

    encoder: NormalizedEncoder
    """The encoder to score, in eval mode."""
    curve: tuple[EpochLosses, ...]
    """The losses of each epoch."""
    seconds: float
    """Wall-clock time of the training, including the time before a resume."""
    images_seen: int
    """Number of training images over all steps."""
    failed_to_learn: bool | None
    """Whether a declared part of the loss did not end below its trivial value; None: the method declares none."""
    trivial: Mapping[str, float]
    """Part of the loss -> its value for a predictor that ignores the image."""
    saw_labels: bool = False
    """Whether a batch held labels."""
    resumed_from: TrainingPosition = field(default_factory=TrainingPosition)
    """Position of the checkpoint that the training resumed from."""
    acceleration: Mapping[str, str] = field(default_factory=dict)
    """Accelerations that were used, or why not: `memory`, `compile`, `graph`."""
