"""The bundled digits: `bench_images.digits`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from image_samples import NOTHING, assert_as_described

from bench_images import digits
from benchmark import Dataset


@pytest.fixture(scope="module")
def bundled() -> Dataset:
    return digits.load(NOTHING, Path("/nowhere"))


def test_digits_match_their_description(bundled: Dataset) -> None:
    info = digits.describe(NOTHING, Path("/nowhere"))
    assert (info.num_train, info.num_test, info.image_shape) == (1437, 360, (1, 8, 8))
    assert_as_described(bundled, info)


def test_digits_and_their_split_match_the_fingerprint(bundled: Dataset) -> None:
    checksum = hashlib.sha256()
    for split in (bundled.train, bundled.test):
        checksum.update(split.images.tobytes())
        checksum.update(split.labels.astype("<i8").tobytes())
    assert checksum.hexdigest() == digits.FINGERPRINT


def test_split_has_36_test_images_per_class(bundled: Dataset) -> None:
    assert np.bincount(bundled.test.labels).tolist() == [36] * 10


def test_digits_are_those_of_scikit_learn(bundled: Dataset) -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    ours = np.concatenate([bundled.train.images, bundled.test.images]).reshape(1797, 64)
    labels = np.concatenate([bundled.train.labels, bundled.test.labels])
    both = sorted(zip(map(bytes, ours), labels.tolist(), strict=True))
    theirs = [[int(ink * 255 / 16 + 0.5) for ink in image] for image in source.data]
    assert both == sorted(zip(map(bytes, theirs), source.target.tolist(), strict=True))
