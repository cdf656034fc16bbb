"""Rotations with Pillow: `bench_rotation.plain`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench_rotation import RotationParams
from bench_rotation import plain as plain_rotation


@pytest.mark.parametrize(("turns", "quarters"), [(4, (0, 1, 2, 3)), (2, (0, 2))])
@pytest.mark.parametrize("channels", [1, 3])
def test_plain_rotations_are_counter_clockwise_quarter_turns(
    turns: Any, quarters: Sequence[int], channels: int
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (9, 9, channels), dtype=np.uint8)
    image = Image.fromarray(picture[:, :, 0] if channels == 1 else picture)
    views, numbers = plain_rotation.plain_views(RotationParams(turns=turns), image, random.Random(0))
    assert numbers == list(range(turns))
    for view, quarter in zip(views, quarters, strict=True):
        np.testing.assert_array_equal(np.array(view), np.rot90(np.array(image), quarter))
