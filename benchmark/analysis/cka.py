"""Similarity of the features of two encoders on the same test images: linear CKA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import UsageError
from benchmark.records.record import MODEL, Record
from benchmark.reports.table import Table


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Linear CKA of the features of two cells."""

    pair: str
    """`A with B`, or `A, two seeds`."""
    taps: str
    """Tap whose features are compared; both if they differ."""
    images: int
    """Number of test images."""
    cka: float
    """In [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class _CellFeatures:
    """Features of one cell on its test images."""

    tap: str
    features: NDArray[np.float32]
    """(N, D)."""
    images: Any
    """(N, C, H, W) uint8 tensor."""


def linear_cka(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Linear centered kernel alignment (Kornblith et al. 2019, equation 3 with a linear kernel).

    Formula, with centered columns: |x^T y|^2 / (|x^T x| |y^T y|) in Frobenius norms. It is 1 if one is a rotation and uniform
    scaling of the other, and near 0 for unrelated features. With fewer images than dimensions even independent features give
    high values: use N well above D.

    Args:
        x: (N, D) features of N images.
        y: (N, E) features of the same images in the same order.

    Returns:
        In [0, 1].

    Raises:
        ValueError: the numbers of images differ, or the features do not vary.
    """
    if len(x) != len(y):
        raise ValueError(f"features of {len(x)} and of {len(y)} images cannot be aligned; give the same images")
    x, y = (np.asarray(side, np.float64) - np.mean(side, axis=0, dtype=np.float64) for side in (x, y))
    norms = [_covariance_norm(side) for side in (x, y)]
    if not all(norms):
        raise ValueError("features that are the same for every image have no similarity; choose another tap")
    return float(np.square(np.linalg.norm(x.T @ y)) / (norms[0] * norms[1]))


def _covariance_norm(centered: NDArray[np.float64]) -> float:
    """Frobenius norm of x^T x, computed from the smaller of x^T x and x x^T."""
    wide = centered.shape[1] > len(centered)
    return float(np.linalg.norm(centered @ centered.T if wide else centered.T @ centered))


def similarities(a: Sequence[Record], b: Sequence[Record], *, data_dir: Path, dataset: str | None) -> list[Similarity]:
    """CKA at the output of the encoders on the test images: A with B, and for scale two seeds of A and of B.

    Args:
        a: records of one side; the first is compared, and the second for scale.
        b: likewise.
        data_dir: where datasets are stored.
        dataset: see `read_frozen_cell`.

    Raises:
        UsageError: a record has no weights, or the test images differ.
    """
    for record in (*a[:2], *b[:2]):
        if not (Path(record.folder) / MODEL).is_file():
            raise UsageError(
                f"--cka needs the weights of the encoders, but record {record.short_id} has none; give folders of trained "
                "cells, not a leaderboard"
            )
    from benchmark.analysis.frozen_cell import read_frozen_cell  # imported here because it imports torch

    features: dict[str, _CellFeatures] = {}
    for record in (*a[:2], *b[:2]):
        if record.id not in features:
            cell = read_frozen_cell(record, tap=None, data_dir=data_dir, dataset=dataset)
            features[record.id] = _CellFeatures(
                tap=cell.tap, features=cell.finite_features("test", "average"), images=cell.images["test"]
            )
    pairs = [("A with B", a[0], b[0])]
    pairs += [(f"{name}, two seeds", side[0], side[1]) for name, side in (("A", a), ("B", b)) if len(side) > 1]
    return [_similarity(pair, features[first.id], features[second.id]) for pair, first, second in pairs]


def _similarity(pair: str, a: _CellFeatures, b: _CellFeatures) -> Similarity:
    if a.images.shape != b.images.shape or not bool((a.images == b.images).all()):
        raise UsageError("--cka compares features of the same images, but the two sides have different test images")
    taps = a.tap if a.tap == b.tap else f"{a.tap} - {b.tap}"
    return Similarity(pair=pair, taps=taps, images=len(a.features), cka=linear_cka(a.features, b.features))


def similarity_table(rows: Sequence[Similarity]) -> Table:
    """The similarities for people."""
    return Table(
        title="linear CKA of average-pooled test features",
        columns=("pair", "taps", "images", "CKA"),
        rows=tuple((row.pair, row.taps, str(row.images), f"{row.cka:.3f}") for row in rows),
        notes=("1: equal up to rotation and scale. Two seeds of a side are shown for scale.",),
        kept=4,
    )
