"""Occlusion: a rectangle of each image is hidden from the forward pass that computes Y.

Hjelm et al. 2019, section 4.3: Y comes from the occluded image, locations come from the full image, so Y has to encode what
the hidden part shares with the rest. The released code does not contain the distribution of the rectangles. The paper's
appendix (recalled, not read) calls its own ad hoc, under a constraint that is kept here: of 32 x 32 pixels, at least one
block of 10 x 10 is hidden and at least one is visible. The rectangle's distribution and color are choices of this project.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 10 / 32
"""Side of the block that is certainly hidden, and of the block that is certainly visible, relative to the shorter side."""


def block_side(height: int, width: int) -> int:
    """Side of that block in whole pixels: 10 of 32, 2 of 8, at least 1."""
    return max(1, round(BLOCK * min(height, width)))


def occlusion_mask(
    count: int, height: int, width: int, probability: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Which pixels are hidden: one rectangle per image, each side uniform from a block's to the image's minus a block's.

    The rectangle's position is uniform. If no side of it leaves a whole visible block, it is moved to the top.

    Args:
        count: N.
        height: of the images, in pixels.
        width: in pixels.
        probability: that an image is occluded, in [0, 1].
        generator: on `device`.
        device: of the images.

    Returns:
        (N, 1, H, W) bool, true where a pixel is hidden.
    """
    block = block_side(height, width)
    chosen, tall, wide, down, across = torch.rand((5, count), generator=generator, device=device)
    tall = block + (tall * (height - 2 * block + 1)).floor()
    wide = block + (wide * (width - 2 * block + 1)).floor()
    top = (down * (height - tall + 1)).floor()
    left = (across * (width - wide + 1)).floor()
    largest_margin = torch.stack([top, height - top - tall, left, width - left - wide]).amax(dim=0)
    top = torch.where(largest_margin < block, 0, top)
    rows = _in_range(height, top, tall)[:, None, :, None]
    columns = _in_range(width, left, wide)[:, None, None, :]
    mask: Tensor = rows & columns & (chosen < probability)[:, None, None, None]
    return mask


def occlude(images: Tensor, color: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Fills a rectangle of each image, or of a random part of the images, with one color.

    Args:
        images: (N, C, H, W) float32.
        color: fill color, such as the normalization's mean, which the encoder sees as 0; broadcasts to (N, C, H, W).
        probability: that an image is occluded, in [0, 1].
        generator: on the images' device.
    """
    count, _, height, width = images.shape
    return torch.where(occlusion_mask(count, height, width, probability, generator, images.device), color, images)


def _in_range(length: int, start: Tensor, size: Tensor) -> Tensor:
    """(N, length) bool: whether an index is in start..start + size - 1."""
    index = torch.arange(length, device=start.device)
    return (index >= start[:, None]) & (index < (start + size)[:, None])
