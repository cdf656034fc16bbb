"""Occlusion: a block of each image is hidden from what the output is computed of, and from nothing else.

Hjelm et al. 2019, section 4.3: Y comes from the occluded image, places come from the whole one, so that Y has to hold what
the hidden part shares with the rest. The law of the blocks is not in the released code; the paper's appendix (recalled,
not at hand) calls its own ad hoc, under the constraint kept here: of 32 x 32 pixels, at least one block of 10 x 10 is
hidden and at least one is left. The rectangle's distribution and its color are this project's choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 10 / 32
"""Side of the block that is hidden for certain, and of the one that is left, as a part of the image's shorter side."""


def block_side(height: int, width: int) -> int:
    """That side in whole pixels: 10 of 32, 2 of 8, at least 1."""
    return max(1, round(BLOCK * min(height, width)))


def hidden(
    count: int, height: int, width: int, share: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """What is hidden of each image: one rectangle, with each side uniform from a block's to the image's less a block.

    Its place is uniform, too; but where it leaves no whole block on any of its four sides, it is moved to the top.

    Args:
        count: N.
        height: of the images, in pixels.
        width: in pixels.
        share: chance that an image is occluded at all, in [0, 1].
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
    room = torch.stack([top, height - top - tall, left, width - left - wide]).amax(dim=0)
    top = torch.where(room < block, 0, top)
    rows = _inside(height, top, tall)[:, None, :, None]
    columns = _inside(width, left, wide)[:, None, None, :]
    mask: Tensor = rows & columns & (chosen < share)[:, None, None, None]
    return mask


def occluded(images: Tensor, color: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The images with a rectangle of one color over each, or over a share of them.

    Args:
        images: (N, C, H, W) float32.
        color: what hides, such as the normalization's mean, which the encoder sees as 0; fits (N, C, H, W).
        share: chance that an image is occluded, in [0, 1].
        generator: on the images' device.
    """
    count, _, height, width = images.shape
    return torch.where(hidden(count, height, width, share, generator, images.device), color, images)


def _inside(length: int, start: Tensor, size: Tensor) -> Tensor:
    """(N, length) bool: positions from `start`, `size` of them."""
    position = torch.arange(length, device=start.device)
    return (position >= start[:, None]) & (position < (start + size)[:, None])
