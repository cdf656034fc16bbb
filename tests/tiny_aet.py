"""A tiny encoder, an AET method around it, batches and images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import benchmark
from bench_aet import AETParams, build
from benchmark.encoder import NormalizedEncoder

WIDTH = 16


LAYOUT = benchmark.Layout(
    taps=(benchmark.Tap(name="map", kind="map", shape=(WIDTH, 4, 4)),), output="map", probe="map", local="map"
)


GRAY = 128 / 255


class Tiny(nn.Module):
    """Two convolutions with batch normalization: 8 x 8 images to a 4 x 4 map."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1),
            nn.ReLU(),
        )

    def forward(self, images: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        return {"map": self.layers(images)}


def make_context(encoder: Any, layout: benchmark.Layout, **params: Any) -> benchmark.MethodContext:
    return benchmark.MethodContext(
        params=AETParams(**params),
        encoder=encoder,
        layout=layout,
        image_shape=(1, 8, 8),
        num_images=32,
        num_classes=None,
        total_steps=10,
        mean=(0.5,),
        std=(0.5,),
        generator=torch.Generator(),
    )


def make_method(**params: Any) -> Any:
    torch.manual_seed(0)
    return build(make_context(NormalizedEncoder(Tiny(), LAYOUT, (0.5,), (0.5,)), LAYOUT, **params))


def make_batch(images: Tensor, seed: int = 0) -> benchmark.Batch:
    return benchmark.Batch(
        images=images,
        raw=(images * 255).byte(),
        index=torch.arange(len(images)),
        progress=0.0,
        generator=torch.Generator().manual_seed(seed),
    )


def random_images(count: int = 8, side: int = 8) -> Tensor:
    return torch.rand((count, 1, side, side), generator=torch.Generator().manual_seed(1))


def smooth_images(count: int = 4, side: int = 8) -> Tensor:
    return nn.functional.interpolate(random_images(count, 4), size=side, mode="bilinear", align_corners=False)


def draw_parameters(family: Any, count: int = 400_000) -> Tensor:
    parameters: Tensor = family.draw(count, torch.Generator().manual_seed(0))
    return parameters
