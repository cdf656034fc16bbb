"""Augmented views of images, and their features: shift, horizontal flip, brightness, contrast.

Views are made on the CPU, so that they are the same on every device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import ViewParams
from benchmark.images import augment, blocks, to_float

BLOCK = 500
"""Number of views that are encoded at once."""


def draw_images(count: int, size: int, generator: torch.Generator) -> Tensor:
    """(min(count, size),) int64: random positions of images, independent of labels, in ascending order."""
    return torch.randperm(count, generator=generator)[:size].sort().values


def make_view(images: Tensor, params: ViewParams, generator: torch.Generator) -> Tensor:
    """One view of each image: a crop of the padded image, a flip, a brightness factor, then a contrast factor.

    Brightness scales the pixels, contrast their difference from the image's mean (as in torchvision's ColorJitter, except
    that gray is the mean over channels). Both factors are uniform in 1 - jitter to 1 + jitter.

    Args:
        images: (N, C, H, W) uint8, or float32 in [0, 1], on the CPU.
        params: the augmentation.
        generator: on the CPU.

    Returns:
        (N, C, H, W) float32 in [0, 1].
    """
    pad = max(1, images.shape[2] // 8) if params.pad is None else params.pad
    moved = augment(to_float(images), "crop-flip" if params.flip else "crop", pad, generator)
    factors = 1 + params.jitter * (2 * torch.rand((2, len(images), 1, 1, 1), generator=generator) - 1)
    bright = (moved * factors[0]).clamp(0, 1)
    gray = bright.mean(dim=(1, 2, 3), keepdim=True)
    return ((bright - gray) * factors[1] + gray).clamp(0, 1) if params.jitter else bright


def encode_views(
    probe: benchmark.Probe, images: Tensor, count: int, params: ViewParams, generator: torch.Generator
) -> Iterator[Tensor]:
    """Features (B, count, D) float32 of `count` views of each image, in blocks, in the order of the images.

    Args:
        probe: the encoder, with its tap and pooling.
        images: (N, C, H, W) uint8.
        count: number of views per image.
        params: the augmentation.
        generator: on the CPU.
    """
    for block in blocks(images, max(1, BLOCK // count)):
        views = make_view(block.cpu().repeat_interleave(count, dim=0), params, generator)
        features = probe.encode(views.to(probe.device), pool=probe.pool)
        yield features.view(len(block), count, -1)
