"""Images of 16 bits: `bench_images.sixteen_bits`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_samples import make_tree, params_for
from PIL import Image

from bench_images import folder
from bench_images.decoding import Rendering, decode
from benchmark import DataError

Writer = Callable[[np.ndarray], bytes]


def values(bits: int, channels: int) -> np.ndarray:
    """(8, 8, C) values that need this number of bits; the fourth channel is opaque."""
    pixels = np.random.default_rng(0).integers(0, 2**bits, (8, 8, channels), dtype=np.uint16)
    pixels[0, 0, 0] = 2**bits - 1
    pixels[..., 3:] = 65535
    return pixels


def png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits with 1 to 4 channels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, (0, 4, 2, 6)[channels - 1], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(pixels: np.ndarray, order: str = "<", compressed: bool = False) -> bytes:
    """A TIFF of 16 bits with 3 channels."""
    height, width, channels = pixels.shape
    content = pixels.astype(f"{order}u2").tobytes()
    content = zlib.compress(content) if compressed else content
    offset = 8 + 2 + 12 * 10 + 4
    tags = {256: width, 257: height, 259: 8 if compressed else 1, 262: 2, 277: channels, 278: height, 284: 1}
    entries = {tag: struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items()}
    entries[258] = struct.pack(f"{order}HHII", 258, 3, channels, offset)
    entries[273] = struct.pack(f"{order}HHII", 273, 4, 1, offset + 2 * channels)
    entries[279] = struct.pack(f"{order}HHII", 279, 4, 1, len(content))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    directory = b"".join(entries[tag] for tag in sorted(entries)) + struct.pack(f"{order}I", 0)
    return head + directory + struct.pack(f"{order}{channels}H", *[16] * channels) + content


COLOR: dict[str, tuple[str, int, Writer]] = {
    "PNG": ("a.png", 3, png),
    "PNG with alpha": ("a.png", 4, png),
    "little-endian TIFF": ("a.tif", 3, tiff),
    "big-endian TIFF": ("a.tif", 3, lambda pixels: tiff(pixels, ">")),
    "compressed TIFF": ("a.tif", 3, lambda pixels: tiff(pixels, compressed=True)),
    "compressed big-endian TIFF": ("a.tif", 3, lambda pixels: tiff(pixels, ">", compressed=True)),
}


@pytest.mark.parametrize("kind", COLOR)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_color_values_are_divided_by_the_range(tmp_path: Path, kind: str, bits: int) -> None:
    name, channels, write = COLOR[kind]
    pixels = values(bits, channels)
    (tmp_path / name).write_bytes(write(pixels))
    expected = (pixels[..., :3] >> (bits - 8)).transpose(2, 0, 1)
    assert np.array_equal(decode(tmp_path / name, Rendering(size=8, bits=bits)), expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "jp2"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_gray_values_are_divided_by_the_range(tmp_path: Path, suffix: str, bits: int) -> None:
    pixels = values(bits, 1)[..., 0]
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    decoded = decode(tmp_path / f"a.{suffix}", Rendering(size=8, gray=True, bits=bits))
    assert np.array_equal(decoded[0], pixels >> (bits - 8))


def test_gray_and_alpha_of_16_bits_is_refused_where_the_lower_bits_are_needed(tmp_path: Path) -> None:
    pixels = values(12, 2)
    pixels[..., 1] = 65535
    (tmp_path / "a.png").write_bytes(png(pixels))
    assert decode(tmp_path / "a.png", Rendering(size=8)).max() == 15
    with pytest.raises(ValueError, match="of which 12 are used; save it with 8 bits"):
        decode(tmp_path / "a.png", Rendering(size=8, bits=12))


def tree_of(root: Path, bits: int, color: bool) -> Path:
    """A folder of images of 16 bits of which some are used, one pixel of one image uses them all."""
    for split in ("train", "test"):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            pixels = values(bits if (split, label) == ("test", "b") else bits - 1, 3 if color else 1)
            (root / split / label / "0.png").write_bytes(png(pixels))
    return root


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize(("bits", "depth"), [(3, 8), (8, 8), (9, 10), (11, 12), (12, 12), (13, 14), (15, 16), (16, 16)])
def test_all_images_are_divided_by_the_range_of_the_folder(tmp_path: Path, color: bool, bits: int, depth: int) -> None:
    dataset = folder.load(params_for(tree_of(tmp_path / "deep", bits, color)), tmp_path)
    expected = values(bits - 1, 3 if color else 1) >> (depth - 8)
    for image in dataset.train.images:
        assert np.array_equal(image.transpose(1, 2, 0), np.broadcast_to(expected, (8, 8, 3)))


def test_float_images_are_refused_by_name(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "colors")
    Image.new("F", (8, 8), 0.5).save(root / "train" / "red" / "f.tif")
    with pytest.raises(DataError, match=r"train/red/f\.tif: pixels of mode F have no defined range"):
        folder.load(params_for(root), tmp_path)
