"""Multinomial logistic regression with L2, solved to a stated distance from its optimum on whatever device features are.

Objective: mean cross-entropy + strength / 2 * |weights|^2 over standardized features, the bias not penalized. It is strictly
convex in the weights: where a solver stops matters, which solver does not.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bench_probes.neighbors import blocks, rows_per_block

TOLERANCE = 1e-6
"""Nats: how far above its smallest value the objective may be left."""
LARGEST_COPY = 512 * 2**20
"""Bytes of features of which a standardized copy is made; larger ones are standardized in the weights."""
LARGEST_BASIS = 4096
"""Widest features all of whose directions guide the solver."""
SAMPLE, SMALL_SAMPLE = 16_384, 2048
"""Rows of train from which the curvature is taken: of features up to that width, and of wider ones."""
REMEMBERED = 10
"""Steps that L-BFGS remembers."""
FLATTENED = 0.1
"""A line search ends where the slope is less than this part of that at its start."""
TRIALS = 10
"""Largest number of points that a line search looks at."""


@dataclass(frozen=True, kw_only=True)
class Standardized:
    """(features - shift) * scale, which need not be in memory."""

    features: Tensor
    """(N, D) float32: as they were given, or standardized already."""
    shift: Tensor
    """(D,) float32: what is taken from `features` yet."""
    scale: Tensor
    """(D,) float32: by what they are multiplied yet; 0 for a constant feature, whose weights then stay zero."""
    whole_shift: Tensor
    """(D,) float32: what is taken from features as they are given."""
    whole_scale: Tensor
    """(D,) float32: by what those are multiplied."""

    def logits(self, weights: Tensor, bias: Tensor) -> Tensor:
        """(K, N) for weights (K, D) and bias (K,)."""
        scaled = weights * self.scale
        # Much faster than either product that gives the transpose at once.
        return F.linear(self.features, scaled, bias - scaled @ self.shift).T.contiguous()

    def sums(self, factors: Tensor) -> Tensor:
        """(K, D): for each row of `factors` (K, N) the sum of the features, so many times each."""
        return (factors @ self.features - factors.sum(dim=1, keepdim=True) * self.shift) * self.scale

    def of_others(self, features: Tensor) -> Standardized:
        """Other features (M, D), as they are given, by the same mean and deviation."""
        return _applied(features, self.whole_shift, self.whole_scale)


def standardize(features: Tensor, rows: Tensor) -> Standardized:
    """Features by the mean and deviation of some rows.

    Args:
        features: (N, D) float32; left as they are.
        rows: (N,) bool, those that count.
    """
    weights = rows.float() / rows.sum()
    pieces = list(blocks(len(features), rows_per_block(features.shape[1])))
    # Relative to one of the rows, so that a constant feature has a deviation of exactly zero.
    start = features[rows.nonzero()[0, 0]]
    mean, variance = (torch.zeros(features.shape[1], dtype=torch.float64, device=features.device) for _ in range(2))
    for first, last in pieces:
        mean += weights[first:last] @ (features[first:last] - start)
    mean += start
    shift = mean.float()
    for first, last in pieces:
        variance += weights[first:last] @ (features[first:last] - shift).square_()
    deviation = variance.sqrt()
    varies = deviation > torch.finfo(torch.float32).eps * mean.abs()
    scale = torch.where(varies, 1 / deviation, 0.0).float()
    return _applied(features, shift, scale)


def _applied(features: Tensor, shift: Tensor, scale: Tensor) -> Standardized:
    whole = {"whole_shift": shift, "whole_scale": scale}
    if features.numel() * 4 > LARGEST_COPY:
        return Standardized(features=features, shift=shift, scale=scale, **whole)
    copied = torch.sub(features, shift).mul_(scale)
    return Standardized(features=copied, shift=torch.zeros_like(shift), scale=torch.ones_like(scale), **whole)


@dataclass(frozen=True, kw_only=True)
class Curvature:
    """The covariance of standardized features, as far as a sample shows it."""

    basis: Tensor
    """(D, R) float32: orthonormal directions."""
    variances: Tensor
    """(R,) float32: the variance along each."""
    rest: Tensor
    """() float32: the mean variance along all others."""

    def undone(self, gradient: Tensor, confidence: Tensor, strength: float) -> Tensor:
        """The Newton step (K, D) for a gradient (K, D), were confidence * covariance + strength the Hessian."""
        inside = gradient @ self.basis
        rest = 1 / (confidence * self.rest + strength)
        return (inside * (1 / (confidence * self.variances + strength) - rest)) @ self.basis.T + gradient * rest


def curvature(features: Tensor) -> Curvature:
    """From a sample of rows: all directions of up to `LARGEST_BASIS` features, of more only those of largest variance.

    Args:
        features: (N, D) float32, not standardized.
    """
    width = features.shape[1]
    sample = features[:: -(-len(features) // (SAMPLE if width <= LARGEST_BASIS else SMALL_SAMPLE))]
    data = standardize(sample, torch.ones(len(sample), dtype=torch.bool, device=features.device))
    sample = torch.sub(data.features, data.shift).mul_(data.scale)
    if width <= len(sample):
        variances, basis = torch.linalg.eigh(sample.T @ sample / len(sample))
    else:
        # In float64, since directions of little variance come out of float32 neither of unit length nor at right angles.
        variances, vectors = torch.linalg.eigh(_gram(sample) / len(sample))
        seen = variances > 1e-6 * variances[-1]
        basis = sample.T @ (vectors[:, seen] / (len(sample) * variances[seen]).sqrt()).float()
        variances = variances[seen].float()
    variances = variances.clamp_min(0)
    left = width - len(variances)
    # Standardized features have a variance of 1 each. Where no direction is left, any number does that is not tiny.
    rest = (data.scale.count_nonzero() - variances.sum()).clamp_min(0) / left if left else torch.ones_like(variances[0])
    return Curvature(basis=basis, variances=variances, rest=rest)


def _gram(rows: Tensor) -> Tensor:
    """(M, M) float64 inner products of rows (M, D) float32."""
    products = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for first, last in blocks(rows.shape[1], rows_per_block(len(rows), bytes_each=8)):
        part = rows[:, first:last].double()
        products.addmm_(part, part.T)
    return products


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is fitted."""

    data: Standardized
    labels: Tensor
    """(N,) int64, from 0 to K - 1."""
    shares: Tensor
    """(N,) float32: the weight of each row's cross-entropy; they add up to 1. Rows with 0 are not fitted."""
    num_classes: int
    """K."""
    curvature: Curvature
    """Guides the solver; where it ends does not depend on it."""

    def logits(self, point: Tensor) -> Tensor:
        """(K, N) for weights and bias (K, D + 1)."""
        return self.data.logits(point[:, :-1], point[:, -1])

    def gradient(self, probabilities: Tensor, point: Tensor, penalty: Tensor) -> Tensor:
        """(K, D + 1) at a point, for its probabilities (K, N), which are overwritten."""
        right = self.labels[None]
        residuals = probabilities.scatter_(0, right, probabilities.gather(0, right) - 1).mul_(self.shares)
        return torch.cat([self.data.sums(residuals), residuals.sum(dim=1, keepdim=True)], dim=1) + penalty * point

    def confidence(self, probabilities: Tensor) -> Tensor:
        """() float32 above 0: the mean of p (1 - p), by which the Hessian is smaller than the covariance."""
        doubts = 1 - probabilities.square().sum(dim=0)
        return ((doubts * self.shares).sum() / self.num_classes).clamp_min(1e-6)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Where the solver ended."""

    point: Tensor
    """(K, D + 1) float32: weights for standardized features, and the bias."""
    logits: Tensor
    """(K, N) float32 of all rows, also of those that were not fitted."""
    iterations: int
    gap: float
    """Nats: how far the objective is estimated to lie above its smallest value."""

    @property
    def converged(self) -> bool:
        """Whether that is within `TOLERANCE`."""
        return abs(self.gap) <= TOLERANCE


def solve(problem: Problem, strength: float, start: Tensor, iterations: int) -> Fit:
    """L-BFGS whose first guess at the Hessian is the features' covariance, and whose line search costs no product.

    Logits are linear in the weights, so that those along a direction need one product, and any step along it none. An
    iteration is two products with the features and a few numbers that are read from the device.

    Args:
        problem: features, labels, which rows count.
        strength: lambda, above 0. For two classes half the difference of their weights is one vector in both, so that
            twice the strength is that of a single vector for the difference.
        start: (K, D + 1).
        iterations: the largest number.
    """
    if problem.num_classes == 2:
        strength = 2 * strength
    penalty = torch.full_like(start[0], strength)
    penalty[-1] = 0
    point, logits = start, problem.logits(start)
    probabilities = logits.softmax(dim=0)
    memory = _Memory(problem.curvature, strength)
    confidence, gradient = problem.confidence(probabilities), problem.gradient(probabilities, point, penalty)
    for iteration in range(iterations + 1):
        direction = memory.direction(gradient, confidence)
        gap = float((gradient * direction).sum()) / -2
        if not gap > TOLERANCE or iteration == iterations:
            break
        moves = problem.logits(direction)
        length, probabilities = _line_search(problem, logits, moves, -2 * gap, penalty * point, direction, penalty)
        logits.add_(moves, alpha=length)
        moved = length * direction
        point = point + moved
        confidence = problem.confidence(probabilities)
        before, gradient = gradient, problem.gradient(probabilities, point, penalty)
        memory.add(moved, gradient - before)
    return Fit(point=point, logits=logits, iterations=iteration, gap=gap)


class _Memory:
    """The last steps, and what the Hessian did to them."""

    def __init__(self, guide: Curvature, strength: float) -> None:
        self._guide, self._strength = guide, strength
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=REMEMBERED)

    def add(self, step: Tensor, change: Tensor) -> None:
        """A step (K, D + 1) and the change of the gradient along it."""
        self._pairs.append((step, change, 1 / (step * change).sum()))

    def direction(self, gradient: Tensor, confidence: Tensor) -> Tensor:
        """(K, D + 1): downhill (Nocedal, Wright: Numerical Optimization, algorithm 7.4)."""
        found, weights = gradient, []
        for step, change, inverse in reversed(self._pairs):
            weights.append((step * found).sum() * inverse)
            found = found - weights[-1] * change
        inner = self._guide.undone(found[:, :-1], confidence, self._strength)
        found = torch.cat([inner, found[:, -1:] / confidence], dim=1)
        for step, change, inverse in self._pairs:
            found = found + (weights.pop() - (change * found).sum() * inverse) * step
        return -found


def _line_search(
    problem: Problem,
    logits: Tensor,
    moves: Tensor,
    slope_at_start: float,
    pull: Tensor,
    direction: Tensor,
    penalty: Tensor,
) -> tuple[float, Tensor]:
    """How far to go, and the probabilities (K, N) there: Newton's method on the slope, kept between known signs."""
    aimed = (moves.gather(0, problem.labels[None])[0] * problem.shares).sum()
    linear, quadratic = (pull * direction).sum() - aimed, (penalty * direction).mul_(direction).sum()
    length, low, high = 1.0, 0.0, math.inf
    for _ in range(TRIALS):
        probabilities = torch.add(logits, moves, alpha=length).softmax(dim=0)
        weighted = probabilities * moves
        means = weighted.sum(dim=0)
        spreads = weighted.mul_(moves).sum(dim=0) - means.square()
        slope = (means * problem.shares).sum() + linear + length * quadratic
        bend = (spreads * problem.shares).sum() + quadratic
        here, curved = torch.stack([slope, bend]).tolist()
        if abs(here) <= FLATTENED * abs(slope_at_start):
            break
        low, high = (length, high) if here < 0 else (low, length)
        length -= here / curved
        if not low < length < high:
            length = (low + high) / 2 if high < math.inf else 2 * low
    return length, probabilities
