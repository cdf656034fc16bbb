"""Pictures: grids of framed images, and scatter plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.analysis import drawing
from benchmark.errors import UsageError


def test_enlarge_repeats_pixels_of_small_images_only() -> None:
    image = np.array([[[10, 20], [30, 40]]], dtype=np.uint8)
    picture = np.asarray(drawing.enlarge(image))
    assert picture.shape == (64, 64, 3)
    assert np.unique(picture[:32, 32:]).tolist() == [20]
    assert np.unique(picture[32:, :32]).tolist() == [30]
    assert drawing.enlarge(np.zeros((3, 96, 70), dtype=np.uint8)).size == (70, 96)
    assert drawing.enlarge(np.zeros((3, 30, 40), dtype=np.uint8)).size == (120, 90)


def test_enlarge_keeps_the_order_of_colors() -> None:
    image = np.zeros((3, 64, 64), dtype=np.uint8)
    image[0] = 200
    assert drawing.enlarge(image).getpixel((5, 5)) == (200, 0, 0)


def test_grid_is_at_least_as_wide_as_its_heading() -> None:
    tile = drawing.Tile(image=np.zeros((1, 8, 8), dtype=np.uint8), captions=("a",), frame=drawing.INK)
    assert drawing.draw_grid([[tile]], ("a", "b")).size == (12 + 72 + 12, 54 + 72 + 15 + 12)
    assert drawing.draw_grid([[tile]], ("a heading much wider than one tile", "b")).width > 200


def test_long_caption_does_not_reach_the_next_tile() -> None:
    image = np.zeros((1, 8, 8), dtype=np.uint8)
    long, none = (
        drawing.Tile(image=image, captions=(text,), frame=drawing.INK) for text in ("a class of long name " * 9, "")
    )
    picture = np.asarray(drawing.draw_grid([[long, none]], ("", "")))
    below = picture[54 + 72 : 54 + 72 + 15]
    assert (below[:, 12:104] < 128).any()
    assert (below[:, 12 + 72 + 20 :] == 255).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.jpg", r"use -o a\.png"), ("folder.png", "is a folder"), ("file/a.png", "cannot write to .*file")],
)
def test_target_must_be_a_writable_png(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=message):
        drawing.check_target(tmp_path / name)


def test_picture_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageError, match=r"cannot write -o .* choose another -o"):
        drawing.write(Image.new("RGB", (1, 1)), tmp_path / "a.png")


def test_points_have_the_color_of_their_class() -> None:
    points = np.array([(0, 0), (0, 5), (0, 10), (10, 0), (10, 5), (10, 10)], dtype=np.float64)
    labels = np.array([0, 0, 0, 1, 1, 1])
    picture = drawing.draw_points(points, labels, ("cat", "dog"), ("a", "b"))
    assert picture.size == (3 * 12 + 720 + 150, 42 + 2 * 12 + 720)
    # The square starts at (12, 54) and has borders of 24 pixels; the second coordinate points up. Class names cover the
    # points in the middle.
    cat, dog = drawing.TEN_COLORS[:2]
    left, right, top, bottom = 12 + 24, 12 + 696, 54 + 24, 54 + 696
    assert [picture.getpixel((left, y)) for y in (top, bottom)] == [cat, cat]
    assert [picture.getpixel((right, y)) for y in (top, bottom)] == [dog, dog]
    assert picture.getpixel((372, 414)) == drawing.WHITE
    assert [picture.getpixel((744 + 5, 54 + 8 + 18 * row)) for row in (0, 1, 2)] == [cat, dog, drawing.WHITE]


def test_points_have_smooth_edges() -> None:
    picture = drawing.draw_points(np.array([(0.0, 0.0), (1, 1), (0, 1)]), np.zeros(3, np.int64), ("a",), ("", ""))
    around = np.asarray(picture)[54 + 690 : 54 + 703, 12 + 18 : 12 + 31].reshape(-1, 3)
    assert len(np.unique(around, axis=0)) > 4


def test_both_axes_have_the_same_scale() -> None:
    picture = drawing.draw_points(
        np.array([(0.0, 0.0), (10, 0), (5, 1), (5, 0.5)]), np.zeros(4, np.int64), ("a",) * 30, ("", "")
    )
    dots = np.argwhere((np.asarray(picture)[55:772, 13:730] == drawing.TEN_COLORS[0]).all(axis=2))
    tall, wide = np.ptp(dots, axis=0)
    assert wide == pytest.approx(672 + 8, abs=3)
    assert tall == pytest.approx(67.2 + 8, abs=3)


def test_every_class_has_its_own_color() -> None:
    assert drawing.colors(3) == list(drawing.TEN_COLORS[:3])
    for count in (10, 11, 37, 100):
        palette = drawing.colors(count)
        assert len(set(palette)) == len(palette) == count
        assert all(0 <= part <= 255 for color in palette for part in color)


def test_legend_of_many_classes_ends_with_the_number_of_others() -> None:
    names = [f"class {index}" for index in range(500)]
    labels = np.arange(500)
    points = np.stack([labels, labels % 7], axis=1).astype(np.float64)
    picture = drawing.draw_points(points, labels, names, ("", ""))
    assert picture.size == (3 * 12 + 720 + 3 * 150, 786)
    last = np.asarray(picture)[54 + 39 * 18 : 54 + 40 * 18]
    assert (last[:, 744 + 300 :] < 128).any()


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\u202e", "x" * 100_000, "\u4e2d\u6587", ""])
def test_class_names_of_any_text_can_be_drawn(name: str) -> None:
    points, labels = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1])
    assert drawing.draw_points(points, labels, [name, "b"], (name, "b")).width > 0
    tile = drawing.Tile(image=np.zeros((1, 8, 8), dtype=np.uint8), captions=(name,), frame=drawing.INK)
    assert drawing.draw_grid([[tile]], ("a", name)).height > 0
