"""Multinomial logistic regression with L2, solved to a known distance from the optimum, on the device of the features.

Objective: mean cross-entropy + strength / 2 * |weights|^2 over standardized features; the bias is not penalized. The
objective is strictly convex in the weights, so the solution does not depend on the solver, only on its tolerance.
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
"""Largest distance of the objective from its minimum, in nats."""
MAX_COPY_BYTES = 512 * 2**20
"""Largest size of a standardized copy of the features; for larger ones the weights are transformed instead."""
MAX_BASIS = 4096
"""Largest number of features for which the curvature has all directions."""
SAMPLE, SMALL_SAMPLE = 16_384, 2048
"""Number of rows that estimate the curvature: for up to `MAX_BASIS` features, and for more."""
MEMORY = 10
"""Number of steps that L-BFGS stores."""
SLOPE_REDUCTION = 0.1
"""A line search ends when the slope is below this fraction of its initial value."""
MAX_TRIALS = 10
"""Largest number of points that a line search evaluates."""


@dataclass(frozen=True, kw_only=True)
class Standardized:
    """Standardized features (features - shift) * scale, which need not be stored."""

    features: Tensor
    """(N, D) float32: the original features, or a standardized copy."""
    shift: Tensor
    """(D,) float32: remaining shift of `features`; 0 for a standardized copy."""
    scale: Tensor
    """(D,) float32: remaining scale of `features`; 1 for a copy, 0 for a constant feature, whose weights then stay zero."""
    full_shift: Tensor
    """(D,) float32: shift of the original features."""
    full_scale: Tensor
    """(D,) float32: scale of the original features."""

    def logits(self, weights: Tensor, bias: Tensor) -> Tensor:
        """(K, N) for weights (K, D) and bias (K,)."""
        scaled = weights * self.scale
        # Faster than either product that returns the transpose directly.
        return F.linear(self.features, scaled, bias - scaled @ self.shift).T.contiguous()

    def sums(self, factors: Tensor) -> Tensor:
        """(K, D): for each row of `factors` (K, N), the sum of the features weighted with it."""
        return (factors @ self.features - factors.sum(dim=1, keepdim=True) * self.shift) * self.scale

    def transform(self, features: Tensor) -> Standardized:
        """Other features (M, D), not standardized, with the same mean and standard deviation."""
        return _standardized(features, self.full_shift, self.full_scale)


def standardize(features: Tensor, rows: Tensor, max_copy_bytes: int | None = None) -> Standardized:
    """Features standardized with the mean and standard deviation of some rows.

    Args:
        features: (N, D) float32; not changed.
        rows: (N,) bool, the rows that mean and deviation are computed from.
        max_copy_bytes: largest size of features that are copied; None: `MAX_COPY_BYTES`.
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
    return _standardized(features, shift, scale, max_copy_bytes)


def _standardized(features: Tensor, shift: Tensor, scale: Tensor, max_copy_bytes: int | None = None) -> Standardized:
    full = {"full_shift": shift, "full_scale": scale}
    if features.numel() * 4 > (MAX_COPY_BYTES if max_copy_bytes is None else max_copy_bytes):
        return Standardized(features=features, shift=shift, scale=scale, **full)
    copied = torch.sub(features, shift).mul_(scale)
    return Standardized(features=copied, shift=torch.zeros_like(shift), scale=torch.ones_like(scale), **full)


@dataclass(frozen=True, kw_only=True)
class Curvature:
    """The covariance of standardized features, estimated from a sample."""

    basis: Tensor
    """(D, R) float32: orthonormal directions."""
    variances: Tensor
    """(R,) float32: variance along each direction."""
    rest: Tensor
    """() float32: mean variance along all other directions."""

    def newton_step(self, gradient: Tensor, confidence: Tensor, strength: float) -> Tensor:
        """The Newton step (K, D) for a gradient (K, D), with confidence * covariance + strength as the Hessian."""
        inside = gradient @ self.basis
        rest = 1 / (confidence * self.rest + strength)
        return (inside * (1 / (confidence * self.variances + strength) - rest)) @ self.basis.T + gradient * rest


def curvature(features: Tensor, rows: int | None = None) -> Curvature:
    """Estimates the curvature from a sample of rows: all directions of up to `MAX_BASIS` features, else those of most variance.

    Args:
        features: (N, D) float32, not standardized.
        rows: largest size of the sample; None: `SAMPLE` or `SMALL_SAMPLE`, depending on D.
    """
    width = features.shape[1]
    rows = rows or (SAMPLE if width <= MAX_BASIS else SMALL_SAMPLE)
    sample = features[:: -(-len(features) // rows)]
    data = standardize(sample, torch.ones(len(sample), dtype=torch.bool, device=features.device))
    sample = torch.sub(data.features, data.shift).mul_(data.scale)
    if width <= len(sample):
        variances, basis = torch.linalg.eigh(sample.T @ sample / len(sample))
    else:
        # In float64, because in float32 directions of small variance are neither of unit length nor orthogonal.
        variances, vectors = torch.linalg.eigh(_gram(sample) / len(sample))
        resolved = variances > 1e-6 * variances[-1]
        basis = sample.T @ (vectors[:, resolved] / (len(sample) * variances[resolved]).sqrt()).float()
        variances = variances[resolved].float()
    variances = variances.clamp_min(0)
    remaining = width - len(variances)
    # Each standardized feature has variance 1. Without remaining directions, any number that is not tiny will do.
    rest = (
        (data.scale.count_nonzero() - variances.sum()).clamp_min(0) / remaining
        if remaining
        else torch.ones_like(variances[0])
    )
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
    """A weighted logistic regression problem."""

    data: Standardized
    labels: Tensor
    """(N,) int64, from 0 to K - 1."""
    row_weights: Tensor
    """(N,) float32: weight of each row's cross-entropy, with sum 1. Rows with weight 0 are not fitted."""
    num_classes: int
    """K."""
    curvature: Curvature
    """Preconditions the solver; the solution does not depend on it."""

    def logits(self, point: Tensor) -> Tensor:
        """(K, N) for weights and bias (K, D + 1)."""
        return self.data.logits(point[:, :-1], point[:, -1])

    def gradient(self, probabilities: Tensor, point: Tensor, penalty: Tensor) -> Tensor:
        """(K, D + 1) gradient at a point with probabilities (K, N), which are overwritten."""
        target = self.labels[None]
        residuals = probabilities.scatter_(0, target, probabilities.gather(0, target) - 1).mul_(self.row_weights)
        return torch.cat([self.data.sums(residuals), residuals.sum(dim=1, keepdim=True)], dim=1) + penalty * point

    def confidence(self, probabilities: Tensor) -> Tensor:
        """() float32 above 0: mean of p (1 - p), the ratio of Hessian to covariance."""
        uncertainty = 1 - probabilities.square().sum(dim=0)
        return ((uncertainty * self.row_weights).sum() / self.num_classes).clamp_min(1e-6)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The result of the solver."""

    point: Tensor
    """(K, D + 1) float32: weights for standardized features, and the bias."""
    logits: Tensor
    """(K, N) float32 of all rows, including those that were not fitted."""
    iterations: int
    gap: float
    """Estimated distance of the objective from its minimum, in nats."""

    @property
    def converged(self) -> bool:
        """Whether the gap is within `TOLERANCE`."""
        return abs(self.gap) <= TOLERANCE


def solve(problem: Problem, strength: float, start: Tensor, iterations: int) -> Fit:
    """L-BFGS with the features' covariance as the initial Hessian, and a line search without products with the features.

    Logits are linear in the weights: the logits along a direction need one product, and any step along it needs none. An
    iteration takes two products with the features and reads a few numbers from the device.

    Args:
        problem: features, labels and weights of the rows.
        strength: lambda, above 0. With two classes, the two weight vectors are w / 2 and -w / 2 for the difference w, so the
            strength is doubled to that of a single vector w.
        start: (K, D + 1).
        iterations: largest number of iterations.
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
    """The last steps, with the change of the gradient along each."""

    def __init__(self, guide: Curvature, strength: float) -> None:
        self._guide, self._strength = guide, strength
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=MEMORY)

    def add(self, step: Tensor, change: Tensor) -> None:
        """A step (K, D + 1) and the change of the gradient along it."""
        self._pairs.append((step, change, 1 / (step * change).sum()))

    def direction(self, gradient: Tensor, confidence: Tensor) -> Tensor:
        """(K, D + 1): the descent direction (Nocedal, Wright: Numerical Optimization, algorithm 7.4)."""
        result, weights = gradient, []
        for step, change, inverse in reversed(self._pairs):
            weights.append((step * result).sum() * inverse)
            result = result - weights[-1] * change
        inner = self._guide.newton_step(result[:, :-1], confidence, self._strength)
        result = torch.cat([inner, result[:, -1:] / confidence], dim=1)
        for step, change, inverse in self._pairs:
            result = result + (weights.pop() - (change * result).sum() * inverse) * step
        return -result


def _line_search(
    problem: Problem,
    logits: Tensor,
    moves: Tensor,
    slope_at_start: float,
    penalty_gradient: Tensor,
    direction: Tensor,
    penalty: Tensor,
) -> tuple[float, Tensor]:
    """Step length and the probabilities (K, N) there: Newton's method on the slope, bracketed by a sign change."""
    target_moves = (moves.gather(0, problem.labels[None])[0] * problem.row_weights).sum()
    linear, quadratic = (penalty_gradient * direction).sum() - target_moves, (penalty * direction).mul_(direction).sum()
    length, low, high = 1.0, 0.0, math.inf
    for _ in range(MAX_TRIALS):
        probabilities = torch.add(logits, moves, alpha=length).softmax(dim=0)
        weighted = probabilities * moves
        means = weighted.sum(dim=0)
        spreads = weighted.mul_(moves).sum(dim=0) - means.square()
        slope = (means * problem.row_weights).sum() + linear + length * quadratic
        curvature_along = (spreads * problem.row_weights).sum() + quadratic
        slope_here, curvature_here = torch.stack([slope, curvature_along]).tolist()
        if abs(slope_here) <= SLOPE_REDUCTION * abs(slope_at_start):
            break
        low, high = (length, high) if slope_here < 0 else (low, length)
        length -= slope_here / curvature_here
        if not low < length < high:
            length = (low + high) / 2 if high < math.inf else 2 * low
    return length, probabilities
