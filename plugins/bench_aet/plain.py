"""AET's transformations with Pillow, one image at a time, as a plain data loader makes them.

`bench speed` compares the batched warps with them. They follow the same distribution as `bench_aet.transforms`, step by step
as in the authors' code (Zhang et al. 2019, section 4.1).
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from bench_aet import AETParams

FILL = {"gray": 128, "black": 0}
"""Value of the parameter `fill` -> gray value of pixels outside the image, of 255."""


def plain_views(params: AETParams, image: Image.Image, rng: random.Random) -> tuple[list[Image.Image], list[float]]:
    """The image and its copy under one random transformation, and the coefficients of the transformation.

    Args:
        params: parameters of the method.
        image: a square image.
        rng: source of all random numbers.
    """
    side = image.width
    if params.transform == "projective":
        coefficients = projective(side, rng)
        kind = Image.Transform.PERSPECTIVE
    else:
        coefficients = affine(side, rng, with_shear=params.transform == "affine")
        kind = Image.Transform.AFFINE
    gray = FILL[params.fill]
    color: int | tuple[int, ...] = gray if image.mode == "L" else (gray, gray, gray)
    copy = image.transform((side, side), kind, coefficients, Image.Resampling.BILINEAR, fillcolor=color)
    return [image, copy], coefficients


def projective(side: int, rng: random.Random) -> list[float]:
    """Eight coefficients of the output-to-input map, from a linear system for the four corners."""
    center = (side + 1) / 2
    corners = [(0.0, 0.0), (float(side), 0.0), (float(side), float(side)), (0.0, float(side))]
    scale = rng.uniform(0.8, 1.2)
    quarters = rng.randrange(4)
    max_shift = round(0.125 * side)
    moved = []
    for number in range(4):
        x, y = corners[(number + quarters) % 4]
        moved.append(
            (
                (x - center) * scale + center + rng.randint(-max_shift, max_shift),
                (y - center) * scale + center + rng.randint(-max_shift, max_shift),
            )
        )
    rows, values = [], []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    coefficients: list[float] = np.linalg.solve(np.array(rows), np.array(values)).tolist()
    return coefficients


def affine(side: int, rng: random.Random, *, with_shear: bool) -> list[float]:
    """Six coefficients of the output-to-input map: rotation, whole-pixel translation, scale and shear about the center."""
    angle = math.radians(rng.uniform(-180, 180))
    right, down = (round(rng.uniform(-0.2, 0.2) * side) for _ in range(2))
    scale = rng.uniform(0.7, 1.3)
    shear = math.radians(rng.uniform(-30, 30)) if with_shear else 0.0
    size = scale * math.cos(shear)
    a, b = math.cos(angle + shear) / size, math.sin(angle + shear) / size
    d, e = -math.sin(angle) / size, math.cos(angle) / size
    center = (side + 1) / 2
    return [
        *(a, b, center - a * (center + right) - b * (center + down)),
        *(d, e, center - d * (center + right) - e * (center + down)),
    ]
