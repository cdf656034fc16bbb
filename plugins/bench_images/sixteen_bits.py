"""Images of 16 bits per channel, whose values often use only 8, 10, 12 or 14 of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile

from bench_images.formats import open_image

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of cameras and scanners."""
BITS_PER_SAMPLE = 258
"""Tag of TIFF."""
ORIENTATION = 0x0112
"""Tag of EXIF."""
OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
"""Order of the two bytes of a value (big-endian, little-endian, native) -> the order that reads the other byte."""


def is_deep_gray(image: Image.Image) -> bool:
    """Whether an image has one channel of 16 bits (mode I in some versions of Pillow)."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def is_deep_color(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not decoded yet has several channels of 16 bits. Pillow reads the upper 8 of them."""
    raw_mode, _ = _raw_mode(image)
    is_ppm = image.format == "PPM" and image.mode == "RGB" and image.tile[0][3] == ("RGB", 65535)
    return is_ppm or (";16" in raw_mode and len(image.getbands()) > 1)


def bits_used(image: ImageFile.ImageFile) -> int:
    """The number of bits that the largest value needs, at least 8; 0 for images of 8 bits. Decodes images of 16 bits."""
    if is_deep_gray(image):
        declared = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, 0)  # 12 for TIFF files with packed values
        bits = declared[0] if isinstance(declared, tuple) else declared
        return max(8, int(np.asarray(image).max()).bit_length(), bits if bits < 16 else 0)
    if is_deep_color(image):
        upper = np.asarray(image)
        return 8 + int(upper[..., :3].max()).bit_length()
    return 0


def gray_of(image: Image.Image, bits: int) -> Image.Image:
    """The upper 8 of `bits` bits of an image for which `is_deep_gray` holds; keeps its transparent value as alpha."""
    pixels = np.asarray(image)
    shown = Image.fromarray(np.minimum(pixels >> (bits - 8), 255).astype(np.uint8))
    if "transparency" in image.info:
        opaque = pixels != image.info["transparency"]
        shown.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    return shown


def color_of(image: ImageFile.ImageFile, file: Path | BinaryIO, suffix: str, bits: int) -> Image.Image:
    """The upper 8 of `bits` bits of an image for which `is_deep_color` holds; alpha keeps its upper 8 bits of 16.

    Args:
        image: opened from `file`, not decoded yet.
        file: opened again for the lower bytes.
        suffix: of the file.
        bits: 8 to 16.

    Raises:
        ValueError: Pillow cannot read the lower 8 bits of this kind of file.
    """
    with open_image(file, suffix) as other:
        try:
            _read_other_byte(other)
            lower = np.asarray(other)
        except ValueError as error:  # Pillow has no such layout
            raise ValueError(_unsupported(image, bits)) from error
    upper = np.asarray(image)
    values = (upper.astype(np.uint16) << 8 | lower) >> (bits - 8)
    pixels = np.minimum(values, 255).astype(np.uint8)
    if image.mode == "RGBA":
        pixels[..., 3] = upper[..., 3]
    result = Image.fromarray(pixels, image.mode)
    result.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return result


def _read_other_byte(image: ImageFile.ImageFile) -> None:
    """Makes Pillow decode the lower byte of each value instead of the upper one.

    Raises:
        ValueError: it cannot.
    """
    raw_mode, rest = _raw_mode(image)
    if not raw_mode:
        raise ValueError("no layout with 16 bits")
    swapped = raw_mode[:-1] + OTHER_BYTE[raw_mode[-1]]
    tiles: list[Any] = []
    for tile in image.tile:
        arguments = (swapped, *rest) if isinstance(tile[3], tuple) else swapped
        tiles.append(tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments))
    image.tile = tiles


def _unsupported(image: Image.Image, bits: int) -> str:
    return f"{image.format} of several channels with 16 bits, of which {bits} are used; save it with 8 bits"


def _raw_mode(image: ImageFile.ImageFile) -> tuple[str, tuple[object, ...]]:
    """Pillow's name of the layout of an image's file if it is of 16 bits, and the other arguments of its decoder."""
    arguments = image.tile[0][3] if image.tile else None
    raw_mode, *rest = arguments if isinstance(arguments, tuple) and arguments else (arguments,)
    if isinstance(raw_mode, str) and ";16" in raw_mode and raw_mode[-1] in OTHER_BYTE:
        return raw_mode, tuple(rest)
    return "", ()
