"""The conformance check of datasets accepts a valid dataset and rejects each violation of the contract."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import benchmark
from benchmark.testing import ConformanceError, check_dataset, small_images

Change = Callable[[benchmark.Dataset], benchmark.Dataset]
INFO = benchmark.DatasetInfo(
    label="planted", fingerprint="1", image_shape=(3, 8, 8), num_train=12, num_test=8, class_names=("a", "b", "c", "d")
)


def dataset(change: Change = lambda data: data, **info: Any) -> benchmark.DatasetSpec:
    """A valid dataset, changed after loading or in its description."""

    def split(count: int) -> benchmark.Split:
        images, labels = small_images(count, (3, 8, 8), seed=count)
        return benchmark.Split(images=images.numpy(), labels=labels.numpy())

    def load(params: Any, data_dir: Path) -> benchmark.Dataset:
        return change(benchmark.Dataset(train=split(12), test=split(8), class_names=INFO.class_names))

    described = dataclasses.replace(INFO, **info)
    return benchmark.DatasetSpec(name="planted", summary="", describe=lambda params, data_dir: described, load=load)


def changed(part: str, **changes: Callable[[Any], Any]) -> Change:
    """Applies functions to the images or labels of a split."""

    def apply(data: benchmark.Dataset) -> benchmark.Dataset:
        split = getattr(data, part)
        new = dataclasses.replace(split, **{name: change(getattr(split, name)) for name, change in changes.items()})
        return dataclasses.replace(data, **{part: new})

    return apply


def with_unlabeled(shape: tuple[int, ...], dtype: type) -> Change:
    return lambda data: dataclasses.replace(data, unlabeled=np.zeros(shape, dtype=dtype))


def assert_rejected(spec: benchmark.DatasetSpec, message: str) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_dataset(spec)


def test_valid_dataset_passes() -> None:
    check_dataset(dataset())
    check_dataset(dataset(with_unlabeled((5, 3, 8, 8), np.uint8)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (dataset(changed("train", images=lambda x: x.astype(np.float32))), r"train: images are float32, not uint8"),
        (dataset(changed("test", images=lambda x: x.astype(np.float64))), r"test: images are float64, not uint8"),
        (dataset(changed("train", labels=lambda x: x.astype(np.int32))), r"train: labels are int32, not int64"),
        (dataset(changed("test", labels=lambda x: x + 1)), r"test: labels are not in \[0, 4\)"),
        (dataset(changed("test", labels=lambda x: x - 1)), r"test: labels are not in \[0, 4\)"),
        (dataset(changed("train", labels=lambda x: x[:-1])), r"train: labels have the shape \(11,\), not \(12,\)"),
        (dataset(changed("train", images=lambda x: x.transpose(0, 2, 3, 1))), r"\(12, 8, 8, 3\), but describe"),
        (dataset(num_test=9), r"\(8, 3, 8, 8\), but describe returned \(9, 3, 8, 8\)"),
        (dataset(class_names=("a", "b")), r"describe and load return other class names"),
        (dataset(with_unlabeled((5, 3, 9, 9), np.uint8)), r"unlabeled: images have the shape \(5, 3, 9, 9\)"),
        (dataset(with_unlabeled((5, 3, 8, 8), np.float32)), r"unlabeled: images are float32"),
    ],
    ids=[
        *("float", "double", "int32", "above", "below", "length", "channels last", "count", "classes"),
        *("unlabeled shape", "unlabeled type"),
    ],
)
def test_dataset_that_differs_from_its_description_is_rejected(spec: benchmark.DatasetSpec, message: str) -> None:
    assert_rejected(spec, message)


@pytest.mark.parametrize(("part", "field"), list(itertools.product(("train", "test"), ("images", "labels"))))
def test_dataset_that_changes_between_loads_is_rejected(part: str, field: str) -> None:
    count = itertools.count()
    flip = changed(part, **{field: lambda values: values[::-1].copy() if next(count) else values})
    assert_rejected(dataset(flip), r"loading twice returned other images or labels")


def test_fingerprint_that_changes_is_rejected() -> None:
    count = itertools.count()

    def describe(params: Any, data_dir: Path) -> benchmark.DatasetInfo:
        return dataclasses.replace(INFO, fingerprint=str(next(count)))

    assert_rejected(dataclasses.replace(dataset(), describe=describe), r"describe returned something else")
