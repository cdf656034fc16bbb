"""The difference of two scores: its interval, p-value, verdict and minimal detectable difference.

Convention: a difference is A minus B, in the unit of the scores (raw fractions). Everything follows from four numbers: center,
standard error, degrees of freedom and level. The p-value is below 1 - level exactly where the interval at that level excludes
0, except for the limit described at `Comparison.p`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Question = Literal["these checkpoints", "methods across seeds", "methods across seeds, on these images"]
"""Questions that a comparison answers. The last applies if a score has no per-image outcomes: the variance over test images
is then not included."""
Verdict = Literal["better", "worse", "no evidence", "checkpoint only"]
"""A relative to B. `checkpoint only`: one seed on a side, so the variance across seeds is unknown and nothing is tested."""
LEVEL = 0.95
POWER = 0.8
"""Probability that a true difference of the minimal detectable size is detected."""
CERTAIN = 1e6
"""Degrees of freedom from which a standard deviation counts as known."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The difference of two scores with its uncertainty."""

    question: Question
    difference: float
    """A minus B, raw."""
    center: float
    """Center of the interval. It equals `difference` unless pseudo-images shrink it (see `compare_checkpoints`)."""
    standard_error: float | None
    """Same unit as `difference`; None if nothing can be tested."""
    degrees_of_freedom: float | None
    """Degrees of freedom of Student's t; None if nothing can be tested."""
    images: int
    """Test images that have an outcome on both sides; 0 if there are no per-image outcomes."""
    seeds: tuple[int, int]
    """Number of trainings of A and of B."""
    level: float = LEVEL
    """Coverage of the interval, in (0, 1)."""
    smallest_p: float = 0.0
    """Lower bound of the p-value: that of a sign test with the same number of unequal images."""
    adjusted_p: float | None = None
    """p-value adjusted for all comparisons made together (`multiple_testing.adjust`); None if there was no adjustment."""
    higher_is_better: bool = True

    @property
    def testable(self) -> bool:
        """Whether there is an interval."""
        return self.standard_error is not None

    @property
    def p(self) -> float | None:
        """Two-sided p-value, at least `smallest_p`; None if nothing can be tested.

        The bound takes effect only with five unequal images or fewer, where p is above .06 in any case.
        """
        if self.standard_error is None or self.degrees_of_freedom is None:
            return None
        if self.standard_error == 0:
            return 1.0
        from scipy.special import stdtr  # imported here and below because scipy is slow to import

        return float(max(2 * stdtr(self.degrees_of_freedom, -abs(self.center) / self.standard_error), self.smallest_p))

    @property
    def interval(self) -> tuple[float, float] | None:
        """(low, high) at `level`, symmetric about `center`; None if nothing can be tested."""
        if self.standard_error is None or self.degrees_of_freedom is None:
            return None
        half_width = t_quantile(self.degrees_of_freedom, self.level) * self.standard_error
        return self.center - half_width, self.center + half_width

    @property
    def minimal_detectable(self) -> float | None:
        """The smallest true difference that this comparison would detect: see `minimal_detectable_difference`."""
        if self.standard_error is None or self.degrees_of_freedom is None:
            return None
        return minimal_detectable_difference(self.standard_error, self.degrees_of_freedom, self.level)

    @property
    def verdict(self) -> Verdict:
        """Whether A is better than B, according to the interval."""
        interval = self.interval
        if interval is None:
            return "checkpoint only" if min(self.seeds) < 2 else "no evidence"
        low, high = interval if self.higher_is_better else (-interval[1], -interval[0])
        return "better" if low > 0 else "worse" if high < 0 else "no evidence"

    def at_level(self, level: float) -> Comparison:
        """The same comparison with an interval at another level."""
        return dataclasses.replace(self, level=level)

    def reversed(self) -> Comparison:
        """B minus A."""
        return dataclasses.replace(
            self, difference=-self.difference, center=-self.center, seeds=(self.seeds[1], self.seeds[0])
        )


def minimal_detectable_difference(standard_error: float, degrees_of_freedom: float, level: float) -> float:
    """The smallest true difference that a two-sided t-test at 1 - level detects with power 0.8.

    Formula: the noncentrality parameter of Student's t at which P(t > t_quantile) = POWER, times the standard error. Exact for
    a normal estimate with this standard error. The standard error is itself an estimate, so with few seeds the result is
    equally rough.
    """
    from scipy.special import nctdtrinc

    quantile = t_quantile(degrees_of_freedom, level)
    return float(nctdtrinc(min(degrees_of_freedom, CERTAIN), 1 - POWER, quantile)) * standard_error


def t_quantile(degrees_of_freedom: float, level: float) -> float:
    """Number of standard errors on each side of 0 that contain the fraction `level` of Student's t distribution.

    Raises:
        ValueError: the level is not in (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: a coverage lies between 0 and 1, such as 0.95")
    from scipy.special import stdtrit

    return float(stdtrit(min(degrees_of_freedom, CERTAIN), (1 + level) / 2))
