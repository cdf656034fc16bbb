"""Decode image files to uint8 arrays of one size: EXIF rotation, color conversion, resizing, center crop."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bench_images.listing import count_names
from benchmark import DataError

BLOCK_BYTES = 2**25
"""Largest size of a block of decoded images; a folder may be larger than memory."""
SMALL_FILE = 2**14
"""Mean file size in bytes below which one thread is fastest."""


def decode(path: Path, size: int, gray: bool) -> NDArray[np.uint8]:
    """Decodes one image.

    The shorter side is resized to `size` (bilinear, with antialiasing; the longer side is rounded down, as in torchvision's
    Resize), and the center is cropped (half pixels are rounded to even, as in its CenterCrop).

    Args:
        path: any format that Pillow opens; the first frame of an animation.
        size: side in pixels.
        gray: one channel (ITU-R 601 luma) instead of three.

    Returns:
        (C, size, size) uint8, C = 1 or 3.

    Raises:
        Exception: any exception of Pillow for a damaged file; ValueError for 32-bit pixels, whose range is unknown.
    """
    with Image.open(path, formats=_formats(path.suffix.lower())) as image:
        ImageOps.exif_transpose(image, in_place=True)
        converted = _displayed(image).convert("L" if gray else "RGB")
    width, height = converted.size
    shorter = min(width, height)
    if shorter != size:
        width, height = size * width // shorter, size * height // shorter
        converted = converted.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if (width, height) != (size, size):
        converted = converted.crop((left, top, left + size, top + size))
    pixels = np.asarray(converted)
    return pixels[None] if gray else pixels.transpose(2, 0, 1)


def decode_all(
    root: Path, names: Sequence[str], size: int, gray: bool, workers: int = 1, block_bytes: int = BLOCK_BYTES
) -> Iterator[NDArray[np.uint8]]:
    """All images in order, in blocks (n, C, size, size), decoded by `workers` threads (see `threads_for`).

    Raises:
        DataError: after the last block, if files could not be decoded; the message lists them.
    """
    channels = 1 if gray else 3
    step = max(workers, block_bytes // (channels * size * size))
    damaged: list[str] = []

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(names), step):
            chosen = names[start : start + step]
            block: NDArray[np.uint8] = np.zeros((len(chosen), channels, size, size), dtype=np.uint8)
            stripes = [range(first, len(chosen), workers) for first in range(workers)]
            reasons: dict[int, str] = {}
            for failures in pool.map(functools.partial(_decode_into, block, root, chosen, size, gray), stripes):
                reasons.update(failures)
            damaged += [f"{chosen[index]}: {reasons[index]}" for index in sorted(reasons)]
            yield block
    if damaged:
        raise DataError(
            f"dataset 'folder' at {root}: cannot decode {count_names(damaged, 'file')} of {len(names)}. "
            f"Replace or remove them"
        )


def threads_for(mean_bytes: float) -> int:
    """The fastest number of threads for files of this mean size.

    Pillow releases the interpreter lock only while it decompresses. On two cores, two threads take half the time of one for
    JPEGs of 25 kB, the same time for 10 kB, and a third more for 1 kB.
    """
    if mean_bytes < SMALL_FILE:
        return 1
    # Cores that this process may use; in a container fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode_into(
    block: NDArray[Any], root: Path, names: Sequence[str], size: int, gray: bool, indices: range
) -> dict[int, str]:
    """Decodes the images at `indices` into the block. Returns index -> reason for images that cannot be decoded."""
    reasons = {}
    for index in indices:
        try:
            block[index] = decode(root / names[index], size, gray)
        except Exception as error:  # Pillow raises any exception for damaged files; each one is reported
            reasons[index] = " ".join(str(error).replace(str(root), "").split()) or type(error).__name__
    return reasons


@functools.cache
def _formats(suffix: str) -> tuple[str, ...]:
    """All formats that Pillow opens. The suffix's format is first, so that usually only one is tried."""
    expected = Image.registered_extensions().get(suffix)
    return tuple(sorted(Image.OPEN, key=lambda form: form != expected))


def _displayed(image: Image.Image) -> Image.Image:
    """The image in a mode that converts to RGB and L as viewers display it."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # 16 bits (32 in some versions of Pillow). Pillow's conversion clips all but the darkest 256 levels to white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit pixels (mode {image.mode}) have no defined range; save the image with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA"))
    return image
