"""Decode image files to uint8 arrays of one size: EXIF rotation, transparency, color conversion, resizing, center crop."""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from bench_images.formats import open_image, own_pillow_settings, turn_to_decode
from bench_images.names import count_names, printable, suffix_of
from bench_images.resizing import center_square
from bench_images.sixteen_bits import color_of, gray_of, is_deep_color, is_deep_gray
from benchmark import DataError
from benchmark.cores import available_cores

BLOCK_BYTES = 2**25
"""Largest size of a block of decoded images; a folder may be larger than memory."""
SMALL_FILE = 2**14
"""Mean file size in bytes below which one thread is fastest."""
STRIP_PIXELS = 2**22
"""Number of pixels that are composited at once."""


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How files become pixels of one size."""

    size: int
    """Side in pixels."""
    gray: bool = False
    """One channel (ITU-R 601 luma) instead of three."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Color behind transparent pixels, 0..255 each."""
    bits: int = 16
    """Bits that are used of images with 16 bits, 8 to 16: their values are divided by 2 ** (bits - 8)."""

    @property
    def channels(self) -> int:
        """1 or 3."""
        return 1 if self.gray else 3


def decode(path: Path, rendering: Rendering) -> NDArray[np.uint8]:
    """Decodes one image: its first frame, turned upright, see `center_square`.

    Args:
        path: a file of a format in `formats.SUFFIXES`.
        rendering: size, channels and what to do with transparent and 16-bit pixels.

    Returns:
        (C, size, size) uint8, C = 1 or 3.

    Raises:
        Exception: any exception of Pillow for a damaged file; ValueError for pixels whose range is unknown, and for images
            that are too large.
    """
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    with open_image(path, suffix_of(path.name)) as image, turn_to_decode(image):
        shown = _upright(image, path, rendering)
        mode = "L" if rendering.gray else "RGB"
        pixels = np.asarray(center_square(shown if shown.mode == mode else shown.convert(mode), rendering.size))
    return pixels[None] if rendering.gray else pixels.transpose(2, 0, 1)


def decode_all(
    root: Path, names: Sequence[str], rendering: Rendering, workers: int = 1, block_bytes: int = BLOCK_BYTES
) -> Iterator[NDArray[np.uint8]]:
    """All images in order, in blocks (n, C, size, size), decoded by `workers` threads (see `threads_for`).

    Raises:
        DataError: after the last block, if files could not be decoded; the message lists them.
    """
    damaged: dict[str, str] = {}
    yield from decode_blocks(root, names, rendering, damaged, workers, block_bytes)
    if damaged:
        described = [f"{printable(name)}: {reason}" for name, reason in damaged.items()]
        raise DataError(
            f"dataset 'folder' at {root}: cannot decode {count_names(described, 'file')} of {len(names)}. "
            f"Replace or remove them, or pass on_error=skip to leave them out"
        )


def decode_blocks(
    root: Path,
    names: Sequence[str],
    rendering: Rendering,
    damaged: dict[str, str],
    workers: int = 1,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[NDArray[np.uint8]]:
    """As `decode_all`, but images that cannot be decoded are black, and their names and reasons are added to `damaged`.

    Raises:
        DataError: a file could not be read for a reason that is not in its content, such as missing memory.
    """
    side = rendering.size
    step = max(workers, block_bytes // (rendering.channels * side * side))
    with own_pillow_settings(), ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(names), step):
            chosen = names[start : start + step]
            block: NDArray[np.uint8] = np.zeros((len(chosen), rendering.channels, side, side), dtype=np.uint8)
            stripes = [range(first, len(chosen), workers) for first in range(workers)]
            reasons: dict[int, str] = {}
            for failures in pool.map(functools.partial(_decode_into, block, root, chosen, rendering), stripes):
                reasons.update(failures)
            damaged.update((chosen[index], reasons[index]) for index in sorted(reasons))
            yield block


def threads_for(mean_bytes: float) -> int:
    """The fastest number of threads for files of this mean size.

    Pillow releases the interpreter lock only while it decompresses. On two cores, two threads take half the time of one for
    JPEGs of 25 kB, the same time for 10 kB, and a third more for 1 kB.
    """
    if mean_bytes < SMALL_FILE:
        return 1
    return available_cores()


def has_transparency(image: Image.Image) -> bool:
    """Whether an image's mode has room for transparent pixels."""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _decode_into(
    block: NDArray[Any], root: Path, names: Sequence[str], rendering: Rendering, indices: range
) -> dict[int, str]:
    """Decodes the images at `indices` into the block. Returns index -> reason for images that cannot be decoded."""
    reasons = {}
    for index in indices:
        try:
            block[index] = decode(root / names[index], rendering)
        except Exception as error:  # Pillow raises any exception for damaged files; each one is reported
            if _is_of_the_machine(error):
                reason = str(error) or "not enough memory"
                raise DataError(
                    f"dataset 'folder' at {root}: cannot read {printable(names[index])}: {reason}"
                ) from error
            reasons[index] = _reason(error, root)
    return reasons


def _is_of_the_machine(error: Exception) -> bool:
    """Whether another machine or another moment might decode the same file. Pillow's own errors have no number."""
    if isinstance(error, OSError):
        return error.errno not in (None, errno.EINVAL)  # EINVAL: a damaged file refers to a place before its start
    return isinstance(error, MemoryError)


def _reason(error: Exception, root: Path) -> str:
    """An exception of Pillow in one line, without the folder's path."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image of a supported format"
    return printable(" ".join(str(error).replace(str(root), "").split())) or type(error).__name__


def _upright(file: ImageFile.ImageFile, path: Path, rendering: Rendering) -> Image.Image:
    """The image as viewers display it, in a mode that converts to RGB and L."""
    image: Image.Image = file
    if rendering.bits < 16 and is_deep_color(file):
        image = color_of(file, path, suffix_of(path.name), rendering.bits)
    ImageOps.exif_transpose(image, in_place=True)
    if is_deep_gray(image):  # Pillow's own conversion clips all but the darkest 256 levels to white
        image = gray_of(image, rendering.bits)
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no defined range; save the image with 8 or 16 bits")
    return _composited(image, rendering.background) if has_transparency(image) else image


def _composited(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """The image on a background, in mode RGB."""
    result = Image.new("RGB", image.size)
    step = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(top + step, image.height))).convert("RGBA")
        behind = Image.new("RGBA", strip.size, (*background, 255))
        result.paste(Image.alpha_composite(behind, strip).convert("RGB"), (0, top))
    return result
