"""AET around a tiny encoder, its gray, smooth images and drawn transformations."""

from __future__ import annotations

from typing import Any

from generators import seeded
from method_samples import make_context, random_images, tiny_map_encoder
from torch import Tensor, nn

from bench_aet import AETParams, build

GRAY = 128 / 255


def make_method(**params: Any) -> Any:
    return build(make_context(tiny_map_encoder(), AETParams(**params)))


def smooth_images(count: int = 4, side: int = 8) -> Tensor:
    return nn.functional.interpolate(random_images(count, 4), size=side, mode="bilinear", align_corners=False)


def draw_parameters(family: Any, count: int = 400_000) -> Tensor:
    parameters: Tensor = family.draw(count, seeded())
    return parameters
