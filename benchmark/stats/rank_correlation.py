"""Rank correlation of two scores over points that come in clusters, with an interval from drawing clusters again.

Points of one cluster (taps of one cell, seeds of one method) are not independent: an interval that draws points would be too
narrow, the more so the more alike they are. A resample holds each cluster as often as it was drawn, so that both correlations
are computed from weights of clusters and no resample is ever written out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
DRAWS = 2000
"""Resamples."""
FEWEST_CLUSTERS = 5
"""Clusters below which no interval is given: so few cannot show how others would differ."""
BLOCK = 2**22
"""Numbers in a block of pairs, or of resampled ranks."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """One rank correlation."""

    value: float | None
    """From -1 to 1; None where one of both scores is the same for all points."""
    low: float | None = None
    """95 % interval; None where there are too few clusters, or too many resamples without a value."""
    high: float | None = None


def rank_agreement(
    x: Floats, y: Floats, clusters: Integers, *, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> tuple[Agreement, Agreement]:
    """Spearman's rank correlation and Kendall's tau-b, each with a percentile interval over clusters.

    Args:
        x: (points,) finite.
        y: (points,) finite.
        clusters: (points,) whole numbers; equal ones belong together.
        draws: number of resamples of as many clusters as there are, with replacement.
        level: coverage, in (0, 1). Nominal: with few clusters a percentile interval is somewhat too narrow.
        seed: of the resampling.

    Raises:
        ValueError: lengths differ, or there are fewer than two points.
    """
    if not len(x) == len(y) == len(clusters) or len(x) < 2:
        raise ValueError(f"{len(x)}, {len(y)} and {len(clusters)} values cannot be; give as many of each, two or more")
    names, places = np.unique(clusters, return_inverse=True)
    table = _Table(x, y, places, len(names))
    whole = table.both(np.ones((1, len(names))))
    if len(names) < FEWEST_CLUSTERS:
        return Agreement(value=_number(whole[0][0])), Agreement(value=_number(whole[1][0]))
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws).astype(np.float64)
    size = max(1, BLOCK // len(x))
    parts = [table.both(weights[start : start + size]) for start in range(0, draws, size)]
    found = []
    for which in (0, 1):
        resampled = np.concatenate([part[which] for part in parts])
        found.append(_with_interval(_number(whole[which][0]), resampled, level))
    return found[0], found[1]


def _with_interval(value: float | None, resampled: Floats, level: float) -> Agreement:
    kept = resampled[~np.isnan(resampled)]
    if value is None or len(kept) < 0.9 * len(resampled):
        return Agreement(value=value)
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Agreement(value=value, low=float(low), high=float(high))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


class _Table:
    """All pairs of points, summed up over clusters once."""

    def __init__(self, x: Floats, y: Floats, places: Integers, count: int) -> None:
        member = np.zeros((len(x), count))
        member[np.arange(len(x)), places] = 1.0
        self.places = places
        #: of pairs of clusters: agreeing less disagreeing pairs of points; those untied in x; in y
        self.pairs = np.zeros((3, count, count))
        #: (clusters, points): how many points of a cluster rank below a point, equal ones half
        self.below = np.zeros((2, count, len(x)))
        size = max(1, BLOCK // len(x))
        for start in range(0, len(x), size):
            rows = slice(start, start + size)
            signs = [np.sign(each[rows, None] - each[None, :]) for each in (x, y)]
            for which, found in enumerate((signs[0] * signs[1], np.abs(signs[0]), np.abs(signs[1]))):
                self.pairs[which] += member[rows].T @ found @ member
            for which in (0, 1):
                self.below[which] += member[rows].T @ ((1 - signs[which]) / 2)

    def both(self, weights: Floats) -> tuple[Floats, Floats]:
        """Spearman and Kendall (draws,) for clusters that count as often as `weights` (draws, clusters); NaN: undefined."""
        of_points = weights[:, self.places]
        ranks = [weights @ below for below in self.below]
        total = of_points.sum(axis=1, keepdims=True)
        centerd = [rank - (of_points * rank).sum(axis=1, keepdims=True) / total for rank in ranks]
        across, of_x, of_y = (
            (of_points * a * b).sum(axis=1)
            for a, b in ((centerd[0], centerd[1]), (centerd[0], centerd[0]), (centerd[1], centerd[1]))
        )
        agreed, untied_x, untied_y = (((weights @ pairs) * weights).sum(axis=1) for pairs in self.pairs)
        return _ratio(across, of_x, of_y), _ratio(agreed, untied_x, untied_y)


def _ratio(across: Floats, of_x: Floats, of_y: Floats) -> Floats:
    scale = np.sqrt(np.maximum(of_x, 0) * np.maximum(of_y, 0))
    defined = scale > 1e-9
    return np.clip(np.where(defined, across / np.where(defined, scale, 1.0), np.nan), -1.0, 1.0)
