"""Auto-encoding transformations: Zhang, Qi, Wang, Luo, CVPR 2019, section 3."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from bench_aet.transforms import Transformation, constant_loss


class AET(nn.Module):
    """A linear layer reads the transformation off the image's and its copy's features; its squared error is the loss.

    Args:
        encoder: what is trained, with shared weights for image and copy.
        layout: its taps; the output's channels, twice, are the decoder's inputs.
        transformation: the family that the copies are made with.
        fill: gray value in [0, 1] that comes in from outside of the image.
        joint: one forward for both branches instead of one each.
        compare_images: the error is that of the pixels which the answer makes, not that of the answer's values.
    """

    def __init__(
        self,
        encoder: benchmark.Encoder,
        layout: benchmark.Layout,
        transformation: Transformation,
        *,
        fill: float,
        joint: bool,
        compare_images: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.transformation = transformation
        self.fill = fill
        self.joint = joint
        self.compare_images = compare_images
        self.decoder = nn.Linear(2 * layout.tap(layout.output).width("average"), transformation.targets)
        nn.init.zeros_(self.decoder.bias)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """One transformation for each image; the mean is over images and over target values, as in the authors' code.

        The paper's formula has half the sum over the matrix's entries instead (section 3.2). With `compare_images` the mean
        is over images and pixels.
        """
        return self.loss_of(batch, self.views(batch))

    def views(self, batch: benchmark.Batch) -> tuple[Tensor, Tensor]:
        """Parameters (N, P) of one transformation for each image, and the copies (N, C, H, W) that they make."""
        parameters = self.transformation.draw(len(batch.images), batch.generator)
        return parameters, self.transformation.warp(batch.images, parameters, self.fill)

    def loss_of(self, batch: benchmark.Batch, views: tuple[Tensor, Tensor]) -> benchmark.Losses:
        """The loss for transformations that were drawn and copies that were made before."""
        parameters, copies = views
        predicted = self.predict(batch.images, copies)
        if self.compare_images:
            return self.image_loss(batch.images, copies, predicted)
        return benchmark.Losses(total=F.mse_loss(predicted, self.transformation.target(parameters)))

    def image_loss(self, images: Tensor, copies: Tensor, predicted: Tensor) -> benchmark.Losses:
        """Mean squared difference between copies and the images under the transformation that was told.

        The paper's loss for transformations without parameters is the distance of t(x) and t'(x), expected over images
        (section 3.2, recalled); here the image is the one that the transformation was told of. Images that a
        transformation leaves alone cost nothing, and where the two pictures hardly overlap the gradient says little.

        Args:
            images: (N, C, H, W) in [0, 1].
            copies: (N, C, H, W), each image under its true transformation.
            predicted: (N, T) target values.

        Returns:
            The total, and `unmoved`: what saying "nothing was done" costs on this batch.
        """
        told = self.transformation.warp(images, self.transformation.parameters(predicted), self.fill)
        return benchmark.Losses(total=F.mse_loss(told, copies), parts={"unmoved": F.mse_loss(images, copies)})

    def predict(self, images: Tensor, copies: Tensor) -> Tensor:
        """(N, T): the transformation from each image (N, C, H, W) to its copy, in the family's target values."""
        if self.joint:
            before, after = self.encoder.vector(torch.cat([images, copies])).chunk(2)
        else:
            before, after = self.encoder.vector(images), self.encoder.vector(copies)
        answer: Tensor = self.decoder(torch.cat([before, after], dim=1))
        return answer.tanh() if self.transformation.bounded else answer

    def trivial_losses(self) -> dict[str, float]:
        """What the best constant answer reaches: .389 for affine and .514 for projective at 32 pixels.

        Empty when images are compared: what a constant answer costs depends on them. `unmoved` is there to compare with.
        """
        return {} if self.compare_images else {"total": constant_loss(self.transformation)}
