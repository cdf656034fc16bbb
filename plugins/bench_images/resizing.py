"""Resize the shorter side of an image and crop the center, in memory that does not grow with the image's aspect ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WHOLE_PIXELS = 2**22
"""Enlarged images with more pixels are computed only where they are kept, if that is less than a quarter."""
PRECISION = 22
"""Bits of Pillow's integer weights."""


def center_square(image: Image.Image, size: int) -> Image.Image:
    """The center of an image whose shorter side is resized to `size`.

    Bilinear with antialiasing. The longer side is rounded down, as in torchvision's Resize, and half pixels of the crop are
    rounded to even, as in its CenterCrop.

    Args:
        image: mode L or RGB.
        size: side of the result in pixels.
    """
    width, height = image.size
    shorter = min(width, height)
    if shorter != size:
        width, height = size * width // shorter, size * height // shorter
    left, top = round((width - size) / 2), round((height - size) / 2)
    if shorter < size and width * height > max(WHOLE_PIXELS, 4 * size * size):
        columns = _weights(image.width, width, range(left, left + size))
        rows = _weights(image.height, height, range(top, top + size))
        return _weighted(image, columns, rows)
    if shorter != size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return image.crop((left, top, left + size, top + size)) if image.size != (size, size) else image


Weights = tuple[int, NDArray[np.int64]]
"""The first pixel that counts, and the weight of it and those after it."""


def _weighted(image: Image.Image, columns: Sequence[Weights], rows: Sequence[Weights]) -> Image.Image:
    """The pixels that Pillow computes for these columns and rows. Only the part of the image that counts is copied."""
    left, top = columns[0][0], rows[0][0]
    part = image.crop((left, top, columns[-1][0] + len(columns[-1][1]), rows[-1][0] + len(rows[-1][1])))
    pixels = np.asarray(part)
    pixels = np.stack([_sum(pixels[:, x - left : x - left + len(w)], w, axis=1) for x, w in columns], axis=1)
    pixels = np.stack([_sum(pixels[y - top : y - top + len(w)], w, axis=0) for y, w in rows], axis=0)
    return Image.fromarray(pixels)


def _sum(pixels: NDArray[np.uint8], weights: NDArray[np.int64], axis: int) -> NDArray[np.uint8]:
    total = np.tensordot(pixels.astype(np.int64), weights, axes=(axis, 0))
    return ((total + (1 << (PRECISION - 1))) >> PRECISION).clip(0, 255).astype(np.uint8)


def _weights(length: int, enlarged: int, positions: range) -> list[Weights]:
    """The weights of a row of `length` pixels for pixels of the enlarged row: a triangle around each, as Pillow rounds it."""
    scale = length / enlarged
    weights = []
    for position in positions:
        center = (position + 0.5) * scale
        first, end = max(0, int(center - 0.5)), min(length, int(center + 1.5))
        triangle = [max(1.0 - abs(pixel - center + 0.5), 0.0) for pixel in range(first, end)]
        total = sum(triangle)
        weights.append((first, np.array([int(weight / total * (1 << PRECISION) + 0.5) for weight in triangle])))
    return weights
