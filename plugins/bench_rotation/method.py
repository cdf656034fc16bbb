"""Turning images and telling the turns apart: Gidaris, Singh, Komodakis, ICLR 2018, section 3."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from benchmark import warp


def all_rotations(images: Tensor, turns: int) -> tuple[Tensor, Tensor]:
    """Every image in every rotation.

    Args:
        images: (N, C, H, W) float32; H = W unless `turns` is 2.
        turns: 2, 4 (exact: pixels move, none is interpolated) or 8 (see `_eighths`).

    Returns:
        (turns * N, C, H, W) rotated counter-clockwise by label * 360 / turns degrees, and the labels
        (turns * N,) int64: N times 0, N times 1, and so on, so that each is equally frequent in every batch.
    """
    if turns == 8:
        rotated = _eighths(images)
    else:
        rotated = [torch.rot90(images, quarter, dims=(2, 3)) for quarter in range(0, 4, 4 // turns)]
    labels = torch.arange(turns, device=images.device).repeat_interleave(len(images))
    return torch.cat(rotated), labels


def _eighths(images: Tensor) -> list[Tensor]:
    """Rotations by multiples of 45 degrees, all enlarged by sqrt(2) about the center.

    Enlarged so far, the image covers the whole square at 45 degrees too: no black corner gives the answer away, and
    neither does the scale, since it is the same for all eight.
    """
    enlarged = [_enlarged(images, degrees) for degrees in (0.0, 45.0)]
    return [torch.rot90(enlarged[eighth % 2], eighth // 2, dims=(2, 3)) for eighth in range(8)]


def _enlarged(images: Tensor, degrees: float) -> Tensor:
    """The central part, sqrt(2) times as large, rotated counter-clockwise about the center."""
    count, _, height, width = images.shape
    every = images.new_ones(count)
    # -degrees: a warp's angles are clockwise.
    matrices = warp.affine_inverse(
        -degrees * every, images.new_zeros(count, 2), math.sqrt(2) * every, 0 * every, (width / 2, height / 2)
    )
    return warp.affine(images, matrices)


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
        return self.loss_of(batch, self.views(batch))

    def views(self, batch: benchmark.Batch) -> tuple[Tensor, Tensor]:
        """Every image in every rotation (turns * N, C, H, W), and which rotation it is (turns * N,)."""
        return all_rotations(batch.images, self.turns)

    def loss_of(self, batch: benchmark.Batch, views: tuple[Tensor, Tensor]) -> benchmark.Losses:
        """The loss for rotations that were made before."""
        rotated, labels = views
        scores = self.head(self.encoder.vector(rotated))
        accuracy = (scores.detach().argmax(dim=1) == labels).float().mean()
        return benchmark.Losses(total=F.cross_entropy(scores, labels), parts={"rotation_accuracy": accuracy})

    def trivial_losses(self) -> dict[str, float]:
        """Guessing all rotations alike costs log(turns) nats."""
        return {"total": math.log(self.turns)}
