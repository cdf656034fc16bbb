"""Turning images and telling the turns apart: Gidaris, Singh, Komodakis, ICLR 2018, section 3."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark


def all_rotations(images: Tensor, turns: int) -> tuple[Tensor, Tensor]:
    """Every image in every rotation, exactly: pixels move, none is interpolated.

    Args:
        images: (N, C, H, W); H = W unless `turns` is 2.
        turns: 4 quarter turns, or the 2 half turns.

    Returns:
        (turns * N, C, H, W) rotated counter-clockwise by label * 360 / turns degrees, and the labels
        (turns * N,) int64: N times 0, N times 1, and so on, so that each is equally frequent in every batch.
    """
    quarters = range(0, 4, 4 // turns)
    rotated = torch.cat([torch.rot90(images, quarter, dims=(2, 3)) for quarter in quarters])
    labels = torch.arange(turns, device=images.device).repeat_interleave(len(images))
    return rotated, labels


class Rotation(nn.Module):
    """Cross-entropy of a linear layer on the encoder's output that names the rotation.

    Args:
        encoder: what is trained.
        layout: its taps; the output's channels are the head's inputs.
        turns: number of rotations.
    """

    def __init__(self, encoder: benchmark.Encoder, layout: benchmark.Layout, turns: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.turns = turns
        self.head = nn.Linear(layout.tap(layout.output).width("average"), turns)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """All rotations of every image in one forward: N images are turns * N samples, as in the authors' code."""
        rotated, labels = all_rotations(batch.images, self.turns)
        scores = self.head(self.encoder.vector(rotated))
        accuracy = (scores.detach().argmax(dim=1) == labels).float().mean()
        return benchmark.Losses(total=F.cross_entropy(scores, labels), parts={"rotation_accuracy": accuracy})

    def trivial_losses(self) -> dict[str, float]:
        """Guessing all rotations alike costs log(turns) nats."""
        return {"total": math.log(self.turns)}
