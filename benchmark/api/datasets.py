"""Datasets: what a plugin provides and what the core passes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.encoders import ImageShape, NoParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What a plan must know of a dataset, found out without decoding an image."""

    label: str
    """How it is shown and filed: `digits`, or a folder's `name`. Never a path."""
    fingerprint: str
    """Changes whenever an image, a label or their order changes."""
    image_shape: ImageShape
    """(C, H, W) of every image."""
    num_train: int
    """Number of training images before any subset."""
    num_test: int
    """Number of test images."""
    class_names: tuple[str, ...]
    """Index = label."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with their labels."""

    images: NDArray[np.uint8]
    """(N, C, H, W) uint8; may be memory-mapped."""
    labels: NDArray[np.int64]
    """(N,) int64 in [0, number of classes)."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset in memory."""

    train: Split
    test: Split
    class_names: tuple[str, ...]
    """Index = label."""
    unlabeled: NDArray[np.uint8] | None = None
    """More training images without labels, (N, C, H, W) uint8; methods train on train + unlabeled."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset that a plugin provides. The core adds the parameter `subset=N` to each: N training images, stratified."""

    name: str
    summary: str
    """One line for `bench list`."""
    describe: Callable[[Any, Path], DatasetInfo]
    """(params, data_dir) -> info; no torch, no decoding. Raises DataError with what to do when it cannot be had."""
    load: Callable[[Any, Path], Dataset]
    """(params, data_dir) -> images and labels. May download into `data_dir` and cache there."""
    params: type = NoParams
    paper: str = ""
    """Author, title, year; the source."""
    version: int = 1
