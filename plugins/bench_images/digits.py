"""The 1,797 handwritten digits that scikit-learn carries, with a split that never changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import Dataset, DatasetInfo, NoParams, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEST_PER_CLASS = 36
"""Test images of each digit, a fifth of its 174 to 183: 360 in all."""
SPLIT_SEED = 0
FINGERPRINT = "a986b2050521fbe3f8c68e0199012a98e19a245b081087358f9dae12e6b8cea4"
"""SHA-256 of train images, train labels, test images, test labels, in this order, as bytes (labels little-endian)."""


def describe(params: NoParams, data_dir: Path) -> DatasetInfo:
    """Constants only; the data folder plays no part."""
    return DatasetInfo(
        label="digits",
        fingerprint=FINGERPRINT,
        image_shape=(1, 8, 8),
        num_train=1797 - 10 * TEST_PER_CLASS,
        num_test=10 * TEST_PER_CLASS,
        class_names=tuple(str(digit) for digit in range(10)),
    )


def load(params: NoParams, data_dir: Path) -> Dataset:
    """1,437 train and 360 test images, uint8 (N, 1, 8, 8): ink 0..16 becomes 0..255, rounded.

    Each split keeps scikit-learn's order. The source has no writer's name, so one hand may be in both splits, as in
    every random split of this set.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    source = load_digits()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = source.target.astype(np.int64)
    test = test_places(labels)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return Dataset(
        train=Split(images=images[train], labels=labels[train]),
        test=Split(images=images[test], labels=labels[test]),
        class_names=tuple(str(digit) for digit in range(10)),
    )


def test_places(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the test images are: 36 of each digit, drawn class by class.

    RandomState, and no library's splitter, because numpy promises that its stream stays the same for ever.

    Args:
        labels: (N,) of all images.

    Returns:
        (360,) ascending positions.
    """
    import numpy as np

    stream = np.random.RandomState(SPLIT_SEED)
    drawn = [stream.permutation(np.flatnonzero(labels == digit))[:TEST_PER_CLASS] for digit in range(10)]
    return np.sort(np.concatenate(drawn))
