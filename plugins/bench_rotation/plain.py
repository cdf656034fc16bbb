"""Rotations of one image with Pillow, as a plain data loader makes them, for `bench speed`."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from bench_rotation import RotationParams


def plain_views(
    params: RotationParams, image: Image.Image, rng: random.Random
) -> tuple[list[Image.Image], list[float]]:
    """All rotations of the image, counter-clockwise, and their labels. No random numbers are used."""
    if params.turns == 8:
        # As in `method`: the central part, enlarged by sqrt(2), so that no corner is visible.
        side = round(image.width / math.sqrt(2))
        start = (image.width - side) / 2
        box = (start, start, start + side, start + side)
        diagonal = image.rotate(45, Image.Resampling.BILINEAR)
        enlarged = [source.resize(image.size, Image.Resampling.BILINEAR, box=box) for source in (image, diagonal)]
        rotated = [enlarged[number % 2].rotate(number // 2 * 90) for number in range(8)]
    else:
        rotated = [image.rotate(number * 360 / params.turns) for number in range(params.turns)]
    return rotated, [float(number) for number in range(params.turns)]
