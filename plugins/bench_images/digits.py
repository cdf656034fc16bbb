"""The 1,797 handwritten digits of scikit-learn, with a fixed split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import Dataset, DatasetInfo, NoParams, Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEST_PER_CLASS = 36
"""Test images per digit, a fifth of its 174 to 183 images; 360 in total."""
SPLIT_SEED = 0
FINGERPRINT = "a986b2050521fbe3f8c68e0199012a98e19a245b081087358f9dae12e6b8cea4"
"""SHA-256 of the bytes of train images, train labels, test images and test labels, in this order (labels little-endian)."""


def describe(params: NoParams, data_dir: Path) -> DatasetInfo:
    """The description of the dataset, from constants."""
    return DatasetInfo(
        label="digits",
        fingerprint=FINGERPRINT,
        image_shape=(1, 8, 8),
        num_train=1797 - 10 * TEST_PER_CLASS,
        num_test=10 * TEST_PER_CLASS,
        class_names=tuple(str(digit) for digit in range(10)),
    )


def load(params: NoParams, data_dir: Path) -> Dataset:
    """1,437 train and 360 test images, uint8 (N, 1, 8, 8): intensities 0..16 are scaled to 0..255 and rounded.

    Each split keeps scikit-learn's order. The source does not identify writers, so a writer may be in both splits, as in
    every random split of this dataset.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    source = load_digits()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = source.target.astype(np.int64)
    test = test_positions(labels)
    train = np.setdiff1d(np.arange(len(labels)), test)
    return Dataset(
        train=Split(images=images[train], labels=labels[train]),
        test=Split(images=images[test], labels=labels[test]),
        class_names=tuple(str(digit) for digit in range(10)),
    )


def test_positions(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the test images: 36 of each digit, chosen at random class by class.

    Uses RandomState instead of a library's splitter, because numpy guarantees that its stream never changes.

    Args:
        labels: (N,) labels of all images.

    Returns:
        (360,) positions in ascending order.
    """
    import numpy as np

    rng = np.random.RandomState(SPLIT_SEED)
    chosen = [rng.permutation(np.flatnonzero(labels == digit))[:TEST_PER_CLASS] for digit in range(10)]
    return np.sort(np.concatenate(chosen))
