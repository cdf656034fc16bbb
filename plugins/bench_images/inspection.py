"""Inspect an image for what decides how it is decoded: transparent pixels, more than 8 bits, several frames."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench_images.decoding import has_transparency
from bench_images.formats import open_image, turn_to_decode
from bench_images.names import suffix_of
from bench_images.sixteen_bits import bits_used, is_deep_gray


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What one image contains. Damaged images contain nothing."""

    transparent: bool = False
    """Whether a pixel is not opaque."""
    bits: int = 0
    """Number of bits that its largest value needs, for an image of 16 bits; 0 for others."""
    animated: bool = False
    """Whether there are more frames than one."""


PLAIN = Inspection()


def inspect(source: bytes | Path, name: str) -> Inspection:
    """Inspects a file. Only images with transparency or 16 bits are decoded.

    Args:
        source: the content of the file, or its path.
        name: of the file, for its suffix.
    """
    if isinstance(source, bytes) and _is_plain(source):
        return PLAIN
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with open_image(file, suffix_of(name)) as image, turn_to_decode(image):
            return Inspection(
                animated=bool(getattr(image, "is_animated", False)),
                bits=bits_used(image),
                transparent=has_transparency(image) and _is_transparent(image),
            )
    except Exception:  # Pillow raises any exception for damaged files; decoding reports them
        return PLAIN


def _is_plain(content: bytes) -> bool:
    """Whether it is a JPEG, or an opaque PNG of 8 bits or fewer with one frame; most files are, and this is fast."""
    if content.startswith(b"\xff\xd8"):
        return True
    is_png = content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 25
    if not is_png or content[24] > 8 or content[25] not in (0, 2, 3):
        return False
    header = content[: content.find(b"IDAT")]
    return b"tRNS" not in header and b"acTL" not in header


def _is_transparent(image: Image.Image) -> bool:
    if is_deep_gray(image):
        return bool((np.asarray(image) == image.info["transparency"]).any())
    alpha = image if image.mode == "RGBA" else image.convert("RGBA")
    return bool(np.asarray(alpha.getchannel("A")).min() < 255)
