"""Lower bounds on mutual information, as losses of a table of scores.

Convention: `scores` is float32 (N, N, L); `scores[i, j, l]` is the critic's score u of image i's vector with location l of
image j's map. `scores[i, i]` holds the L positives of image i; all others are negatives (N - 1 other images times L
locations). L = 1 for whole images. Every loss is a scalar to minimize; its bound is `trivial - loss`, where `trivial` is the
loss of a critic that gives all pairs the same score.

Sources: Hjelm et al. 2019, eqs. 2-5. The authors' later code masks a vector's own image in infoNCE with scores of -10
instead of removing it, which dominates as soon as real scores fall below -10; here the diagonal is removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NWJ_TANGENT = 11.0
"""Score above which NWJ's exponential is replaced by its tangent; e^(11-1) is a density ratio of 22,026."""


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A lower bound on mutual information."""

    loss: Callable[[Tensor], Tensor]
    """Scores (N, N, L), N of 2 or more -> scalar."""
    trivial: Callable[[int], float]
    """Number of negatives per positive, (N - 1) L -> the loss of a constant score (NWJ: of the best constant)."""


def positives(scores: Tensor) -> Tensor:
    """(N, L): scores of each vector with the locations of its own image."""
    return scores.diagonal(dim1=0, dim2=1).transpose(0, 1)


def negatives(scores: Tensor) -> Tensor:
    """(N, (N - 1) L): scores of each vector with all locations of all other images.

    The diagonal is removed, not masked: its values, even infinities, affect neither the result nor the gradient.
    """
    count = len(scores)
    rows = scores.flatten(0, 1)[1:]  # without entry (0, 0) each diagonal entry ends a block of N + 1
    return rows.reshape(count - 1, count + 1, -1)[:, :-1].reshape(count, -1)


def jsd(scores: Tensor) -> Tensor:
    """Jensen-Shannon (eq. 4): mean softplus(-u+) + mean softplus(u-); two binary cross-entropies, 2 log 2 at u = 0."""
    return F.softplus(-positives(scores)).mean() + F.softplus(negatives(scores)).mean()


def dv(scores: Tensor) -> Tensor:
    """Donsker-Varadhan (eq. 2): log mean exp(u-) - mean u+. Biased in small batches; invariant to a constant added to u."""
    others = negatives(scores)
    return torch.logsumexp(others.flatten(), dim=0) - math.log(others.numel()) - positives(scores).mean()


def nce(scores: Tensor) -> Tensor:
    """InfoNCE (eq. 5): -mean log softmax of u+ among itself and the (N - 1) L negatives of its vector.

    Computed as softplus(logsumexp(u-) - u+), which neither overflows nor loses precision.
    """
    others = torch.logsumexp(negatives(scores), dim=1, keepdim=True)
    return F.softplus(others - positives(scores)).mean()


def nwj(scores: Tensor) -> Tensor:
    """Nguyen-Wainwright-Jordan: mean e^(u- - 1) - mean u+, minimal at u = 1 + log density ratio.

    Above `NWJ_TANGENT` the exponential is replaced by its tangent, so that a score that is far too high has a finite
    gradient; below it the loss is exact. A critic that scores negatives above it is far from a useful bound.
    """
    others = negatives(scores)
    clamped = others.clamp_max(NWJ_TANGENT)
    return (torch.exp(clamped - 1) * (1 + others - clamped)).mean() - positives(scores).mean()


ESTIMATORS: dict[str, Estimator] = {
    "jsd": Estimator(loss=jsd, trivial=lambda _: 2 * math.log(2)),
    "dv": Estimator(loss=dv, trivial=lambda _: 0.0),
    "nce": Estimator(loss=nce, trivial=lambda negatives: math.log1p(negatives)),
    "nwj": Estimator(loss=nwj, trivial=lambda _: 0.0),
}
"""Value of the parameter `estimator` -> the bound."""
