"""How far a score can be trusted: intervals over test images, spread over seeds.

Two questions are never mixed. The intervals here say how far a score of *this* trained encoder would move with other
test images; `spread` says how far it moves when the method is trained again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**20
"""Values that the bootstrap draws at once: 8 MB as float64."""


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), without continuity correction.

    Args:
        successes: from 0 to n.
        n: number of independent trials, at least 1.
        level: coverage, in (0, 1).

    Returns:
        (low, high), both in [0, 1].

    Raises:
        ValueError: counts or level outside their range.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes in {n} trials cannot be; give 0 <= successes <= n and n of 1 or more")
    z = _normal_quantile(level)
    share, shrink = successes / n, 1 + z * z / n
    center = (share + z * z / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the extremes the formula gives 0 and 1 exactly, but for rounding.
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == n else min(1.0, center + half)
    return low, high


def bootstrap_mean(values: NDArray[Any], level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval for the mean (Efron 1979): values are drawn again with replacement.

    Args:
        values: (n,) numbers or booleans, one for each query; NaN means that a query has none and is left out.
        level: coverage, in (0, 1).
        draws: number of resamples.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        (low, high).

    Raises:
        ValueError: no value is left, or the level is outside its range.
    """
    _normal_quantile(level)
    kept = _without_nan(values)
    if not len(kept):
        raise ValueError("a bootstrap of no values cannot be; at least one query must have a value that is not NaN")
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    rows = max(1, BLOCK // len(kept))
    for start in range(0, draws, rows):
        stop = min(start + rows, draws)
        drawn = generator.integers(len(kept), size=(stop - start, len(kept)), dtype=np.int32)
        means[start:stop] = kept[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval(
    outcomes: NDArray[Any] | None, value: float, n: int, level: float = 0.95
) -> tuple[float | None, float | None]:
    """The interval of a score over test images.

    Args:
        outcomes: (number of test images,) what `value` is the mean of, NaN where an image has none. Booleans, or
            numbers that are all 0 or 1, are successes and get Wilson's interval; other numbers are bootstrapped.
            None: the score is no mean over images.
        value: the score.
        n: number of images behind it.
        level: coverage, in (0, 1).

    Returns:
        (low, high), or (None, None) where there is no honest interval: no outcomes, or a single number that is
        neither success nor failure, which cannot show how it would vary.
    """
    if outcomes is None or n < 1:
        return None, None
    kept = _without_nan(outcomes)
    if np.isin(kept, (0.0, 1.0)).all():
        return wilson(round(value * n), n, level)
    if len(kept) < 2:
        return None, None
    return bootstrap_mean(kept, level)


def spread(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Mean, sample standard deviation (n - 1 in the denominator) and number of values, one value for each seed.

    The deviation of a single value is None: it is unknown, not zero.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("a mean over no seeds cannot be; give at least one value")
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), deviation, len(values)


def _normal_quantile(level: float) -> float:
    """How many standard deviations on either side of the mean hold the part `level` of a normal distribution."""
    if not 0 < level < 1:
        raise ValueError(f"level={level} cannot be; coverage lies between 0 and 1, such as 0.95")
    return statistics.NormalDist().inv_cdf((1 + level) / 2)


def _without_nan(values: NDArray[Any]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    return numbers[~np.isnan(numbers)]
