"""Images as tensors on a device: from uint8 to float, random crops and flips of whole batches, in blocks.

Public to plugins. Every function takes batches (N, C, H, W), uint8 or float32, and works on the device of what it gets;
chance comes from a `torch.Generator` on that device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api.recipes import Augment


def to_float(images: Tensor) -> Tensor:
    """Images uint8 in 0..255 as float32 in [0, 1]; float32 images pass unchanged."""
    return images if images.dtype == torch.float32 else images.float().div_(255)


def random_crop(images: Tensor, pad: int, generator: torch.Generator) -> Tensor:
    """Every image shifted by its own whole number of pixels, uniform in -pad..pad in x and in y; black comes in.

    The same as torchvision's RandomCrop(side, padding=pad), for a whole batch.

    Args:
        images: (N, C, H, W), uint8 or float32.
        pad: width of the black border in pixels, 0 or more.
        generator: on the device of `images`.

    Returns:
        (N, C, H, W) of the same type.
    """
    return augment(images, "crop", pad, generator)


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image mirrored left to right with probability 1/2.

    Args:
        images: (N, C, H, W), uint8 or float32.
        generator: on the device of `images`.
    """
    return augment(images, "flip", 0, generator)


def augment(images: Tensor, how: Augment, pad: int, generator: torch.Generator) -> Tensor:
    """The recipe's one augmentation: `none`, `crop`, `flip` or `crop-flip`. Shape and type as given.

    Crop and flip are one gather: the crop's two draws come first, then the flip's, and each pixel is moved once.
    """
    cropped, flipped = how in ("crop", "crop-flip") and pad > 0, how in ("flip", "crop-flip")
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
    places = rows.unsqueeze(-1) * images.shape[3] + columns.unsqueeze(1)
    places = places.view(count, 1, height * width).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view(count, channels, height, width)


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels of all images, for images in [0, 1].

    Args:
        images: (N, C, H, W) uint8 or float32.

    Returns:
        (mean, std), C numbers each, from float64 sums. A constant channel gets std 1, so that it can be divided by.
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
    """The images in consecutive blocks of at most `size`, in order, none left out."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def stratified_subset(labels: Tensor, count: int) -> Tensor:
    """Positions of `count` images with every class in its share, the same on every machine and for every cell.

    Shares are rounded by largest remainder, and every class keeps at least one image; which images of a class are
    taken is drawn once and for all, so that a larger subset of the same class contains a smaller one.

    Args:
        labels: (N,) int64.
        count: from the number of classes to N.

    Returns:
        (count,) int64 positions, ascending, on the CPU.

    Raises:
        ValueError: fewer images than classes, or more than there are.
    """
    labels = labels.cpu()
    classes, sizes = torch.unique(labels, return_counts=True)
    if not len(classes) <= count <= len(labels):
        raise ValueError(f"a subset of {count} images from {len(labels)} images of {len(classes)} classes")
    exact = sizes.double() * count / len(labels)
    shares = exact.floor().long().clamp_min(1)
    while int(shares.sum()) != count:
        step = 1 if int(shares.sum()) < count else -1
        gap = (exact - shares) * step
        gap[(shares + step < 1) | (shares + step > sizes)] = -torch.inf
        shares[gap.argmax()] += step
    chosen = []
    for label, share in zip(classes.tolist(), shares.tolist(), strict=True):
        places = torch.nonzero(labels == label).flatten()
        order = torch.randperm(len(places), generator=torch.Generator().manual_seed(label))
        chosen.append(places[order[:share]])
    return torch.cat(chosen).sort().values
