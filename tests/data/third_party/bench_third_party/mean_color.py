"""The method: part of each image is painted gray, and a linear layer on the encoder's output predicts its mean color."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark


class MeanColor(nn.Module):
    """Squared error of the predicted mean color of the hidden part."""

    spread: Tensor

    def __init__(
        self, encoder: benchmark.Encoder, layout: benchmark.Layout, image_shape: tuple[int, int, int], part: str
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.encoder = encoder
        self.head = nn.Linear(layout.tap(layout.output).width("average"), channels)
        rows = slice(height // 4, height - height // 4) if part == "center" else slice(None)
        columns = slice(width // 4, width - width // 4) if part == "center" else slice(width // 2)
        self.hidden = (..., rows, columns)
        self.register_buffer("spread", torch.zeros(()))

    def before_training(self, batches: Iterable[Tensor]) -> None:
        """Measures the error of predicting the mean color of all images."""
        colors = torch.cat([self._color(images) for images in batches])
        self.spread.copy_(colors.var(dim=0, correction=0).mean())

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of one batch."""
        color = self._color(batch.images)
        painted = batch.images.clone()
        painted[self.hidden] = 0.5
        error = F.mse_loss(self.head(self.encoder.vector(painted)), color)
        return benchmark.Losses(total=error, parts={"error": error.detach()})

    def trivial_losses(self) -> dict[str, float]:
        """The error of predicting the mean color of all images."""
        return {"error": float(self.spread)}

    def _color(self, images: Tensor) -> Tensor:
        return images[self.hidden].mean(dim=(2, 3))
