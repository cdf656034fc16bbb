"""Two lower bounds on mutual information, in nats, from a critic's scores of pairs.

Convention: a table of scores (N, N) float32 has vectors as rows and images as columns; `scores[i, i]` is what belongs
together. A bound needs of it, for each vector, its own score and the logsumexp of its N - 1 others, so that large tables can
be made row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the bounds need of a table of scores."""

    own: Tensor
    """(N,) scores of what belongs together."""
    others: Tensor
    """(N,) logsumexp over the N - 1 others of the same row."""


def summary(rows: Tensor, first: int = 0) -> Scores:
    """The scores of some rows of a table.

    Args:
        rows: (B, N), N of 2 or more.
        first: number of the first of them: row i has its own score in column first + i.
    """
    own = rows.diagonal(offset=first)
    column = torch.arange(rows.shape[1], device=rows.device)
    mine = column == first + torch.arange(len(rows), device=rows.device)[:, None]
    return Scores(own=own, others=rows.masked_fill(mine, -math.inf).logsumexp(dim=1))


def dv(scores: Scores) -> Tensor:
    """Donsker and Varadhan: mean u+ - log mean e^u- over all N (N - 1) unrelated pairs (Belghazi et al. 2018, eq. 10).

    Not limited from above, but held up by the largest score among unrelated pairs, and so noisy. Scalar.
    """
    count = len(scores.own)
    return scores.own.mean() - (torch.logsumexp(scores.others, dim=0) - math.log(count * (count - 1)))


def infonce(scores: Scores) -> Tensor:
    """InfoNCE: log N + mean log softmax of u+ in its row (van den Oord et al. 2018). Scalar, never above `ceiling`."""
    return ceiling(len(scores.own)) - F.softplus(scores.others - scores.own).mean()


def ceiling(count: int) -> float:
    """Log N: what infoNCE says when every vector finds its own among N images, whatever the truth beyond that."""
    return math.log(count)


BOUNDS: dict[str, Callable[[Scores], Tensor]] = {"infonce": infonce, "dv": dv}
