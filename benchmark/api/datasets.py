"""Datasets: the spec that a plugin provides, and the images and labels that it loads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.api.encoders import ImageShape, NoParams

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """The facts about a dataset that a plan needs, determined without decoding images."""

    label: str
    """Name in tables and folder names: `digits`, or the `name` of an image folder. Never a path."""
    fingerprint: str
    """Identifies the content: it changes when an image, a label or their order changes."""
    image_shape: ImageShape
    """(C, H, W) of every image."""
    num_train: int
    """Number of labeled training images, before any subset."""
    num_test: int
    """Number of test images."""
    class_names: tuple[str, ...]
    """Class names; the position is the label."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images with their labels."""

    images: NDArray[np.uint8]
    """(N, C, H, W) uint8; may be memory-mapped."""
    labels: NDArray[np.int64]
    """(N,) int64 in [0, number of classes)."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A loaded dataset."""

    train: Split
    """Training images: methods train on them, evaluators fit on them."""
    test: Split
    """Test images: only scored."""
    class_names: tuple[str, ...]
    """Class names; the position is the label."""
    unlabeled: NDArray[np.uint8] | None = None
    """More training images without labels, (N, C, H, W) uint8. Methods train on train + unlabeled."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Name of each damaged image that was left out -> reason. Recorded, and shown as a remark in tables."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset that a plugin provides.

    The core adds the parameter `subset=N`: N training images with the same share of each class.
    """

    name: str
    """Name on the command line: lower case, unique among installed datasets."""
    summary: str
    """One line for `bench list`."""
    describe: Callable[[Any, Path], DatasetInfo]
    """(params, data_dir) -> description, without torch and without decoding images.

    Raises DataError with what to do if the dataset is not available."""
    load: Callable[[Any, Path], Dataset]
    """(params, data_dir) -> images and labels. May download into `data_dir` and cache there."""
    params: type = NoParams
    """Frozen dataclass with a default for every field."""
    paper: str = ""
    """`Authors: Title, VENUE year` of the dataset."""
    bibtex: str = ""
    """BibTeX entries of `paper`, separated by blank lines. Entries with the same key must be the same."""
    version: int = 1
    """Raise it when the same settings give other images or labels than before."""
