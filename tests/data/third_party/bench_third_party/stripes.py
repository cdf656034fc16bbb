"""The dataset: generated, so that nothing is downloaded."""

from __future__ import annotations

import numpy as np

import benchmark
from bench_third_party import CLASSES


def stripes(count: int, size: int, seed: int) -> benchmark.Split:
    """Noise with a bright stripe; the class is the quarter of the height in which it lies."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % len(CLASSES)
    images = draw.integers(0, 128, (count, 3, size, size), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        start = int(label) * size // len(CLASSES)
        image[:, start : start + size // len(CLASSES)] += 100
    return benchmark.Split(images=images, labels=labels)
