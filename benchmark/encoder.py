"""An encoder as everything but its own plugin sees it: images in [0, 1] in, float32 features at named taps out.

Normalisation stands in front as buffers, so that it is saved and loaded with the weights. Inside, on a GPU that has
bfloat16, the network runs under autocast; what comes out is float32, so that losses and warps never meet low precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.contracts import Layout, Pool, Tap


def pooled(features: Tensor, tap: Tap, pool: Pool) -> Tensor:
    """A tap's features as one vector an image.

    Args:
        features: (N, *tap.shape).
        tap: whose features they are.
        pool: `average` over places (H x W of a map, T of tokens) or `flat`; a vector stays as it is.

    Returns:
        (N, D) with D = tap.width(pool).
    """
    if tap.kind == "vector" or pool == "flat":
        return features.flatten(1)
    return features.mean(dim=(2, 3)) if tap.kind == "map" else features.mean(dim=1)


class NormalisedEncoder(nn.Module):
    """A network behind its normalisation.

    Args:
        network: `forward(images, taps) -> {tap: Tensor}` for normalised images.
        layout: its taps.
        mean: per channel, for images in [0, 1].
        std: per channel, above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, layout: Layout, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.layout = layout
        self.low_precision = False
        """Run the network in bfloat16 autocast; set by the harness on devices where it pays."""
        self.register_buffer("mean", torch.tensor(tuple(mean), dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std), dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Features of `images` (N, C, H, W) float32 in [0, 1] at each of `taps`, float32, in the tap's own shape.

        Raises:
            KeyError: a tap that the layout does not name.
        """
        for name in taps:
            self.layout.tap(name)
        normalised = (images - self.mean) / self.std
        normalised = normalised.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self.low_precision):
            features = self.network(normalised, tuple(taps))
        return {name: features[name].float() for name in taps}

    def vector(self, images: Tensor) -> Tensor:
        """The output tap averaged over places: (N, D) float32."""
        name = self.layout.output
        return pooled(self(images, [name])[name], self.layout.tap(name), "average")
