"""Auto-encoding transformations: Zhang, Qi, Wang, Luo, CVPR 2019, section 3."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from bench_aet.transforms import Transformation, constant_loss


class AET(nn.Module):
    """A linear layer predicts the transformation from the features of an image and its copy; the loss is its error.

    Args:
        encoder: the encoder to train; image and copy share its weights.
        layout: its taps. The decoder takes the channels of the output tap twice.
        transformation: the family of transformations.
        fill: gray value in [0, 1] of pixels outside the image.
        joint: one forward pass for image and copy together instead of one each.
        compare_images: the loss compares pixels under the true and the predicted transformation, not target values.
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
        """The loss for one random transformation per image: the mean over images and target values, as in the authors' code.

        The paper's formula has half the sum over the entries of the matrix instead (section 3.2). With `compare_images` the
        mean is over images and pixels.
        """
        return self.loss_of(batch, self.views(batch))

    def views(self, batch: benchmark.Batch) -> tuple[Tensor, Tensor]:
        """Parameters (N, P) of one transformation per image, and the transformed copies (N, C, H, W)."""
        parameters = self.transformation.draw(len(batch.images), batch.generator)
        return parameters, self.transformation.warp(batch.images, parameters, self.fill)

    def loss_of(self, batch: benchmark.Batch, views: tuple[Tensor, Tensor]) -> benchmark.Losses:
        """The loss for the transformations and copies that `views` returned."""
        parameters, copies = views
        predicted = self.predict(batch.images, copies)
        if self.compare_images:
            return self.image_loss(batch.images, copies, predicted)
        return benchmark.Losses(total=F.mse_loss(predicted, self.transformation.target(parameters)))

    def image_loss(self, images: Tensor, copies: Tensor, predicted: Tensor) -> benchmark.Losses:
        """Mean squared difference between the copies and the images under the predicted transformation.

        The paper's loss for transformations without parameters is the distance of t(x) and t'(x), expected over images
        (section 3.2, recalled); here x is the image whose transformation was predicted. Images that a transformation does
        not change contribute nothing. If the two warped images hardly overlap, the gradient is uninformative.

        Args:
            images: (N, C, H, W) in [0, 1].
            copies: (N, C, H, W), each image under its true transformation.
            predicted: (N, T) target values.

        Returns:
            The total, and `unmoved`: the loss of predicting the identity on this batch.
        """
        warped = self.transformation.warp(images, self.transformation.parameters(predicted), self.fill)
        return benchmark.Losses(total=F.mse_loss(warped, copies), parts={"unmoved": F.mse_loss(images, copies)})

    def predict(self, images: Tensor, copies: Tensor) -> Tensor:
        """(N, T): predicted target values of the transformation from each image (N, C, H, W) to its copy."""
        if self.joint:
            before, after = self.encoder.vector(torch.cat([images, copies])).chunk(2)
        else:
            before, after = self.encoder.vector(images), self.encoder.vector(copies)
        prediction: Tensor = self.decoder(torch.cat([before, after], dim=1))
        return prediction.tanh() if self.transformation.bounded else prediction

    def trivial_losses(self) -> dict[str, float]:
        """The loss of the best constant prediction: .389 for affine and .514 for projective at 32 pixels.

        Empty with `compare_images`, where that loss depends on the images; compare the total with `unmoved` there.
        """
        return {} if self.compare_images else {"total": constant_loss(self.transformation)}
