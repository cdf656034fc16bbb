"""Supervised training with cross-entropy: the upper bound for the same encoder."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import nn

import benchmark


class Supervised(nn.Module):
    """The encoder and a linear classifier on its output, averaged over locations, trained together.

    Args:
        context: its `num_classes` is K.
    """

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__()
        if context.num_classes is None:
            raise benchmark.PluginError("method 'supervised' needs num_classes, because its spec declares labels='all'")
        self.encoder = context.encoder
        self.classes = context.num_classes
        width = context.layout.tap(context.layout.output).width("average")
        self.head = nn.Linear(width, context.num_classes)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """Mean cross-entropy in nats; logs the training accuracy (a fraction).

        Raises:
            PluginError: a batch without labels.
        """
        if batch.labels is None:
            raise benchmark.PluginError(
                "method 'supervised' needs labels, because its spec declares labels='all', but the batch has none"
            )
        logits = self.head(self.encoder.vector(batch.images))
        accuracy = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        return benchmark.Losses(total=F.cross_entropy(logits, batch.labels), parts={"accuracy": accuracy})

    def trivial_losses(self) -> dict[str, float]:
        """The loss of a uniform prediction over all K classes: log K."""
        return {"total": math.log(self.classes)}
