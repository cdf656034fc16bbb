"""Rank correlation of two scores over clustered points, with a bootstrap interval over clusters.

Points of one cluster (taps of one cell, seeds of one method) are not independent, so an interval from resampling points is
too narrow. A resample contains each cluster as often as it was drawn. Both correlations are computed from these counts, used as
weights of the clusters, without building the resample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
DRAWS = 2000
"""Number of resamples."""
FEWEST_CLUSTERS = 5
"""Minimum number of clusters for an interval."""
BLOCK = 2**22
"""Numbers computed at once: 32 MB as float64."""


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """One rank correlation."""

    value: float | None
    """In [-1, 1]; None if a score is constant."""
    low: float | None = None
    """Lower end of the interval; None with too few clusters, or if over 10 % of the resamples have no value."""
    high: float | None = None
    """Upper end, likewise."""


def rank_correlations(
    x: Floats,
    y: Floats,
    clusters: Integers,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
    block: int = BLOCK,
) -> tuple[RankCorrelation, RankCorrelation]:
    """Spearman's rank correlation and Kendall's tau-b with ties, each with a percentile bootstrap interval over clusters.

    Args:
        x: (points,) finite.
        y: (points,) finite.
        clusters: (points,) integers, one per cluster.
        draws: number of resamples, each of as many clusters as there are, drawn with replacement.
        level: nominal coverage, in (0, 1). With few clusters a percentile interval is somewhat too narrow.
        seed: seed of the resampling.
        block: numbers computed at once; it limits the memory and changes no result.

    Raises:
        ValueError: the lengths differ, or there are fewer than two points.
    """
    if not len(x) == len(y) == len(clusters) or len(x) < 2:
        raise ValueError(f"{len(x)}, {len(y)} and {len(clusters)} values; give equal numbers of each, two or more")
    names, cluster_of = np.unique(clusters, return_inverse=True)
    pairs = ClusterPairs(x, y, cluster_of, len(names), block)
    estimate = pairs.correlations(np.ones((1, len(names))))
    if len(names) < FEWEST_CLUSTERS:
        return RankCorrelation(value=_number(estimate[0][0])), RankCorrelation(value=_number(estimate[1][0]))
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws).astype(np.float64)
    size = max(1, block // len(x))
    parts = [pairs.correlations(weights[start : start + size]) for start in range(0, draws, size)]
    spearman, kendall = (
        _with_interval(_number(estimate[which][0]), np.concatenate([part[which] for part in parts]), level)
        for which in (0, 1)
    )
    return spearman, kendall


def _with_interval(value: float | None, resampled: Floats, level: float) -> RankCorrelation:
    defined = resampled[~np.isnan(resampled)]
    if value is None or len(defined) < 0.9 * len(resampled):
        return RankCorrelation(value=value)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return RankCorrelation(value=value, low=float(low), high=float(high))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class ClusterPairs:
    """Sums over all pairs of points by cluster, computed once for all resamples.

    Args:
        x: (points,).
        y: (points,).
        cluster_of: (points,) index of the cluster of each point.
        count: number of clusters.
        block: numbers computed at once.
    """

    def __init__(self, x: Floats, y: Floats, cluster_of: Integers, count: int, block: int = BLOCK) -> None:
        member = np.zeros((len(x), count))
        member[np.arange(len(x)), cluster_of] = 1.0
        self.cluster_of = cluster_of
        #: (3, clusters, clusters): concordant minus discordant pairs of points, pairs untied in x, pairs untied in y
        self.pairs = np.zeros((3, count, count))
        #: (2, clusters, points): for x and y, points of a cluster that rank below a point; ties count half
        self.below = np.zeros((2, count, len(x)))
        size = max(1, block // len(x))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            signs = [np.sign(each[rows, None] - each[None, :]) for each in (x, y)]
            for which, values in enumerate((signs[0] * signs[1], np.abs(signs[0]), np.abs(signs[1]))):
                self.pairs[which] += member[rows].T @ values @ member
            for which in (0, 1):
                self.below[which] += member[rows].T @ ((1 - signs[which]) / 2)

    def correlations(self, weights: Floats) -> tuple[Floats, Floats]:
        """Spearman's and Kendall's correlation, (draws,) each; NaN where undefined.

        Args:
            weights: (draws, clusters) how often each cluster counts.
        """
        point_weights = weights[:, self.cluster_of]
        ranks = [weights @ below for below in self.below]
        total = point_weights.sum(axis=1, keepdims=True)
        centered = [rank - (point_weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks]
        covariance, variance_x, variance_y = (
            (point_weights * a * b).sum(axis=1)
            for a, b in ((centered[0], centered[1]), (centered[0], centered[0]), (centered[1], centered[1]))
        )
        concordance, untied_x, untied_y = (((weights @ pairs) * weights).sum(axis=1) for pairs in self.pairs)
        return _correlation(covariance, variance_x, variance_y), _correlation(concordance, untied_x, untied_y)


def _correlation(covariance: Floats, variance_x: Floats, variance_y: Floats) -> Floats:
    """Covariance / sqrt(variance_x variance_y), in [-1, 1]; NaN where a variance is 0."""
    scale = np.sqrt(np.maximum(variance_x, 0) * np.maximum(variance_y, 0))
    defined = scale > 1e-9
    return np.clip(np.where(defined, covariance / np.where(defined, scale, 1.0), np.nan), -1.0, 1.0)
