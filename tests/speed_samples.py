"""Small images, rows of a CSV text, and the CPU as a device."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import numpy as np
import torch
from click.testing import Result
from numpy.typing import NDArray

Bench = Callable[..., Result]


CPU = torch.device("cpu")


def pixels(count: int = 6, channels: int = 3, side: int = 8) -> NDArray[np.uint8]:
    draw = np.random.default_rng(0)
    return draw.integers(1, 256, (count, channels, side, side), dtype=np.uint8)


def as_bytes(image: torch.Tensor) -> NDArray[np.uint8]:
    return np.rint(image.numpy() * 255).astype(np.uint8)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))
