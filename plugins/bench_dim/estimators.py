"""Lower bounds on mutual information, as losses of a table of scores.

Convention: `scores` is float32 (N, N, L); `scores[i, j, l]` is the critic's score u of image i's vector with place l of
image j's map. So `scores[i, i]` holds the L positives of image i, everything else negatives (N - 1 other images times
L places); L = 1 where whole images are compared. Every loss is a scalar to minimize; its bound is `trivial - loss`, where
`trivial` is the loss of a critic that gives all pairs one score.

Sources: Hjelm et al. 2019, eqs. 2-5. The authors' later code hides a vector's own image from infoNCE by scores of -10
instead of leaving it out, which wins as soon as real scores fall below -10; here the diagonal is cut out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NWJ_TANGENT = 11.0
"""Score above which NWJ's exponential goes on as its tangent; e^(11-1) is a ratio of densities of 22,026."""


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A bound: its loss and what that is worth."""

    loss: Callable[[Tensor], Tensor]
    """Scores (N, N, L), N of 2 or more -> scalar."""
    trivial: Callable[[int], float]
    """Number of negatives of each positive, (N - 1) L -> the loss of one constant score (NWJ: the best constant)."""


def positives(scores: Tensor) -> Tensor:
    """Scores of what belongs together: (N, L)."""
    return scores.diagonal(dim1=0, dim2=1).transpose(0, 1)


def negatives(scores: Tensor) -> Tensor:
    """Scores of each vector with all places of all other images: (N, (N - 1) L).

    The diagonal is cut out, not filled: whatever it holds, even infinities, has no part in value or gradient.
    """
    count = len(scores)
    rows = scores.flatten(0, 1)[1:]  # without entry (0, 0) each diagonal entry ends a block of N + 1
    return rows.reshape(count - 1, count + 1, -1)[:, :-1].reshape(count, -1)


def jsd(scores: Tensor) -> Tensor:
    """Jensen-Shannon (eq. 4): mean softplus(-u+) + mean softplus(u-); two binary cross-entropies, 2 log 2 at u = 0."""
    return F.softplus(-positives(scores)).mean() + F.softplus(negatives(scores)).mean()


def dv(scores: Tensor) -> Tensor:
    """Donsker-Varadhan (eq. 2): log mean exp(u-) - mean u+. Biased in small batches; unmoved by a constant added to u."""
    others = negatives(scores)
    return torch.logsumexp(others.flatten(), dim=0) - math.log(others.numel()) - positives(scores).mean()


def nce(scores: Tensor) -> Tensor:
    """InfoNCE (eq. 5): -mean log softmax of u+ among itself and the (N - 1) L negatives of its vector.

    Written as softplus(logsumexp(u-) - u+), which neither overflows nor loses digits.
    """
    others = torch.logsumexp(negatives(scores), dim=1, keepdim=True)
    return F.softplus(others - positives(scores)).mean()


def nwj(scores: Tensor) -> Tensor:
    """Nguyen-Wainwright-Jordan: mean e^(u- - 1) - mean u+, least where u = 1 + log ratio of densities.

    Above `NWJ_TANGENT` the exponential goes on as its tangent, so that a far too high score gives a finite gradient;
    below it nothing is changed. A critic that scores unrelated pairs above it is far from a useful bound anyway.
    """
    others = negatives(scores)
    bend = others.clamp_max(NWJ_TANGENT)
    return (torch.exp(bend - 1) * (1 + others - bend)).mean() - positives(scores).mean()


ESTIMATORS: dict[str, Estimator] = {
    "jsd": Estimator(loss=jsd, trivial=lambda _: 2 * math.log(2)),
    "dv": Estimator(loss=dv, trivial=lambda _: 0.0),
    "nce": Estimator(loss=nce, trivial=lambda negatives: math.log1p(negatives)),
    "nwj": Estimator(loss=nwj, trivial=lambda _: 0.0),
}
