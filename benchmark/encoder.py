"""An encoder behind its normalization: images in [0, 1] in, float32 features at named taps out.

Public to plugins. Mean and standard deviation are buffers, so they are saved and loaded with the weights. On a GPU with
bfloat16 the network runs under autocast. Its features are converted to float32, so losses and warps run in full precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.api.encoders import EncoderContext, EncoderSpec, ImageShape, Layout, Pool, Tap
from benchmark.errors import PluginError
from benchmark.seeding import derived_seed


def pooled(features: Tensor, tap: Tap, pool: Pool) -> Tensor:
    """Pools the features of a tap to one vector per image.

    Args:
        features: (N, *tap.shape).
        tap: the tap of the features.
        pool: `average` over positions (H x W of a map, T of tokens), `flat` or `none`. Features of a vector tap are not
            changed by any of them.

    Returns:
        (N, D) with D = tap.width(pool); without pooling (N, *tap.shape).
    """
    if pool == "none":
        return features
    if tap.kind == "vector" or pool == "flat":
        return features.flatten(1)
    return features.mean(dim=(2, 3)) if tap.kind == "map" else features.mean(dim=1)


class NormalizedEncoder(nn.Module):
    """A network with the normalization of its input.

    Args:
        network: `forward(images, taps) -> {tap: Tensor}` for normalized images.
        layout: the taps of the network.
        mean: per channel, for images in [0, 1].
        std: per channel, above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, layout: Layout, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # Weights in channels_last, as the images. On one CPU thread a step at 8 x 8 pixels is faster than with only the
        # images in channels_last: 1.36 times for blocknet, 1.14 times for resnet18. The saved numbers are the same.
        self.network = network.to(memory_format=torch.channels_last)
        self.layout = layout
        self.low_precision = False
        """Whether the network runs under bfloat16 autocast; set by the harness on GPUs that have bfloat16."""
        self.register_buffer("mean", torch.tensor(tuple(mean), dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std), dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """The features at some taps.

        Args:
            images: (N, C, H, W) float32 in [0, 1].
            taps: names of taps.

        Returns:
            Tap -> (N, *tap.shape) float32.

        Raises:
            KeyError: the layout has no such tap.
        """
        for name in taps:
            self.layout.tap(name)
        normalized = (images - self.mean) / self.std
        normalized = normalized.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self.low_precision):
            features = self.network(normalized, tuple(taps))
        return {name: features[name].float() for name in taps}

    def vector(self, images: Tensor) -> Tensor:
        """(N, D) float32: the features at the output tap, averaged over positions."""
        name = self.layout.output
        return pooled(self(images, [name])[name], self.layout.tap(name), "average")


def build_encoder(
    spec: EncoderSpec,
    params: Any,
    image_shape: ImageShape,
    *,
    num_images: int,
    seed: int | None,
    mean: Sequence[float],
    std: Sequence[float],
) -> NormalizedEncoder:
    """An untrained encoder behind its normalization, on the CPU.

    Args:
        spec: the encoder.
        params: an instance of its `params` dataclass.
        image_shape: (C, H, W).
        num_images: number of training images.
        seed: seed of the cell. The same seed gives the same weights, whatever was drawn before.
        mean: per channel, for images in [0, 1].
        std: per channel.

    Raises:
        PluginError: the spec's `build` returns no module.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "encoder"))
        network = spec.build(EncoderContext(params=params, image_shape=image_shape, num_images=num_images))
    if not isinstance(network, nn.Module):
        raise PluginError(
            f"encoder '{spec.name}': build returned {type(network).__name__}, but must return a torch.nn.Module"
        )
    return NormalizedEncoder(network, spec.layout(params, image_shape), mean, std)
