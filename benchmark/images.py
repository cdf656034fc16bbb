"""Batches of images as tensors: conversion to float, random crops and flips, statistics, blocks, subsets.

Public to plugins. Every function takes batches (N, C, H, W), uint8 or float32, and works on their device. Random draws come
from a `torch.Generator` on that device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api.recipes import Augment


def to_float(images: Tensor) -> Tensor:
    """float32 images in [0, 1] from uint8 images in 0..255; float32 images are returned unchanged."""
    return images if images.dtype == torch.float32 else images.float().div_(255)


def random_crop(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Shifts each image by a random whole number of pixels, uniform in -pad..pad in x and in y; new pixels are black.

    For a batch, this is torchvision's `RandomCrop(side, padding=pad)`.

    Args:
        images: (N, C, H, W), uint8 or float32.
        pad: width of the black border in pixels, 0 or more.
        generator: on the device of `images`.

    Returns:
        (N, C, H, W) of the same type.
    """
    return augment(images, "crop", pad, generator)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirrors each image left to right with probability 1/2.

    Args:
        images: (N, C, H, W), uint8 or float32.
        generator: on the device of `images`.

    Returns:
        (N, C, H, W) of the same type.
    """
    return augment(images, "flip", 0, generator)


def augment(images: Tensor, augmentation: Augment, pad: int, generator: torch.Generator) -> Tensor:
    """Applies the augmentation of a recipe.

    Crop and flip are one gather, so each pixel is moved once. The two draws of the crop come first, then that of the flip.

    Args:
        images: (N, C, H, W), uint8 or float32.
        augmentation: `none`, `crop`, `flip` or `crop-flip`.
        pad: width of the black border of a crop in pixels.
        generator: on the device of `images`.

    Returns:
        (N, C, H, W) of the same type.
    """
    cropped, flipped = augmentation in ("crop", "crop-flip") and pad > 0, augmentation in ("flip", "crop-flip")
    if not cropped and not flipped:
        return images
    count, channels, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(count, width)
    if cropped:
        top = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator, device=device)
        left = torch.randint(0, 2 * pad + 1, (count, 1), generator=generator, device=device)
        rows, columns = rows + top, columns + left
        images = F.pad(images, (pad, pad, pad, pad))
    if flipped:
        mirrored = torch.rand((count, 1, 1, 1), generator=generator, device=device) < 0.5
        columns = torch.where(mirrored[:, 0, 0], columns.flip(1), columns)
    source = rows.unsqueeze(-1) * images.shape[3] + columns.unsqueeze(1)
    source = source.view(count, 1, height * width).expand(-1, channels, -1)
    return images.flatten(2).gather(2, source).view(count, channels, height, width)


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of all images, for images in [0, 1].

    Args:
        images: (N, C, H, W) uint8 or float32.

    Returns:
        (mean, std), C numbers each, computed in float64. The std of a constant channel is 1, so that it can be divided by.
    """
    count = images.numel() // images.shape[1]
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    square = torch.zeros(images.shape[1], dtype=torch.float64)
    for block in blocks(images, 4096):
        pixels = to_float(block).double()
        total += pixels.sum(dim=(0, 2, 3)).cpu()
        square += pixels.square().sum(dim=(0, 2, 3)).cpu()
    mean = total / count
    std = (square / count - mean.square()).clamp_min(0).sqrt()
    std[std < 1e-6] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def blocks(images: Tensor, size: int) -> Iterator[Tensor]:
    """All images in order, in consecutive blocks of at most `size`."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def stratified_subset(labels: Tensor, count: int) -> Tensor:
    """Indices of `count` images that keep the proportions of the classes; the same on every machine and for every cell.

    Counts per class are rounded by largest remainder, and each class keeps at least one image. The images of a class are
    shuffled with a fixed seed, so a larger subset of a class contains every smaller one.

    Args:
        labels: (N,) int64.
        count: from the number of classes to N.

    Returns:
        (count,) int64 indices, ascending, on the CPU.

    Raises:
        ValueError: `count` is below the number of classes or above N.
    """
    labels = labels.cpu()
    classes, sizes = torch.unique(labels, return_counts=True)
    if not len(classes) <= count <= len(labels):
        raise ValueError(
            f"a subset of {count} images is not possible; valid: {len(classes)} (the number of classes) to {len(labels)}"
        )
    exact = sizes.double() * count / len(labels)
    shares = exact.floor().long().clamp_min(1)
    while int(shares.sum()) != count:
        step = 1 if int(shares.sum()) < count else -1
        gap = (exact - shares) * step
        gap[(shares + step < 1) | (shares + step > sizes)] = -torch.inf
        shares[gap.argmax()] += step
    chosen = []
    for label, share in zip(classes.tolist(), shares.tolist(), strict=True):
        members = torch.nonzero(labels == label).flatten()
        order = torch.randperm(len(members), generator=torch.Generator().manual_seed(label))
        chosen.append(members[order[:share]])
    return torch.cat(chosen).sort().values
