"""A cell's dataset as tensors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmark.evaluation import evaluate


@dataclass(frozen=True, kw_only=True)
class CellData:
    """A cell's dataset: on the device, or, where that has not the memory, images in the host's or mapped from files."""

    train: evaluate.LabeledImages
    test: evaluate.LabeledImages
    unlabeled: torch.Tensor | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    streamed: bool


def owned_array(images: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A contiguous array that may be written to, as torch wants it; memory-mapped files are read here."""
    return np.array(images, dtype=np.uint8, order="C", copy=True)


def mapped_tensor_source(images: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The array as it is, mapped from its file perhaps: too large to be held."""
    if images.flags.writeable or not images.flags.c_contiguous:
        return np.ascontiguousarray(images)
    # torch warns of arrays that must not be written to; nothing here writes to images.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(images).numpy()
