"""Auto-encoding transformations: Zhang, Qi, Wang, Luo, CVPR 2019, section 3."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from bench_aet.transforms import Transformation, constant_loss


class AET(nn.Module):
    """Mean squared error of a linear layer that reads the transformation off the image's and its copy's features.

    Args:
        encoder: what is trained, with shared weights for image and copy.
        layout: its taps; the output's channels, twice, are the decoder's inputs.
        transformation: the family that the copies are made with.
        fill: grey value in [0, 1] that comes in from outside of the image.
        joint: one forward for both branches instead of one each.
    """

    def __init__(
        self,
        encoder: benchmark.Encoder,
        layout: benchmark.Layout,
        transformation: Transformation,
        *,
        fill: float,
        joint: bool,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.transformation = transformation
        self.fill = fill
        self.joint = joint
        self.decoder = nn.Linear(2 * layout.tap(layout.output).width("average"), transformation.targets)
        nn.init.zeros_(self.decoder.bias)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """One transformation for each image; the mean is over images and over target values, as in the authors' code.

        The paper's formula has half the sum over the matrix's entries instead (section 3.2).
        """
        parameters = self.transformation.draw(len(batch.images), batch.generator)
        copies = self.transformation.warp(batch.images, parameters, self.fill)
        predicted = self.predict(batch.images, copies)
        return benchmark.Losses(total=F.mse_loss(predicted, self.transformation.target(parameters)))

    def predict(self, images: Tensor, copies: Tensor) -> Tensor:
        """(N, T): the transformation from each image (N, C, H, W) to its copy, in the family's target values."""
        if self.joint:
            before, after = self.encoder.vector(torch.cat([images, copies])).chunk(2)
        else:
            before, after = self.encoder.vector(images), self.encoder.vector(copies)
        answer: Tensor = self.decoder(torch.cat([before, after], dim=1))
        return answer.tanh() if self.transformation.bounded else answer

    def trivial_losses(self) -> dict[str, float]:
        """What the best constant answer reaches: .389 for affine and .514 for projective at 32 pixels."""
        return {"total": constant_loss(self.transformation)}
