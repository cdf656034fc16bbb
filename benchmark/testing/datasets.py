"""Conformance check of dataset plugins."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.api.datasets import DatasetSpec
from benchmark.testing.conformance import require


def check_dataset(spec: DatasetSpec, params: Any = None, data_dir: Path | None = None) -> None:
    """A dataset is what it says before it is loaded, and the same each time.

    Args:
        spec: the dataset.
        params: an instance of `spec.params`; default: its defaults.
        data_dir: where it may cache; default: a temporary folder.

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
    require(spec.describe(params, data_dir) == info, f"{name}: describe gave something else after loading")
    require(data.class_names == info.class_names, f"{name}: describe and load name other classes")
    for split_name, split, count in (("train", data.train, info.num_train), ("test", data.test, info.num_test)):
        where = f"{name}, {split_name}"
        require(split.images.dtype == np.uint8, f"{where}: images are {split.images.dtype}, not uint8")
        require(
            split.images.shape == (count, *info.image_shape),
            f"{where}: images have the shape {split.images.shape}, describe says {(count, *info.image_shape)}",
        )
        require(split.labels.dtype == np.int64, f"{where}: labels are {split.labels.dtype}, not int64")
        require(split.labels.shape == (count,), f"{where}: labels have the shape {split.labels.shape}")
        inside = bool((split.labels >= 0).all() and (split.labels < len(info.class_names)).all())
        require(inside, f"{where}: labels go beyond the {len(info.class_names)} classes")
    extra = data.unlabeled
    if extra is not None:
        require(extra.dtype == np.uint8, f"{name}, unlabeled: images are {extra.dtype}, not uint8")
        require(
            extra.shape[1:] == info.image_shape,
            f"{name}, unlabeled: images have the shape {extra.shape}, describe says (N, *{info.image_shape})",
        )
    again = spec.load(params, data_dir)
    pairs = ((again.train, data.train), (again.test, data.test))
    same = all(np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) for a, b in pairs)
    require(same, f"{name}: loading twice gave other images or labels")
