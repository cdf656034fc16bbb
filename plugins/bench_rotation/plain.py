"""An image's rotations one at a time, with Pillow: how an ordinary data loader makes them. What `bench speed` compares with."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from bench_rotation import RotationParams


def plain_views(
    params: RotationParams, image: Image.Image, chance: random.Random
) -> tuple[list[Image.Image], list[float]]:
    """The image in every rotation, counter-clockwise, and their numbers; nothing is drawn."""
    step = 360 / params.turns
    return [image.rotate(number * step, Image.Resampling.BILINEAR) for number in range(params.turns)], [
        float(number) for number in range(params.turns)
    ]
