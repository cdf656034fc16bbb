"""Resize the shorter side of an image and crop the center, in memory that does not grow with the image's aspect ratio."""

from __future__ import annotations

from PIL import Image

MAX_SIDE = 2**24
"""Longest side after resizing. Only an image a million times longer than wide exceeds it."""
PIXELS_AT_ONCE = 2**22
"""Images that stay below it are resized as a whole, others in parts."""


def center_square(image: Image.Image, size: int) -> Image.Image:
    """The center of an image whose shorter side is resized to `size`.

    Bilinear with antialiasing. The longer side is rounded down, as in torchvision's Resize, and half pixels of the crop are
    rounded to even, as in its CenterCrop.

    Args:
        image: mode L or RGB.
        size: side of the result in pixels.

    Raises:
        ValueError: the longer side would exceed `MAX_SIDE`.
    """
    width, height = image.size
    shorter = min(width, height)
    if shorter != size:
        width, height = size * width // shorter, size * height // shorter
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{image.width} x {image.height} pixels: one side is too long for the other")
    left, top = round((width - size) / 2), round((height - size) / 2)
    if shorter != size:
        if width * height <= PIXELS_AT_ONCE:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        else:
            # Pillow resizes columns first and keeps 8 bits between the two passes, so this gives the same pixels.
            image = _resized_columns(image, width, left, size)
            rows = _resized_columns(image.transpose(Image.Transpose.TRANSPOSE), height, top, size)
            return rows.transpose(Image.Transpose.TRANSPOSE)
    return image.crop((left, top, left + size, top + size)) if image.size != (size, size) else image


def _resized_columns(image: Image.Image, width: int, left: int, count: int) -> Image.Image:
    """`count` columns from `left` on, of the image resized to `width` columns; a few rows at a time."""
    result = Image.new(image.mode, (count, image.height))
    step = max(1, PIXELS_AT_ONCE // max(width, image.width))
    for top in range(0, image.height, step):
        rows = image.crop((0, top, image.width, min(top + step, image.height)))
        if width != image.width:
            rows = rows.resize((width, rows.height), Image.Resampling.BILINEAR)
        result.paste(rows.crop((left, 0, left + count, rows.height)), (0, top))
    return result
