"""Float64 sums of products of float32 features, computed in blocks, without a full copy of the features.

Convention: features are (N, D) float32 and are not changed; results are float64 on their device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import benchmark

BLOCK_BYTES = 64 * 2**20
"""Largest size in bytes of a float64 copy of features, or of a block of products."""
ROUNDING = 1e-6
"""Relative size below which a value is treated as a rounding error of float32."""


def spans(count: int, width: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive blocks that cover `count` rows of `width` float64 numbers."""
    size = max(1, BLOCK_BYTES // (8 * max(1, width)))
    for start in range(0, count, size):
        yield start, min(start + size, count)


def mean_of(features: Tensor) -> Tensor:
    """(D,) mean of the rows; exact for constant features."""
    start = features[0].double()
    total = torch.zeros_like(start)
    for first, last in spans(*features.shape):
        total += (features[first:last].double() - start).sum(dim=0)
    return start + total / len(features)


def scatter(features: Tensor, mean: Tensor | None = None) -> Tensor:
    """The smaller of X^T X and X X^T for features X.

    Args:
        features: (N, D).
        mean: (D,), subtracted from each row first; None: no subtraction.

    Returns:
        (D, D) X^T X if D <= N, else (N, N) X X^T. Both have the same eigenvalues except for zeros.
    """
    count, width = features.shape
    shift = features.new_zeros(width, dtype=torch.float64) if mean is None else mean
    smaller = min(count, width)
    products = torch.zeros((smaller, smaller), dtype=torch.float64, device=features.device)
    if width <= count:
        for first, last in spans(count, width):
            rows = features[first:last].double() - shift
            products.addmm_(rows.T, rows)
    else:
        for first, last in spans(width, count):
            part = features[:, first:last].double() - shift[first:last]
            products.addmm_(part, part.T)
    return products


def inner(rows: Tensor, others: Tensor) -> Tensor:
    """(B, N) inner products of rows (B, D) with others (N, D)."""
    products = torch.zeros((len(rows), len(others)), dtype=torch.float64, device=rows.device)
    for first, last in spans(rows.shape[1], len(rows) + len(others)):
        products.addmm_(rows[:, first:last].double(), others[:, first:last].double().T)
    return products


def lengths(features: Tensor) -> Tensor:
    """(N,) Euclidean length of each row."""
    parts = [features[first:last].double().norm(dim=1) for first, last in spans(*features.shape)]
    return torch.cat(parts)


def inverse(row_lengths: Tensor) -> Tensor:
    """1 / length; 0 for rows of length zero."""
    return torch.where(row_lengths > 0, 1 / row_lengths.clamp_min(torch.finfo(torch.float64).tiny), 0.0)


def squared_distances(rows: Tensor, others: Tensor, squares: tuple[Tensor, Tensor]) -> Tensor:
    """(B, N) squared Euclidean distances of rows and others, whose squared lengths (B,) and (N,) are `squares`."""
    return (squares[0][:, None] + squares[1] - 2 * inner(rows, others)).clamp_min(0)


def require_variation(evaluator: str, features: Tensor) -> None:
    """Checks that features vary between images by more than float32 rounding errors.

    Raises:
        UnsupportedError: they do not vary.
    """
    mean, variation = mean_of(features), 0.0
    for first, last in spans(*features.shape):
        variation += float((features[first:last].double() - mean).square().sum())
    if variation <= ROUNDING**2 * float(lengths(features).square().sum()):
        raise benchmark.UnsupportedError(
            f"{evaluator} needs features that vary, but all {len(features)} images have the same features: the encoder "
            "has collapsed at this tap; use another tap"
        )
