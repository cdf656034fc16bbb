"""A difference of two scores, with all that may be said of it: interval, p-value, verdict, what could have been seen.

Convention: a difference is A minus B, in the unit of the scores (fractions). Everything follows from four numbers: center,
standard error, degrees of freedom, level. The p-value is below 1 - level exactly where the interval at that level does not
hold 0, but for the one limit told at `Comparison.p`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Question = Literal["these checkpoints", "trained again", "trained again, on these images"]
"""What a comparison answers. The last is asked where a score has no outcomes of single images: that other images would
move it is then not counted."""
Verdict = Literal["better", "worse", "no evidence", "checkpoint only"]
"""Of A beside B. `checkpoint only`: one seed on a side, so that nothing is known of training again: not testable."""
LEVEL = 0.95
POWER = 0.8
"""Part of repetitions in which a difference of the minimal size would be found."""
CERTAIN = 1e6
"""Degrees of freedom from which on a deviation counts as known."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A difference of two scores, with what may be said of it."""

    question: Question
    difference: float
    """A minus B."""
    center: float
    """Of the interval; differs from the difference where pseudo-images draw it towards 0 (see `paired`)."""
    error: float | None
    """Standard error; None where nothing can be tested."""
    degrees: float | None
    """Degrees of freedom of Student's t."""
    images: int
    """Images behind it, those with an outcome on both sides; 0 where outcomes are not known."""
    seeds: tuple[int, int]
    """Trainings of A and B."""
    level: float = LEVEL
    """Coverage of the interval."""
    least_p: float = 0.0
    """What a p-value cannot be below, however the data had come out: that of a sign test with as many unequal images."""
    adjusted_p: float | None = None
    """Adjusted for all comparisons made together, where there are several (`families.adjusted`)."""
    higher_is_better: bool = True

    @property
    def testable(self) -> bool:
        """Whether there is an interval."""
        return self.error is not None

    @property
    def p(self) -> float | None:
        """Two-sided, never below `least_p`; None where nothing can be tested.

        The limit is felt with five unequal images or fewer, where p is above .06 either way.
        """
        if self.error is None or self.degrees is None:
            return None
        if self.error == 0:
            return 1.0
        from scipy.special import stdtr  # here and below, because scipy is slow to come

        return float(max(2 * stdtr(self.degrees, -abs(self.center) / self.error), self.least_p))

    @property
    def interval(self) -> tuple[float, float] | None:
        """At `level`, symmetric about the center."""
        if self.error is None or self.degrees is None:
            return None
        half = quantile(self.degrees, self.level) * self.error
        return self.center - half, self.center + half

    @property
    def minimal(self) -> float | None:
        """The smallest difference that could have been seen: see `minimal`."""
        if self.error is None or self.degrees is None:
            return None
        return minimal(self.error, self.degrees, self.level)

    @property
    def verdict(self) -> Verdict:
        """Whether A is better than B, as far as the interval tells."""
        interval = self.interval
        if interval is None:
            return "checkpoint only" if min(self.seeds) < 2 else "no evidence"
        low, high = interval if self.higher_is_better else (-interval[1], -interval[0])
        return "better" if low > 0 else "worse" if high < 0 else "no evidence"

    def at(self, level: float) -> Comparison:
        """The same at another level: wider where it is higher."""
        return dataclasses.replace(self, level=level)

    def turned(self) -> Comparison:
        """B minus A."""
        return dataclasses.replace(
            self, difference=-self.difference, center=-self.center, seeds=(self.seeds[1], self.seeds[0])
        )


def minimal(error: float, degrees: float, level: float = LEVEL, power: float = POWER) -> float:
    """The smallest true difference that a two-sided t-test at 1 - level finds with the given power.

    Exact for a normal estimate with this standard error (noncentral t); the error itself is estimated, so with few
    seeds the answer is as rough as the error is.
    """
    from scipy.special import nctdtrinc

    return float(nctdtrinc(min(degrees, CERTAIN), 1 - power, quantile(degrees, level))) * error


def quantile(degrees: float, level: float) -> float:
    """How many standard errors on either side hold the part `level` of Student's t."""
    if not 0 < level < 1:
        raise ValueError(f"level={level} cannot be; coverage lies between 0 and 1, such as 0.95")
    from scipy.special import stdtrit

    return float(stdtrit(min(degrees, CERTAIN), (1 + level) / 2))
