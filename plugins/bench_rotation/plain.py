"""An image's rotations one at a time, with Pillow: how an ordinary data loader makes them. What `bench speed` compares with."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from bench_rotation import RotationParams


def plain_views(
    params: RotationParams, image: Image.Image, chance: random.Random
) -> tuple[list[Image.Image], list[float]]:
    """The image in every rotation, counter-clockwise, and their numbers; nothing is drawn."""
    if params.turns == 8:
        # As in `method`: the central part, sqrt(2) times as large, so that no corner shows.
        side = round(image.width / math.sqrt(2))
        start = (image.width - side) / 2
        box = (start, start, start + side, start + side)
        odd = image.rotate(45, Image.Resampling.BILINEAR)
        both = [each.resize(image.size, Image.Resampling.BILINEAR, box=box) for each in (image, odd)]
        turned = [both[number % 2].rotate(number // 2 * 90) for number in range(8)]
    else:
        turned = [image.rotate(number * 360 / params.turns) for number in range(params.turns)]
    return turned, [float(number) for number in range(params.turns)]
