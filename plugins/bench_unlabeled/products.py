"""Float64 sums over float32 features, a block at a time, so that wide features are never copied whole.

Convention: features (N, D) float32 are left as they are; what comes out is float64 on their device.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import benchmark

BLOCK_BYTES = 64 * 2**20
"""Largest float64 copy of features, or block of products, that is in memory at once."""
ROUNDING = 1e-6
"""What is smaller than this part of the whole is taken for float32's rounding."""


def spans(count: int, width: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive blocks of rows of `width` float64 numbers that cover `count` rows."""
    size = max(1, BLOCK_BYTES // (8 * max(1, width)))
    for start in range(0, count, size):
        yield start, min(start + size, count)


def mean_of(features: Tensor) -> Tensor:
    """(D,) the mean of the rows, exact where a feature is the same in all of them."""
    start = features[0].double()
    total = torch.zeros_like(start)
    for first, last in spans(*features.shape):
        total += (features[first:last].double() - start).sum(dim=0)
    return start + total / len(features)


def scatter(features: Tensor, mean: Tensor | None = None) -> Tensor:
    """Products of features with each other, or of rows with each other, whichever are fewer.

    Args:
        features: (N, D).
        mean: (D,), taken off each row first; None: nothing is.

    Returns:
        (D, D) X^T X if D <= N, else (N, N) X X^T: the same eigenvalues but for zeros.
    """
    count, width = features.shape
    shift = features.new_zeros(width, dtype=torch.float64) if mean is None else mean
    smaller = min(count, width)
    found = torch.zeros((smaller, smaller), dtype=torch.float64, device=features.device)
    if width <= count:
        for first, last in spans(count, width):
            rows = features[first:last].double() - shift
            found.addmm_(rows.T, rows)
    else:
        for first, last in spans(width, count):
            part = features[:, first:last].double() - shift[first:last]
            found.addmm_(part, part.T)
    return found


def inner(rows: Tensor, others: Tensor) -> Tensor:
    """(B, N) inner products of rows (B, D) with others (N, D)."""
    found = torch.zeros((len(rows), len(others)), dtype=torch.float64, device=rows.device)
    for first, last in spans(rows.shape[1], len(rows) + len(others)):
        found.addmm_(rows[:, first:last].double(), others[:, first:last].double().T)
    return found


def lengths(features: Tensor) -> Tensor:
    """(N,) the Euclidean length of each row."""
    parts = [features[first:last].double().norm(dim=1) for first, last in spans(*features.shape)]
    return torch.cat(parts)


def inverse(lengths_of_rows: Tensor) -> Tensor:
    """1 / length, and 0 for a row of length zero, which has no direction."""
    return torch.where(lengths_of_rows > 0, 1 / lengths_of_rows.clamp_min(torch.finfo(torch.float64).tiny), 0.0)


def squared_distances(rows: Tensor, others: Tensor, squares: tuple[Tensor, Tensor]) -> Tensor:
    """(B, N) squared Euclidean distances, for the squared lengths (B,) and (N,) of both."""
    return (squares[0][:, None] + squares[1] - 2 * inner(rows, others)).clamp_min(0)


def require_variation(evaluator: str, features: Tensor) -> None:
    """Refuses features that are the same for all images but for float32's rounding.

    Raises:
        UnsupportedError: they do not vary.
    """
    mean, varying = mean_of(features), 0.0
    for first, last in spans(*features.shape):
        varying += float((features[first:last].double() - mean).square().sum())
    if varying <= ROUNDING**2 * float(lengths(features).square().sum()):
        raise benchmark.UnsupportedError(
            f"{evaluator} needs features that vary, and these are the same for all {len(features)} images: the encoder "
            "has collapsed at this tap; choose another tap"
        )
