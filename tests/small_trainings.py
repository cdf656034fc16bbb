"""Short trainings of a small method on small images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import benchmark
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.evaluation.features import state_checksum
from benchmark.progress import Event, silent
from benchmark.testing.miniature import CLASSES, SMALL_ENCODER, small_images
from benchmark.training.loop import train
from benchmark.training.step import TrainingStep
from benchmark.training.task import Trained, TrainingData, TrainingTask

IMAGES = 40
RECIPE = benchmark.Recipe(epochs=3, batch=16, augment="crop", pad=1, lr=0.01)
"""Two steps per epoch: 40 images, of which the last 8 are left out."""

Build = Callable[[benchmark.MethodContext], nn.Module]
Change = Callable[["MeanColor", benchmark.Batch, benchmark.Losses], Any]


class MeanColor(nn.Module):
    """Predicts the mean color of each image: a small loss that depends on the encoder."""

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__()
        self.context = context
        self.encoder = context.encoder
        self.head = nn.Linear(12, 3)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        error = (self.head(self.encoder.vector(batch.images)) - batch.images.mean(dim=(2, 3))).square().mean()
        return benchmark.Losses(total=error, parts={"error": error.detach()})


def with_loss(change: Change) -> type[MeanColor]:
    """MeanColor whose loss goes through a function."""

    class Changed(MeanColor):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            return change(self, batch, super().loss(batch))

    return Changed


class ReadsItsLoss(MeanColor):
    """A method that reads its loss on the host."""

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        losses = super().loss(batch)
        losses.total.item()
        return losses


def small_encoder(seed: int | None = 0) -> NormalizedEncoder:
    params = SMALL_ENCODER.params()
    return build_encoder(
        SMALL_ENCODER, params, (3, 16, 16), num_images=IMAGES, seed=seed, mean=[0.4] * 3, std=[0.3] * 3
    )


def task_of(
    build: Build = MeanColor,
    *,
    recipe: benchmark.Recipe = RECIPE,
    seed: int | None = 0,
    labels: Any = "none",
    trains: bool = True,
    capturable: bool = False,
    **task: Any,
) -> TrainingTask:
    spec = benchmark.MethodSpec(
        name="tried", summary="", build=build, labels=labels, trains=trains, capturable=capturable
    )
    return TrainingTask(spec=spec, params=None, recipe=recipe, seed=seed, title="tried / small", **task)


def data_of(count: int = IMAGES, **data: Any) -> TrainingData:
    images, labels = small_images(count)
    return TrainingData(images=images, labels=labels, num_classes=CLASSES, **data)


def train_small(
    build: Build = MeanColor, *, count: int = IMAGES, reporter: Callable[[Event], None] = silent, **task: Any
) -> Trained:
    """Trains a method on the small encoder."""
    made = task_of(build, **task)
    return train(made, data_of(count), small_encoder(made.seed), reporter)


def step_of(build: Build = MeanColor, *, count: int = IMAGES, **task: Any) -> TrainingStep:
    """The training step of a method before it runs. The global random state is not changed."""
    made = task_of(build, **task)
    with torch.random.fork_rng(devices=[]):
        return TrainingStep(made, data_of(count), small_encoder(made.seed), silent)


def equal_weights(one: Trained, other: Trained) -> bool:
    return state_checksum(one.encoder) == state_checksum(other.encoder)
