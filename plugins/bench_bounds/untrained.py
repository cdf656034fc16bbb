"""Random weights with measured batch statistics: the features of an architecture without learning.

The batch normalization of a new network assumes inputs of mean 0 and variance 1. One pass over the training images, without
labels, measures the actual running statistics. No weight changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import torch
from torch import Tensor, nn

import benchmark
from bench_bounds.not_trained import NotTrained

# torch has no public base class of its batch normalizations.
Normalization: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


class Untrained(NotTrained):
    """The encoder with its initial weights and measured running statistics.

    Args:
        context: its encoder is used with its initial weights.
    """

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__(context.encoder, "untrained")
        self._output = context.layout.output

    @torch.no_grad()
    def before_training(self, batches: Iterable[Tensor]) -> None:
        """Sets running means and variances to their averages over `batches`, weighted by the number of images.

        Earlier layers run in training mode, that is, they normalize by the statistics of the batch. Dropout is off. An
        encoder without batch normalization stays unchanged.

        Args:
            batches: float32 images in [0, 1], (N, C, H, W).
        """
        layers = [layer for layer in self.modules() if isinstance(layer, Normalization) and layer.track_running_stats]
        if not layers:
            return
        modes = {module: module.training for module in self.modules()}
        momenta = [layer.momentum for layer in layers]
        self.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.train()
        seen = 0
        for images in batches:
            if len(images) == 1 and seen:
                # A last batch of one image has no variance on a map of 1 x 1, which torch rejects.
                continue
            seen += len(images)
            for layer in layers:
                # An average weighted by images. momentum=None would weight a smaller last batch like a full one.
                layer.momentum = len(images) / seen
            self.encoder(images, [self._output])
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
