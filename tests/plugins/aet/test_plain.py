"""AET's transformations with Pillow: `bench_aet.plain`."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bench_aet import AETParams, plain
from bench_aet.transforms import Affine, Projective
from benchmark import warp


def smooth(side: int, channels: int) -> Image.Image:
    """A smooth image, in which small differences of coordinates do not change gray values."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    planes = [127 + 100 * np.sin(3 * rows + number) * np.cos(2 * columns - number) for number in range(channels)]
    picture = np.stack(planes, axis=-1).astype(np.uint8)
    return Image.fromarray(picture[:, :, 0] if channels == 1 else picture)


def as_tensor(image: Image.Image) -> torch.Tensor:
    array = np.array(image, dtype=np.float64)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1)).unsqueeze(0)


@pytest.mark.parametrize("fill", ["gray", "black"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transform", ["projective", "affine", "similarity"])
def test_plain_copy_matches_the_batched_warp(transform: Any, channels: int, fill: Any) -> None:
    rng, image = random.Random(1), smooth(32, channels)
    params = AETParams(transform=transform, fill=fill)
    gray = 128.0 if fill == "gray" else 0.0
    filled = 0
    for _ in range(25):
        (first, copy), numbers = plain.plain_views(params, image, rng)
        assert first is image
        assert copy.size == image.size
        matrix = torch.tensor([numbers], dtype=torch.float64)
        do = warp.projective if transform == "projective" else warp.affine
        expected = do(as_tensor(image), matrix, gray)
        apart = (as_tensor(copy) - expected).abs()
        # Pillow truncates to whole gray values, and treats a few pixels on the border differently.
        assert int((apart > 1.01).sum()) <= 3 * channels
        filled += int((expected == gray).sum())
    assert filled > 100


def drawn_by_the_method(family: Any, side: int, count: int) -> NDArray[np.float64]:
    generator = torch.Generator().manual_seed(11)
    parameters = family(side).draw(count, generator)
    if family is Affine:
        angle, _, _, scale, shear = parameters.unbind(1)
        center = (side + 1) / 2
        parameters = warp.affine_inverse(angle, parameters[:, 1:3], scale, shear, (center, center))
    return np.asarray(parameters.double().numpy())


def drawn_plainly(family: Any, side: int, count: int) -> NDArray[np.float64]:
    rng = random.Random(12)
    if family is Affine:
        return np.array([plain.affine(side, rng, with_shear=True) for _ in range(count)])
    return np.array([plain.projective(side, rng) for _ in range(count)])


@pytest.mark.parametrize("side", [32, 17])
@pytest.mark.parametrize("family", [Affine, Projective], ids=["affine", "projective"])
def test_plain_transformations_have_the_distribution_of_the_method(family: Any, side: int) -> None:
    count = 20_000
    ours, theirs = drawn_by_the_method(family, side, count), drawn_plainly(family, side, count)
    assert ours.shape == theirs.shape == (count, 6 if family is Affine else 8)
    for one, other in zip(ours.T, theirs.T, strict=True):
        spread = math.hypot(one.std(), other.std()) / math.sqrt(count)
        assert abs(one.mean() - other.mean()) < 5 * spread
        # The fraction of each below the quantiles of the other is the nominal one.
        for part in (0.05, 0.25, 0.5, 0.75, 0.95):
            at = np.quantile(other, part)
            error = 5 * math.sqrt(2 * part * (1 - part) / count)
            assert abs((one <= at + 1e-9).mean() - (other <= at + 1e-9).mean()) < error
        assert one.std() == pytest.approx(other.std(), rel=0.1)


def test_plain_similarity_keeps_right_angles() -> None:
    rng = random.Random(3)
    for _ in range(50):
        a, b, _, d, e, _ = plain.affine(32, rng, with_shear=False)
        assert a * b + d * e == pytest.approx(0, abs=1e-12)
        assert a == pytest.approx(e)
        assert 1 / 1.3 - 1e-9 <= math.hypot(a, d) <= 1 / 0.7 + 1e-9
