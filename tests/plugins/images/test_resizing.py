"""Resizing and cropping: `bench_images.resizing`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from peak_memory import PEAK_MEMORY
from PIL import Image

from bench_images.resizing import center_square


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("shape", [(1, 2100), (2100, 1), (2, 4000), (4001, 2), (3, 6000), (7, 13_001), (31, 57_000)])
def test_long_images_have_the_pixels_of_the_whole_resized_image(shape: tuple[int, int], mode: str) -> None:
    size = 48
    image = noise(*shape, mode)
    width, height = (size * side // min(shape) for side in shape)
    assert width * height > 2**22
    left, top = round((width - size) / 2), round((height - size) / 2)
    whole = image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
    assert np.array_equal(np.asarray(center_square(image, size)), np.asarray(whole))


@pytest.mark.parametrize("shape", [(1, 20_000), (60_000, 2), (1, 1_000_000), (33, 60_000)])
def test_memory_does_not_grow_with_the_aspect_ratio(tmp_path: Path, shape: tuple[int, int]) -> None:
    noise(*shape).save(tmp_path / "a.png")
    code = f"""{PEAK_MEMORY}
from pathlib import Path
from bench_images.decoding import Rendering, decode
path = Path({str(tmp_path / "a.png")!r})
from PIL import Image
Image.new("RGB", (300, 300)).resize((224, 224)); Image.init()
before = peak_memory()
assert decode(path, Rendering(size=224)).shape == (3, 224, 224)
print(peak_memory() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    decoded = 4 * shape[0] * shape[1]
    assert int(done.stdout) < 30_000_000 + 8 * decoded
