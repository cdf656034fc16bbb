"""Random weights behind running statistics of the data: what an architecture gives without learning.

A fresh network cannot be scored as it is: its batch normalization believes in inputs of mean 0 and variance 1. One pass
over the training images, without labels, tells it what it really sees; no weight changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import torch
from torch import Tensor, nn

import benchmark
from bench_bounds.not_trained import NotTrained

# torch has no public name for what its batch normalizations share.
Normalization: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


class Untrained(NotTrained):
    """The encoder with fresh weights and measured running statistics.

    Args:
        context: its encoder is taken as it comes.
    """

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__(context.encoder, "untrained")
        self._output = context.layout.output

    @torch.no_grad()
    def before_training(self, batches: Iterable[Tensor]) -> None:
        """Sets running means and variances to their averages over `batches`, each weighted by its number of images.

        Every layer sees what the layers before it give in training mode, that is, normalized by the batch at hand.
        Dropout stays off. Encoders without batch normalization pass unchanged.

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
                # A lone image that is left over has no variance on a map of 1 x 1, and torch refuses it.
                continue
            seen += len(images)
            for layer in layers:
                # A running average by images. momentum=None would give a small last batch the weight of a full one.
                layer.momentum = len(images) / seen
            self.encoder(images, [self._output])
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, mode in modes.items():
            module.training = mode
