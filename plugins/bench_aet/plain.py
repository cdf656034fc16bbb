"""AET's transformations one image at a time, with Pillow: how an ordinary data loader makes them.

What `bench speed` compares the batched warps with; its law is that of `bench_aet.transforms`, step by step as the authors'
code has it (Zhang et al. 2019, section 4.1).
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


def plain_views(params: AETParams, image: Image.Image, chance: random.Random) -> tuple[list[Image.Image], list[float]]:
    """The image and its copy under one transformation, and the values that describe it.

    Args:
        params: the method's.
        image: square.
        chance: every draw comes from it.
    """
    side = image.width
    if params.transform == "projective":
        coefficients = projective(side, chance)
        kind = Image.Transform.PERSPECTIVE
    else:
        coefficients = affine(side, chance, sheared=params.transform == "affine")
        kind = Image.Transform.AFFINE
    gray = FILL[params.fill]
    color: int | tuple[int, ...] = gray if image.mode == "L" else (gray, gray, gray)
    copy = image.transform((side, side), kind, coefficients, Image.Resampling.BILINEAR, fillcolor=color)
    return [image, copy], coefficients


def projective(side: int, chance: random.Random) -> list[float]:
    """Eight coefficients, output to input, from a linear system for the four corners."""
    center = (side + 1) / 2
    corners = [(0.0, 0.0), (float(side), 0.0), (float(side), float(side)), (0.0, float(side))]
    scale = chance.uniform(0.8, 1.2)
    quarters = chance.randrange(4)
    most = round(0.125 * side)
    moved = []
    for number in range(4):
        x, y = corners[(number + quarters) % 4]
        moved.append(
            (
                (x - center) * scale + center + chance.randint(-most, most),
                (y - center) * scale + center + chance.randint(-most, most),
            )
        )
    rows, values = [], []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    found: list[float] = np.linalg.solve(np.array(rows), np.array(values)).tolist()
    return found


def affine(side: int, chance: random.Random, *, sheared: bool) -> list[float]:
    """Six coefficients, output to input: rotation, whole-pixel translation, scale and shear about the center."""
    angle = math.radians(chance.uniform(-180, 180))
    right, down = (round(chance.uniform(-0.2, 0.2) * side) for _ in range(2))
    scale = chance.uniform(0.7, 1.3)
    shear = math.radians(chance.uniform(-30, 30)) if sheared else 0.0
    size = scale * math.cos(shear)
    a, b = math.cos(angle + shear) / size, math.sin(angle + shear) / size
    d, e = -math.sin(angle) / size, math.cos(angle) / size
    center = (side + 1) / 2
    return [
        *(a, b, center - a * (center + right) - b * (center + down)),
        *(d, e, center - d * (center + right) - e * (center + down)),
    ]
