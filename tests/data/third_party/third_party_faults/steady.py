"""Slow methods with all the state that a checkpoint must hold: two generators, a moving average, a counter."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from bench_third_party.mean_color import MeanColor
from torch import Tensor

import benchmark
from third_party_faults.activity import note, seconds, wait_at_the_gate


class Steady(MeanColor):
    """Logs `start` at its first step in a process (and waits at the gate), `step` after each step, `end` at the end."""

    average: Tensor
    epochs: Tensor

    def __init__(self, name: str, context: benchmark.MethodContext) -> None:
        super().__init__(context.encoder, context.layout, context.image_shape, "center")
        self.name = name
        self.cell = f"{name}/{context.generator.initial_seed()}"
        self.started = False
        self.register_buffer("average", self.head.weight.detach().clone())
        self.register_buffer("epochs", torch.zeros(()))

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of one batch, after a pause."""
        if not self.started:
            note("start", self.cell)
            self.started = True
            wait_at_the_gate()
        time.sleep(seconds("THIRD_PARTY_STEP_SECONDS"))
        losses = super().loss(self._noisy(batch) if self.name == "steady_noise" else batch)
        if self.name == "steady_teacher":
            distance = (self.head.weight - self.average).square().mean() / (1 + self.epochs)
            losses = benchmark.Losses(total=losses.total + distance, parts=losses.parts)
        note("step", self.cell)
        return losses

    def after_step(self, progress: float) -> None:
        """Moves the average, more slowly towards the end."""
        if self.name == "steady_teacher":
            self.average.lerp_(self.head.weight.detach(), 0.1 + 0.4 * (1 - progress))

    def after_epoch(self, progress: float, batches: object) -> None:
        """Counts epochs."""
        self.epochs += 1

    def trained_encoder(self) -> benchmark.Encoder:
        """The encoder of the context."""
        note("end", self.cell)
        return self.encoder

    def _noisy(self, batch: benchmark.Batch) -> benchmark.Batch:
        drawn = torch.rand(batch.images.shape, generator=batch.generator)
        images = F.dropout(batch.images, 0.2).lerp(drawn, 0.2 * (1 - batch.progress))
        return benchmark.Batch(
            images=images, raw=batch.raw, index=batch.index, progress=batch.progress, generator=batch.generator
        )
