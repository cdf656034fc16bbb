"""Decoding of image files: `bench_images.decoding`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from bench_images import decoding


def decode(path: Path, **rendering: object) -> np.ndarray:
    return decoding.decode(path, decoding.Rendering(**rendering))  # type: ignore[arg-type]  # passed on as passed


def gradient(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(40, 31), (31, 40), (9, 64), (24, 24), (10, 10)])
def test_resizing_and_cropping_match_torchvision(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = Image.fromarray(gradient(*shape))
    image.save(tmp_path / "a.png")
    transform = torchvision.transforms.Compose(
        [torchvision.transforms.Resize(24), torchvision.transforms.CenterCrop(24), torchvision.transforms.PILToTensor()]
    )
    assert np.array_equal(decode(tmp_path / "a.png", size=24), transform(image).numpy())


def test_image_of_the_requested_size_is_unchanged(tmp_path: Path) -> None:
    pixels = gradient(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decode(tmp_path / "a.png", size=8), pixels.transpose(2, 0, 1))


def test_image_with_the_suffix_of_another_format_is_decoded(tmp_path: Path) -> None:
    pixels = gradient(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(decode(tmp_path / "a.jpg", size=8), pixels.transpose(2, 0, 1))


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    pixels = gradient(8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the image is upright after a quarter turn clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = np.rot90(pixels, k=-1).transpose(2, 0, 1)
    assert np.array_equal(decode(tmp_path / "a.png", size=8), upright)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_every_color_mode_is_converted(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    deep = Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16))
    palette = red.convert("P")
    clear = Image.new("P", (8, 8), 0)
    clear.putpalette([255, 255, 255] * 2)
    cases = {
        "palette": (saved(palette, tmp_path / "p.png"), [255, 0, 0]),
        "cmyk": (saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "c.tif"), [255, 0, 0]),
        "transparent": (saved(half, tmp_path / "a.png"), [255, 255, 255]),
        "transparent palette": (saved(clear, tmp_path / "t.png", transparency=b"\0\0"), [255, 255, 255]),
        "16 bits": (saved(deep, tmp_path / "d.png"), [40_000 // 256] * 3),
        "16 bits, tiff": (saved(deep, tmp_path / "d.tif"), [40_000 // 256] * 3),
        "16 bits, pgm": (saved(deep, tmp_path / "d.pgm"), [40_000 // 256] * 3),
        "black and white": (saved(Image.new("1", (8, 8), 1), tmp_path / "b.png"), [255, 255, 255]),
        "gray and alpha": (saved(Image.new("LA", (8, 8), (9, 255)), tmp_path / "l.png"), [9, 9, 9]),
    }
    for name, (path, color) in cases.items():
        pixels = decode(path, size=8)
        assert pixels.shape == (3, 8, 8), name
        assert pixels[:, 3, 3].tolist() == color, name
        assert decode(path, size=8, gray=True).shape == (1, 8, 8), name


TRANSPARENT = {
    "RGBA": Image.new("RGBA", (8, 8), (255, 0, 0, 0)),
    "LA": Image.new("LA", (8, 8), (255, 0)),
    "P": Image.new("P", (8, 8), 0),
    "RGB": Image.new("RGB", (8, 8), (1, 2, 3)),
    "L": Image.new("L", (8, 8), 7),
    "I;16": Image.fromarray(np.full((8, 8), 999, dtype=np.uint16)),
}
KEYS = {"P": 0, "RGB": (1, 2, 3), "L": 7, "I;16": 999}
"""The color that the file declares transparent, for modes without an alpha channel."""


@pytest.mark.parametrize("mode", TRANSPARENT)
def test_transparent_pixels_get_the_color_of_the_background(tmp_path: Path, mode: str) -> None:
    options = {"transparency": KEYS[mode]} if mode in KEYS else {}
    path = saved(TRANSPARENT[mode], tmp_path / "a.png", **options)
    for color in ((255, 255, 255), (0, 0, 0), (1, 128, 200)):
        assert decode(path, size=8, background=color)[:, 3, 3].tolist() == list(color)


def test_half_transparent_pixels_are_mixed_with_the_background(tmp_path: Path) -> None:
    path = saved(Image.new("RGBA", (8, 8), (255, 0, 0, 128)), tmp_path / "a.webp", lossless=True)
    assert decode(path, size=8, background=(0, 0, 0))[:, 3, 3].tolist() == [128, 0, 0]
    assert decode(path, size=8)[:, 3, 3].tolist() == [255, 127, 127]


def test_gray_is_the_luma_of_itu_r_601(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (8, 8), (200, 100, 50)), tmp_path / "a.png")
    assert decode(path, size=8, gray=True)[0, 0, 0] == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_float_pixels_are_an_error(tmp_path: Path) -> None:
    path = saved(Image.new("F", (8, 8), 0.5), tmp_path / "a.tif")
    with pytest.raises(ValueError, match="no defined range"):
        decode(path, size=8)


@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_and_threads_do_not_change_the_order(tmp_path: Path, workers: int) -> None:
    names = [f"{number}.png" for number in range(10)]
    for number, name in enumerate(names):
        Image.new("L", (8, 8), number).save(tmp_path / name)
    rendering = decoding.Rendering(size=8, gray=True)
    blocks = list(decoding.decode_all(tmp_path, names, rendering, workers=workers, block_bytes=4 * 64))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert np.concatenate(blocks)[:, 0, 0, 0].tolist() == list(range(10))


def test_small_files_are_decoded_by_one_thread() -> None:
    assert decoding.threads_for(1000) == 1
    assert decoding.threads_for(100_000) >= 1
