"""Two lower bounds on mutual information, in nats, from a critic's scores of pairs.

Convention: a table of scores (N, N) float32 has vectors as rows and images as columns; `scores[i, i]` is the score of a
vector with its own image. A bound needs only, for each vector, that score and the logsumexp of the N - 1 others, so large
tables can be computed in blocks of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RowScores:
    """Reduction of a table of scores that is sufficient for the bounds."""

    own: Tensor
    """(N,) scores of each vector with its own image."""
    others: Tensor
    """(N,) logsumexp of each vector's scores with the N - 1 other images."""


def reduce_rows(rows: Tensor, first: int = 0) -> RowScores:
    """Reduces a block of rows of a table.

    Args:
        rows: (B, N), N of 2 or more.
        first: index of the first row in the table: row i of the block has its own image in column first + i.
    """
    own = rows.diagonal(offset=first)
    column = torch.arange(rows.shape[1], device=rows.device)
    is_own = column == first + torch.arange(len(rows), device=rows.device)[:, None]
    return RowScores(own=own, others=rows.masked_fill(is_own, -math.inf).logsumexp(dim=1))


def dv(scores: RowScores) -> Tensor:
    """Donsker and Varadhan: mean u+ - log mean e^u- over all N (N - 1) unrelated pairs (Belghazi et al. 2018, eq. 10).

    Scalar. It has no upper limit, but depends on the largest score among unrelated pairs and is therefore noisy.
    """
    count = len(scores.own)
    return scores.own.mean() - (torch.logsumexp(scores.others, dim=0) - math.log(count * (count - 1)))


def infonce(scores: RowScores) -> Tensor:
    """InfoNCE: log N + mean log softmax of u+ in its row (van den Oord et al. 2018). Scalar, never above `ceiling`."""
    return ceiling(len(scores.own)) - F.softplus(scores.others - scores.own).mean()


def ceiling(count: int) -> float:
    """Log N: the value of infoNCE if every vector is paired correctly among N images, and its upper limit."""
    return math.log(count)


BOUNDS: dict[str, Callable[[RowScores], Tensor]] = {"infonce": infonce, "dv": dv}
"""Metric -> bound."""
