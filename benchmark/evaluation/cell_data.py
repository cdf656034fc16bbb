"""Load the dataset of a cell: images and labels as tensors, on the device where they fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Cell
from benchmark.api.datasets import DatasetSpec
from benchmark.api.parameters import bind
from benchmark.api.recipes import Recipe
from benchmark.errors import DataError
from benchmark.evaluation.evaluate import LabeledImages
from benchmark.evaluation.trained_encoder import entry_of
from benchmark.images import channel_statistics, stratified_subset


@dataclass(frozen=True, kw_only=True)
class CellData:
    """The dataset of a cell, as tensors."""

    train: LabeledImages
    """The training images after the cell's subset."""
    test: LabeledImages
    """All test images."""
    unlabeled: Tensor | None
    """(N, C, H, W) uint8: further training images without labels. None if the dataset has none."""
    class_names: tuple[str, ...]
    """Index = label."""
    streamed: bool
    """Whether images stay in host memory or in mapped files, because they do not fit on the device."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Name of each damaged image that the dataset left out -> reason."""

    num_images: int = 0
    """Number of images of the dataset before the cell's subset, without those that were left out."""

    def images_to_train_on(self, labels: str) -> Tensor:
        """(N, C, H, W) uint8: the training images, and the unlabeled ones for methods with `labels="none"`."""
        if labels == "none" and self.unlabeled is not None:
            return torch.cat([self.train.images, self.unlabeled])
        return self.train.images

    def normalization(self, recipe: Recipe) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) per channel for images in [0, 1]: those of the recipe, else those of the training images."""
        mean, std = recipe.mean, recipe.std
        if mean is None or std is None:
            # On the CPU for every device: a GPU adds in another order.
            own_mean, own_std = channel_statistics(self.train.images.cpu())
            mean, std = mean or own_mean, std or own_std
        return mean, std


def load_cell_data(
    cell: Cell,
    catalog: Catalog,
    data_dir: Path,
    *,
    device: torch.device,
    fits: Callable[[int], bool] | None = None,
) -> CellData:
    """The dataset of a planned cell: see `load_data`.

    Raises:
        DataError: it has another content than when the cell was planned.
    """
    spec: DatasetSpec = entry_of(catalog, "datasets", "dataset", cell.dataset).spec
    params = bind(spec.params, cell.dataset.params, f"dataset '{spec.name}'")
    data = load_data(spec, params, data_dir, subset=cell.subset, device=device, fits=fits)
    fingerprint = spec.describe(params, data_dir).fingerprint
    if fingerprint != cell.fingerprint:
        raise DataError(
            f"the content of dataset '{cell.dataset.label}' has changed since this cell was planned: fingerprint "
            f"{cell.fingerprint[:12]} then, {fingerprint[:12]} now. Run the same command again"
        )
    return data


def load_data(
    spec: DatasetSpec,
    params: Any,
    data_dir: Path,
    *,
    subset: int | None,
    device: torch.device,
    fits: Callable[[int], bool] | None = None,
) -> CellData:
    """Loads a dataset for training or evaluation on a device.

    Args:
        spec: the dataset.
        params: an instance of its `params` dataclass.
        data_dir: the folder with downloaded datasets.
        subset: number of training images, stratified by class; None: all.
        device: labels are always there, images if they fit.
        fits: whether images of a size in bytes fit on the device; default: always.
    """
    data = spec.load(params, data_dir)
    arrays = [data.train.images, data.test.images, *([] if data.unlabeled is None else [data.unlabeled])]
    resident = fits is None or fits(sum(array.nbytes for array in arrays))
    images_device = device if resident else torch.device("cpu")

    def images_of(array: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(_writable_copy(array) if resident else _mapped(array))

    train_images, train_labels = images_of(data.train.images), _labels(data.train.labels)
    if subset is not None:
        chosen = stratified_subset(train_labels, subset)
        train_images, train_labels = train_images[chosen], train_labels[chosen]
    test_images, test_labels = images_of(data.test.images), _labels(data.test.labels)
    return CellData(
        train=LabeledImages(images=train_images.to(images_device), labels=train_labels.to(device)),
        test=LabeledImages(images=test_images.to(images_device), labels=test_labels.to(device)),
        unlabeled=None if data.unlabeled is None else images_of(data.unlabeled).to(images_device),
        class_names=tuple(data.class_names),
        streamed=not resident,
        skipped=data.skipped,
        num_images=len(data.train.labels) + len(data.test.labels),
    )


def _labels(labels: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(labels)).long()


def _writable_copy(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A contiguous copy in memory. torch needs a writable array; memory-mapped files are read here."""
    return np.array(images, dtype=np.uint8, order="C", copy=True)


def _mapped(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The array without a copy, if torch can use it: it may be mapped from a file that exceeds the memory."""
    if images.flags.writeable or not images.flags.c_contiguous:
        return np.ascontiguousarray(images)
    # torch warns about read-only arrays. Nothing in this project writes to images.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(images).numpy()
