"""Confidence intervals of a score over test images, and its mean and standard deviation over seeds.

The intervals describe how far the score of *this* trained encoder would move with other test images. `spread` describes how far
it moves when the method is trained with other seeds.

`wilson` and `bootstrap_mean` give the same numbers as scipy's `binomtest(...).proportion_ci(method="wilson")` and
`bootstrap(..., method="percentile")` up to the last bits (differences below 1e-15). They are implemented here so that stored
results stay the same to the last digit.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**20
"""Number of values that the bootstrap draws at once: 8 MB as float64."""


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (Wilson 1927), without continuity correction.

    Formula, with p = successes / n and z the normal quantile of the level:
    (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

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
        raise ValueError(f"{successes} successes in {n} trials: give 0 <= successes <= n, and n of 1 or more")
    z = _normal_quantile(level)
    proportion, shrinkage = successes / n, 1 + z * z / n
    center = (proportion + z * z / (2 * n)) / shrinkage
    half_width = z / shrinkage * math.sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    # At the extremes the formula gives exactly 0 and 1, except for rounding.
    low = 0.0 if successes == 0 else max(0.0, center - half_width)
    high = 1.0 if successes == n else min(1.0, center + half_width)
    return low, high


def bootstrap_mean(values: NDArray[Any], level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval for a mean (Efron 1979): values are resampled with replacement.

    Args:
        values: (n,) numbers or booleans, one per query; NaN marks a query without a value, which is excluded.
        level: coverage, in (0, 1).
        draws: number of resamples.
        seed: seed of the resampling; the same seed gives the same interval.

    Returns:
        (low, high), in the unit of the values.

    Raises:
        ValueError: no value is left, or the level is outside its range.
    """
    _normal_quantile(level)
    defined = _without_nan(values)
    if not len(defined):
        raise ValueError("bootstrap of no values: at least one query needs a value that is not NaN")
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    rows = max(1, BLOCK // len(defined))
    for start in range(0, draws, rows):
        stop = min(start + rows, draws)
        resampled = generator.integers(len(defined), size=(stop - start, len(defined)), dtype=np.int32)
        means[start:stop] = defined[resampled].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval(
    outcomes: NDArray[Any] | None, value: float, n: int, level: float = 0.95
) -> tuple[float | None, float | None]:
    """The confidence interval of a score over test images.

    Args:
        outcomes: (number of test images,) values whose mean is the score, NaN for an image without one. Booleans, or
            numbers that are all 0 or 1, are successes and get Wilson's interval; other numbers are bootstrapped.
            None: the score is not a mean over images.
        value: the score.
        n: number of images behind the score.
        level: coverage, in (0, 1).

    Returns:
        (low, high), or (None, None) if no interval can be computed: there are no outcomes, or there is a single number that
        is neither 0 nor 1.
    """
    if outcomes is None or n < 1:
        return None, None
    defined = _without_nan(outcomes)
    if np.isin(defined, (0.0, 1.0)).all():
        return wilson(round(value * n), n, level)
    if len(defined) < 2:
        return None, None
    return bootstrap_mean(defined, level)


def spread(values: Sequence[float]) -> tuple[float, float | None, int]:
    """Mean, sample standard deviation (divisor n - 1) and number of values, one value per seed.

    The standard deviation of a single value is None: it is unknown, not zero.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("mean over no seeds: give at least one value")
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return statistics.fmean(values), deviation, len(values)


def _normal_quantile(level: float) -> float:
    """Number of standard deviations on each side of the mean that contain the fraction `level` of a normal distribution."""
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a coverage lies between 0 and 1, such as 0.95")
    return statistics.NormalDist().inv_cdf((1 + level) / 2)


def _without_nan(values: NDArray[Any]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    return numbers[~np.isnan(numbers)]
