"""Draws pictures with Pillow: grids of framed images with captions, and scatter plots colored by class.

Convention: lengths are pixels, x points right and y points down; colors are (red, green, blue) from 0 to 255.
"""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmark.errors import RecordError, UsageError
from benchmark.plain_text import one_line, shortened
from benchmark.records.atomic import reason, replaced

Color = tuple[int, int, int]
Picture = Image.Image
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

WHITE: Color = (255, 255, 255)
INK: Color = (40, 40, 40)
# Distinguishable with red-green color blindness: Okabe and Ito, Color Universal Design, 2008.
GREEN: Color = (0, 158, 115)
RED: Color = (213, 94, 0)

# Petroff, Accessible Color Sequences for Data Visualization, arXiv:2107.02270.
TEN_COLORS: tuple[Color, ...] = (
    (63, 144, 218),
    (255, 169, 14),
    (189, 31, 1),
    (148, 164, 162),
    (131, 45, 182),
    (169, 107, 89),
    (231, 99, 0),
    (185, 172, 112),
    (113, 117, 129),
    (146, 218, 221),
)

SMALLEST_TILE = 64
"""Minimum length of an image's shorter side."""
FRAME = 4
GAP = 10
MAX_TEXT = 500
"""Characters of a text, before it is truncated to its width."""
LINE = 15
"""Height of a line of text."""
MARGIN = 12
HEADING = 2 * LINE + MARGIN
"""Height of the two heading lines."""

SUPERSAMPLING = 4
"""Points are drawn this many times larger and then scaled down, for smooth edges."""
SIDE = 720
"""Side of the square that contains the points."""
LEGEND_ROWS = 40
LEGEND_COLUMNS = 3
LEGEND_WIDTH = 150
MOST_ANNOTATED = 20
"""With up to this many classes, each class name is written among its points: not everybody can tell the colors apart."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One image of a grid."""

    image: NDArray[np.uint8]
    """(C, H, W): with 3 channels red, green and blue; with another number their mean is shown."""
    captions: tuple[str, ...]
    """Lines below the image, truncated to its width."""
    frame: Color


def colors(count: int) -> list[Color]:
    """A color for each class: the ten fixed ones, then further hues, alternately dark and light."""
    more = max(0, count - len(TEN_COLORS))
    hues = [
        colorsys.hls_to_rgb(index / more, 0.35 if index % 2 else 0.6, 0.75 if index % 4 < 2 else 0.45)
        for index in range(more)
    ]
    further = [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in hues]
    return [*TEN_COLORS[:count], *further]


def enlarge(image: NDArray[np.uint8]) -> Picture:
    """An image (C, H, W) as a picture, scaled up by a whole factor until its shorter side reaches SMALLEST_TILE."""
    pixels = image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True).round().astype(np.uint8), 3, 0)
    factor = max(1, -(-SMALLEST_TILE // min(image.shape[1:])))
    picture = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def draw_grid(rows: Sequence[Sequence[Tile]], heading: tuple[str, str]) -> Picture:
    """Rows of framed images of equal size; a wider gap follows the first image of each row.

    Args:
        rows: equal numbers of tiles, at least one.
        heading: two lines above the grid.
    """
    pictures = [[enlarge(tile.image) for tile in row] for row in rows]
    width, height = (length + 2 * FRAME for length in pictures[0][0].size)
    caption_height = LINE * len(rows[0][0].captions)
    font = _font(11)
    total_width = 2 * MARGIN + len(rows[0]) * (width + GAP) - GAP + (GAP if len(rows[0]) > 1 else 0)
    canvas = _canvas(total_width, HEADING + 2 * MARGIN + len(rows) * (height + caption_height + GAP) - GAP, heading)
    draw = ImageDraw.Draw(canvas)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            x = MARGIN + j * (width + GAP) + (GAP if j else 0)
            y = HEADING + MARGIN + i * (height + caption_height + GAP)
            draw.rectangle((x, y, x + width - 1, y + height - 1), fill=tile.frame)
            canvas.paste(pictures[i][j], (x + FRAME, y + FRAME))
            for line, text in enumerate(tile.captions):
                position = (x + FRAME, y + height + line * LINE + 1)
                draw.text(position, _truncated(draw, text, width + GAP - FRAME, font), fill=INK, font=font)
    return canvas


def draw_points(
    points: NDArray[np.float64], labels: NDArray[np.int64], class_names: Sequence[str], heading: tuple[str, str]
) -> Picture:
    """A scatter plot with a legend. Both axes have the same scale, and points are drawn in random order.

    Args:
        points: (N, 2), N >= 1; the second coordinate points up.
        labels: (N,) int64.
        class_names: index = label.
        heading: two lines above the plot.
    """
    palette = colors(len(class_names))
    columns = min(LEGEND_COLUMNS, -(-len(class_names) // LEGEND_ROWS))
    canvas = _canvas(3 * MARGIN + SIDE + columns * LEGEND_WIDTH, HEADING + 2 * MARGIN + SIDE, heading)
    corner = (MARGIN, HEADING + MARGIN)
    pixels = _to_pixels(points)
    canvas.paste(_dots(pixels, labels, palette), corner)
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((corner[0], corner[1], corner[0] + SIDE - 1, corner[1] + SIDE - 1), outline=(200, 200, 200))
    present = np.unique(labels).tolist()
    if len(present) <= MOST_ANNOTATED:
        for label in present:
            _annotate(draw, class_names[label], pixels[labels == label] + corner)
    _legend(draw, class_names, palette, (2 * MARGIN + SIDE, corner[1]))
    return canvas


def check_target(path: Path) -> None:
    """Checks that a picture can be written to a path, before it is computed.

    Raises:
        UsageError: the path is a folder, is not a .png file, or its folder cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"-o {path} is a folder; give a file in it: -o {path / 'picture.png'}")
    if path.suffix.lower() != ".png":
        raise UsageError(f"-o {path}: pictures are written as PNG; use -o {path.with_suffix('.png').name}")
    parent = next((each for each in path.absolute().parents if each.exists()), None)
    if parent is None or not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UsageError(f"-o {path}: cannot write to {parent}; choose another -o")


def write(picture: Picture, path: Path) -> None:
    """Writes a picture as a PNG file, atomically.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        with replaced(path) as file:
            picture.save(file, format="PNG")
    except RecordError as error:
        why = reason(error.__cause__) if isinstance(error.__cause__, OSError) else error
        raise UsageError(f"cannot write -o {path} ({why}); choose another -o") from error


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _canvas(width: int, height: int, heading: tuple[str, str]) -> Picture:
    """A white picture with a heading, widened if the heading needs it."""
    heading = (one_line(shortened(heading[0], MAX_TEXT)), one_line(shortened(heading[1], MAX_TEXT)))
    fonts = (_font(15), _font(12))
    needed = max(round(font.getlength(text)) for text, font in zip(heading, fonts, strict=True))
    canvas = Image.new("RGB", (max(width, needed + 2 * MARGIN), height), WHITE)
    draw = ImageDraw.Draw(canvas)
    for line, (text, font) in enumerate(zip(heading, fonts, strict=True)):
        draw.text((MARGIN, MARGIN + line * (LINE + 3)), text, fill=INK, font=font)
    return canvas


def _truncated(draw: ImageDraw.ImageDraw, text: str, width: float, font: Font) -> str:
    """The text on one line without hidden characters, truncated to a width."""
    text = one_line(text[:MAX_TEXT])
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"{text}..", font=font) > width:
        text = text[:-1]
    return f"{text}.."


def _to_pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 2) in pixels of the square: the larger extent fills it except for a border, the other is centered."""
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    extent = float(np.ptp(points, axis=0).max()) or 1.0
    scaled = (points - middle) / extent * np.array([1, -1])
    pixels: NDArray[np.float64] = scaled * (SIDE - 4 * MARGIN) + SIDE / 2
    return pixels


def _dots(points: NDArray[np.float64], labels: NDArray[np.int64], palette: Sequence[Color]) -> Picture:
    canvas = Image.new("RGB", (SIDE * SUPERSAMPLING, SIDE * SUPERSAMPLING), WHITE)
    draw = ImageDraw.Draw(canvas)
    # Dots cover about a tenth of the square, and are never too small to be visible.
    radius = SUPERSAMPLING * min(5.0, max(1.2, 130 / len(points) ** 0.5))
    for index in np.random.default_rng(0).permutation(len(points)).tolist():
        x, y = points[index] * SUPERSAMPLING
        # A thin white edge separates neighboring dots.
        draw.circle((x, y), radius, fill=palette[labels[index]], outline=WHITE, width=SUPERSAMPLING // 2)
    return canvas.resize((SIDE, SIDE), Image.Resampling.BOX)


def _annotate(draw: ImageDraw.ImageDraw, name: str, points: NDArray[np.float64]) -> None:
    """Writes a class name at the point of the class that is nearest to their median, which itself may be far from all."""
    font = _font(14)
    nearest = np.abs(points - np.median(points, axis=0)).sum(axis=1).argmin()
    x, y = points[nearest].tolist()
    text = _truncated(draw, name, LEGEND_WIDTH, font)
    draw.text((x, y), text, fill=INK, font=font, anchor="mm", stroke_width=3, stroke_fill=WHITE)


def _legend(
    draw: ImageDraw.ImageDraw, class_names: Sequence[str], palette: Sequence[Color], corner: tuple[int, int]
) -> None:
    capacity = LEGEND_ROWS * LEGEND_COLUMNS
    shown = len(class_names) if len(class_names) <= capacity else capacity - 1
    height, font = SIDE // LEGEND_ROWS, _font(12)
    for index in range(shown):
        x = corner[0] + index // LEGEND_ROWS * LEGEND_WIDTH
        y = corner[1] + index % LEGEND_ROWS * height
        draw.rectangle((x, y + 3, x + 11, y + 14), fill=palette[index])
        draw.text((x + 18, y + 1), _truncated(draw, class_names[index], LEGEND_WIDTH - 24, font), fill=INK, font=font)
    if shown < len(class_names):
        position = (corner[0] + (LEGEND_COLUMNS - 1) * LEGEND_WIDTH, corner[1] + (LEGEND_ROWS - 1) * height + 1)
        draw.text(position, f"and {len(class_names) - shown} more", fill=INK, font=font)
