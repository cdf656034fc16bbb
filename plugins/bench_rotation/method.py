"""Rotating images and classifying the rotation: Gidaris, Singh, Komodakis, ICLR 2018, section 3."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from benchmark import warp


def all_rotations(images: Tensor, turns: int) -> tuple[Tensor, Tensor]:
    """All rotations of all images.

    Args:
        images: (N, C, H, W) float32; H = W unless `turns` is 2.
        turns: number of rotations: 2 or 4 (exact, without interpolation) or 8 (see `_eight_rotations`).

    Returns:
        (turns * N, C, H, W) rotated counter-clockwise by label * 360 / turns degrees, and the labels
        (turns * N,) int64: N times 0, N times 1, and so on, so each rotation is equally frequent in every batch.
    """
    if turns == 8:
        rotated = _eight_rotations(images)
    else:
        rotated = [torch.rot90(images, quarter, dims=(2, 3)) for quarter in range(0, 4, 4 // turns)]
    labels = torch.arange(turns, device=images.device).repeat_interleave(len(images))
    return torch.cat(rotated), labels


def _eight_rotations(images: Tensor) -> list[Tensor]:
    """Rotations by multiples of 45 degrees, all enlarged by sqrt(2) about the center.

    The enlarged image covers the whole square at 45 degrees too. Neither black corners nor the scale, which is the same for
    all eight, reveal the rotation.
    """
    enlarged = [_enlarge(images, degrees) for degrees in (0.0, 45.0)]
    return [torch.rot90(enlarged[eighth % 2], eighth // 2, dims=(2, 3)) for eighth in range(8)]


def _enlarge(images: Tensor, degrees: float) -> Tensor:
    """The central part of the images, enlarged by sqrt(2) and rotated counter-clockwise about the center."""
    count, _, height, width = images.shape
    ones = images.new_ones(count)
    # -degrees: the angles of a warp are clockwise.
    matrices = warp.affine_inverse(
        -degrees * ones, images.new_zeros(count, 2), math.sqrt(2) * ones, 0 * ones, (width / 2, height / 2)
    )
    return warp.affine(images, matrices)


class Rotation(nn.Module):
    """A linear layer on the encoder's output classifies the rotation; the loss is its cross-entropy.

    Args:
        encoder: the encoder to train.
        layout: its taps. The head takes the channels of the output tap.
        turns: number of rotations.
    """

    def __init__(self, encoder: benchmark.Encoder, layout: benchmark.Layout, turns: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.turns = turns
        self.head = nn.Linear(layout.tap(layout.output).width("average"), turns)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of all rotations of a batch in one forward pass: turns * N samples for N images, as in the authors' code."""
        return self.loss_of(batch, self.views(batch))

    def views(self, batch: benchmark.Batch) -> tuple[Tensor, Tensor]:
        """All rotations of all images (turns * N, C, H, W), and their labels (turns * N,)."""
        return all_rotations(batch.images, self.turns)

    def loss_of(self, batch: benchmark.Batch, views: tuple[Tensor, Tensor]) -> benchmark.Losses:
        """The loss for the rotations and labels that `views` returned."""
        rotated, labels = views
        logits = self.head(self.encoder.vector(rotated))
        accuracy = (logits.detach().argmax(dim=1) == labels).float().mean()
        return benchmark.Losses(total=F.cross_entropy(logits, labels), parts={"rotation_accuracy": accuracy})

    def trivial_losses(self) -> dict[str, float]:
        """The loss of a uniform prediction: log(turns) nats."""
        return {"total": math.log(self.turns)}
