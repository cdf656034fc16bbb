"""Conformance check of datasets."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api.datasets import Dataset, DatasetInfo, DatasetSpec, Split
from benchmark.testing.conformance import require


def check_dataset(spec: DatasetSpec, params: Any = None, data_dir: Path | None = None) -> None:
    """Checks that a dataset is what it describes, and the same each time it is loaded.

    Args:
        spec: the dataset.
        params: instance of `spec.params`; default: its defaults.
        data_dir: folder for downloads and caches; default: a temporary folder.

    Raises:
        ConformanceError: with what is wrong.
    """
    params = spec.params() if params is None else params
    with tempfile.TemporaryDirectory() as folder:
        _check_dataset_in(spec, params, data_dir or Path(folder))


def _check_dataset_in(spec: DatasetSpec, params: Any, data_dir: Path) -> None:
    name = f"dataset '{spec.name}'"
    info = spec.describe(params, data_dir)
    data = spec.load(params, data_dir)
    require(spec.describe(params, data_dir) == info, f"{name}: describe returned something else after loading")
    require(data.class_names == info.class_names, f"{name}: describe and load return other class names")
    _check_split(f"{name}, train", data.train, info.num_train, info)
    _check_split(f"{name}, test", data.test, info.num_test, info)
    if data.unlabeled is not None:
        _check_images(f"{name}, unlabeled", data.unlabeled, len(data.unlabeled), info)
    require(_equal(spec.load(params, data_dir), data), f"{name}: loading twice returned other images or labels")


def _check_split(name: str, split: Split, count: int, info: DatasetInfo) -> None:
    _check_images(name, split.images, count, info)
    labels = split.labels
    require(labels.dtype == np.int64, f"{name}: labels are {labels.dtype}, not int64")
    require(labels.shape == (count,), f"{name}: labels have the shape {labels.shape}, not {(count,)}")
    classes = len(info.class_names)
    in_range = bool((labels >= 0).all() and (labels < classes).all())
    require(in_range, f"{name}: labels are not in [0, {classes}), the number of classes")


def _check_images(name: str, images: Any, count: int, info: DatasetInfo) -> None:
    described = (count, *info.image_shape)
    require(images.dtype == np.uint8, f"{name}: images are {images.dtype}, not uint8")
    require(
        images.shape == described, f"{name}: images have the shape {images.shape}, but describe returned {described}"
    )


def _equal(one: Dataset, other: Dataset) -> bool:
    pairs = ((one.train, other.train), (one.test, other.test))
    return all(np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) for a, b in pairs)
