"""The image formats that are read. Only these decoders of Pillow are used, whatever a file's suffix says.

Left out are decoders that start another program (EPS starts Ghostscript), that cannot decode without a second library
(HDF5, GRIB, BUFR, WMF), and those for icons, videos and layered documents.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile

SUFFIXES = {
    "AVIF": (".avif", ".avifs"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    "PCX": (".pcx",),
    "PNG": (".png", ".apng"),
    "PPM": (".pbm", ".pgm", ".ppm", ".pnm", ".pfm"),
    "QOI": (".qoi",),
    "TGA": (".tga",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""Pillow's name of each format -> its suffixes. AVIF and WebP are missing in some builds of Pillow."""
WEAK_SIGNATURES = ("PCX", "TGA")
"""Formats that many other files look like. They are recognized only together with their suffix."""
MAX_PIXELS = 300_000_000
"""Images with more pixels are refused before they are decoded, which would take more than 1.2 GB."""

LARGE_PIXELS = 2**25
_LARGE_IMAGE = threading.Lock()


@functools.cache
def readable_suffixes() -> dict[str, str]:
    """Suffix in lower case -> format, for the formats that this build of Pillow decodes."""
    Image.init()
    return {suffix: form for form, suffixes in SUFFIXES.items() if form in Image.OPEN for suffix in suffixes}


def open_image(file: Path | BinaryIO, suffix: str) -> ImageFile.ImageFile:
    """Opens an image of a format of `SUFFIXES` without decoding it. The format of `suffix` is tried first.

    Raises:
        ValueError: the image is empty or has more than `MAX_PIXELS` pixels.
        Exception: any exception of Pillow for a damaged file.
    """
    image = Image.open(file, formats=_formats(suffix))
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{width} x {height} pixels are more than the limit of {MAX_PIXELS:,}")
    return image


def turn_to_decode(image: Image.Image) -> AbstractContextManager[object]:
    """Lets one thread at a time decode an image above `LARGE_PIXELS`, so that threads do not multiply the memory."""
    return _LARGE_IMAGE if image.width * image.height > LARGE_PIXELS else nullcontext()


@contextmanager
def own_pillow_settings() -> Iterator[None]:
    """Sets what another library may have changed: truncated files are errors.

    Turns off Pillow's own limit of pixels, which warns at 89 and fails at 179 megapixels; `open_image` has a limit.
    """
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


@functools.cache
def _formats(suffix: str) -> tuple[str, ...]:
    expected = readable_suffixes().get(suffix)
    others = [form for form in SUFFIXES if form in Image.OPEN and form not in (expected, *WEAK_SIGNATURES)]
    return (*([expected] if expected else []), *others)
