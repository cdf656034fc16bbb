"""Grill et al., NeurIPS 2020, section 3, with two random crops as views."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from benchmark import images


class Byol(nn.Module):
    """Student, predictor and teacher; all state is in parameters and buffers."""

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__()
        features, width = context.layout.tap(context.layout.output).width("average"), context.params.width
        self.encoder = context.encoder
        self.projector = _perceptron(features, width)
        self.predictor = _perceptron(width, width)
        self.teacher = copy.deepcopy(context.encoder).requires_grad_(False)
        self.teacher_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.momentum = context.params.momentum
        self.pad = max(1, context.image_shape[1] // 8)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """Symmetric: each view predicts the teacher's projection of the other."""
        one, two = self._view(batch), self._view(batch)
        total = (self._distance(one, two) + self._distance(two, one)) / 2
        return benchmark.Losses(total=total)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Moves the teacher towards the student, more slowly towards the end."""
        momentum = 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2
        pairs = ((self.teacher, self.encoder), (self.teacher_projector, self.projector))
        for teacher, student in pairs:
            for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
                old.lerp_(new, 1 - momentum)

    def trained_encoder(self) -> nn.Module:
        """The teacher is scored."""
        return self.teacher

    def _view(self, batch: benchmark.Batch) -> Tensor:
        moved = images.augment(batch.raw, "crop-flip", self.pad, batch.generator)
        return images.to_float(moved)

    def _distance(self, view: Tensor, other: Tensor) -> Tensor:
        predicted = self.predictor(self.projector(self.encoder.vector(view)))
        with torch.no_grad():
            target = self.teacher_projector(self.teacher.vector(other))
        return 2 - 2 * F.cosine_similarity(predicted, target).mean()


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width))
