"""Image files become one uint8 size: turned upright, in the right colors, resized, cropped at the center."""

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

from bench_images.listing import some
from benchmark import DataError

BLOCK_BYTES = 2**25
"""Decoded images that are held before they are handed on; a folder may be larger than memory."""
SMALL_FILE = 2**14
"""Bytes below which threads do not pay."""


def decode(path: Path, size: int, gray: bool) -> NDArray[np.uint8]:
    """One image.

    The shorter side is resized to `size` (bilinear, with antialias; the longer side rounded down, as torchvision's
    Resize does) and the center is cut out, half a pixel rounded to even, as its CenterCrop does.

    Args:
        path: any format that Pillow opens; of an animation, the first frame.
        size: side in pixels.
        gray: one channel (ITU-R 601 luma) rather than three.

    Returns:
        (C, size, size) uint8, C = 1 or 3.

    Raises:
        Exception: whatever Pillow raises for a damaged file; ValueError for 32-bit pixels, whose range is unknown.
    """
    with Image.open(path, formats=_readers(path.suffix.lower())) as image:
        ImageOps.exif_transpose(image, in_place=True)
        picture = _colored(image).convert("L" if gray else "RGB")
    width, height = picture.size
    shorter = min(width, height)
    if shorter != size:
        width, height = size * width // shorter, size * height // shorter
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if (width, height) != (size, size):
        picture = picture.crop((left, top, left + size, top + size))
    pixels = np.asarray(picture)
    return pixels[None] if gray else pixels.transpose(2, 0, 1)


def decode_all(
    root: Path, names: Sequence[str], size: int, gray: bool, workers: int = 1
) -> Iterator[NDArray[np.uint8]]:
    """All images in order, in blocks (n, C, size, size), decoded by so many threads (see `threads_for`).

    Raises:
        DataError: after the last block, if any file could not be decoded: how many, and which.
    """
    channels = 1 if gray else 3
    step = max(workers, BLOCK_BYTES // (channels * size * size))
    damaged: list[str] = []

    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(names), step):
            chosen = names[start : start + step]
            block: NDArray[np.uint8] = np.zeros((len(chosen), channels, size, size), dtype=np.uint8)
            stripes = [range(first, len(chosen), workers) for first in range(workers)]
            reasons: dict[int, str] = {}
            for found in pool.map(functools.partial(_fill, block, root, chosen, size, gray), stripes):
                reasons.update(found)
            damaged += [f"{chosen[place]}: {reasons[place]}" for place in sorted(reasons)]
            yield block
    if damaged:
        raise DataError(
            f"dataset 'folder' at {root}: of {len(names)} images, {some(damaged, 'file')} cannot be decoded. "
            f"Replace or remove them"
        )


def threads_for(mean_bytes: float) -> int:
    """How many threads decode files of that mean size the quickest.

    Pillow lets go of the interpreter's lock only while it decompresses. On two processors two threads take half the
    time for JPEGs of 25 kB, the same for 10 kB and a third more than one thread for 1 kB.
    """
    if mean_bytes < SMALL_FILE:
        return 1
    # What this process may use: in a container fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _fill(
    block: NDArray[Any], root: Path, names: Sequence[str], size: int, gray: bool, places: range
) -> dict[int, str]:
    """Decodes the images at `places` into the block; place -> why not, for those that cannot be decoded."""
    reasons = {}
    for place in places:
        try:
            block[place] = decode(root / names[place], size, gray)
        except Exception as error:  # Pillow's many readers raise anything on damaged files; all of it is reported
            reasons[place] = " ".join(str(error).replace(str(root), "").split()) or type(error).__name__
    return reasons


@functools.cache
def _readers(suffix: str) -> tuple[str, ...]:
    """All formats that Pillow opens, the suffix's own first: the others are then not tried in vain on every file."""
    expected = Image.registered_extensions().get(suffix)
    return tuple(sorted(Image.OPEN, key=lambda form: form != expected))


def _colored(image: Image.Image) -> Image.Image:
    """The image in a mode that converts to RGB and L as people see it."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # 16 bits (which some versions of Pillow hold in 32): Pillow would turn all but the darkest 256 levels white.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"32-bit pixels (mode {image.mode}) have no agreed range; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA"))
    return image
