"""Whether two scores differ: these checkpoints on the same images, or the methods if they were trained again.

Two questions, never mixed. `paired` asks whether *these checkpoints* differ, and knows of no chance but the draw of test
images. `retrained` asks whether *the methods trained again* would differ: other seeds and other images. A paired test used for
the second question gives false alarms, 51 % of the time at a seed deviation of half a point and n = 10,000.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.stats.comparison import CERTAIN, LEVEL, Comparison

GUARD = 0.1
"""Seed means vary at least by what seed and image do together, when images are independent; a sample deviation whose square is
below this part of that is raised to it. Without it, seeds that agree by luck to the last image would make an interval of no
width; larger parts make intervals too wide where seeds do not matter (coverage .989 at 0.5, .965 to .975 at 0.1 to 0.25)."""


@dataclass(frozen=True, kw_only=True)
class SeedOutcomes:
    """One side: outcomes of one method on the test images, from one training or several."""

    outcomes: NDArray[np.float64]
    """(seeds, images); NaN where an image has none, which then counts on neither side."""
    seedless: bool = False
    """Whether chance plays no part, as with raw pixels: trained again, it would be the same."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What is known from other rows about how far a score moves when a method is trained again."""

    deviation: float
    """Standard deviation of the score over seeds, on as many images as are compared; its unit is the score's."""
    degrees: float
    """Degrees of freedom behind it: the seeds less one of each row it was pooled from, added up."""
    interaction: float = 0.0
    """Variance of what seed and image do together, for one image; 0 where unknown, which makes intervals wider."""


def paired(a: SeedOutcomes, b: SeedOutcomes, *, level: float = LEVEL, higher_is_better: bool = True) -> Comparison:
    """Whether these checkpoints differ, beyond the draw of test images: paired image by image.

    Several seeds of a side are averaged: they are *these* trainings. With one training a side and outcomes of yes or
    no, two pseudo-images are added, one right on each side (Bonett and Price 2012, adjusted Wald interval for paired
    proportions): calibrated down to few unequal images, where the plain interval is too narrow and has no width at all
    without any. Otherwise Student's t on per-image differences. A paired bootstrap gives the same at thousands of images,
    takes a thousand times as long, and is too narrow where few images differ.

    Raises:
        ValueError: the sides have unequal numbers of images, or none in common with outcomes.
    """
    ours, theirs = _common(a, b)
    gaps = ours.mean(axis=0) - theirs.mean(axis=0)
    n = len(gaps)
    single = len(ours) == len(theirs) == 1 and all(np.isin(side, (0.0, 1.0)).all() for side in (ours, theirs))
    if single:
        padded = np.append(gaps, (1.0, -1.0))
        center, variance, degrees = padded.mean(), padded.var() / len(padded), CERTAIN
    else:
        center, degrees = gaps.mean(), n - 1.0
        variance = max(gaps.var(ddof=1) / n, _step(ours, theirs) ** 2) if n > 1 else math.nan
    return Comparison(
        question="these checkpoints",
        difference=float(gaps.mean()),
        center=float(center),
        error=None if math.isnan(variance) else math.sqrt(variance),
        degrees=float(degrees),
        images=n,
        seeds=(len(ours), len(theirs)),
        level=level,
        least_p=_least_p(gaps),
        higher_is_better=higher_is_better,
    )


def retrained(
    a: SeedOutcomes,
    b: SeedOutcomes,
    *,
    level: float = LEVEL,
    pooled: Spread | None = None,
    higher_is_better: bool = True,
) -> Comparison:
    """Whether the methods would differ if they were trained again and met other test images.

    Seeds of A and B are different trainings and are not paired; images are the same and are. The variance of the
    difference is the sum of three: the spread of A's seed means over its number of seeds, the same of B, and the image
    variance of the paired difference, from which what seed and image do together is taken off, as the seed means hold it
    already (two-way analysis of variance with crossed random effects). Student's t with degrees of freedom after
    Welch (1947) and Satterthwaite (1946), those from the seeds taken (k + 2) / k times as large in them, as 2 or 4 degrees of
    freedom are often overrated by luck. Over 3 and 5 seeds this covers 95 to 97 %, where a percentile bootstrap crossed over
    seeds and images covers 83 to 98: too little where seeds matter, too much where they do not, as it counts three times what
    seed and image do together (results/README.md, "How calibrated the statistics are").

    Args:
        a: (seeds, images).
        b: as a; other seeds, the same images in the same order.
        level: of the interval.
        pooled: spread over seeds from elsewhere, used for a side of a single seed. Without it, such a side makes the
            answer "checkpoint only", unless it is seedless.
        higher_is_better: which sign is "better".

    Raises:
        ValueError: as for `paired`.
    """
    ours, theirs = _common(a, b)
    gaps = ours.mean(axis=0) - theirs.mean(axis=0)
    n = len(gaps)
    parts = [_seed_part(side.seedless, values, pooled) for side, values in ((a, ours), (b, theirs))]
    found = Comparison(
        question="trained again",
        difference=float(gaps.mean()),
        center=float(gaps.mean()),
        error=None,
        degrees=None,
        images=n,
        seeds=(len(ours), len(theirs)),
        level=level,
        least_p=_least_p(gaps),
        higher_is_better=higher_is_better,
    )
    if any(part is None for part in parts) or n < 2:
        return found
    known = [part for part in parts if part is not None]
    images = max(0.0, float(gaps.var(ddof=1)) / n - sum(part.interaction for part in known))
    seeds, floor = sum(part.variance for part in known), GUARD * sum(part.interaction for part in known)
    raised = [part.raised(seeds, floor) for part in known]
    variance = max(images + sum(raised), _step(ours, theirs) ** 2)
    degrees = _degrees(raised, [part.degrees for part in known], images, n)
    return dataclasses.replace(found, error=math.sqrt(variance), degrees=degrees)


def retrained_scores(
    a: Sequence[float], b: Sequence[float], *, level: float = LEVEL, higher_is_better: bool = True
) -> Comparison:
    """The same for scores without outcomes of single images: Welch's test on one value for each seed.

    How other test images would move the scores is not in it: its question says so. Two seeds a side at least,
    otherwise "checkpoint only".

    Raises:
        ValueError: a side has no value.
    """
    if not len(a) or not len(b):
        raise ValueError("a difference of no scores cannot be; give one value for each seed, at least one a side")
    difference = float(np.mean(a) - np.mean(b))
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (a, b) if len(side) > 1]
    tested = len(parts) == 2
    return Comparison(
        question="trained again, on these images",
        difference=difference,
        center=difference,
        error=math.sqrt(sum(parts)) if tested and sum(parts) > 0 else None,
        degrees=_degrees(parts, [len(a) - 1.0, len(b) - 1.0], 0.0, 2) if tested and sum(parts) > 0 else None,
        images=0,
        seeds=(len(a), len(b)),
        level=level,
        higher_is_better=higher_is_better,
    )


def pooled_spread(samples: Sequence[SeedOutcomes]) -> Spread | None:
    """The spread over seeds of several rows together, for those of them that have one seed.

    It holds where rows move alike; on digits they do not (from 0 to 5 points), so pool what is alike. None where no
    row has two seeds.
    """
    several = [s.outcomes[:, ~np.isnan(s.outcomes).any(axis=0)] for s in samples if len(s.outcomes) > 1]
    degrees = [len(values) - 1.0 for values in several]
    if not several:
        return None
    variances = [float(values.mean(axis=1).var(ddof=1)) for values in several]
    return Spread(
        deviation=math.sqrt(np.average(variances, weights=degrees)),
        degrees=sum(degrees),
        interaction=float(np.average([_interaction(values) for values in several], weights=degrees)),
    )


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What training a side again adds to the variance of the difference."""

    variance: float
    """Of the mean over its seeds."""
    degrees: float
    interaction: float
    """The part of the variance that seed and image do together."""

    def raised(self, seeds: float, floor: float) -> float:
        """The variance, where that of both sides is raised to the floor in proportion."""
        if seeds >= floor:
            return self.variance
        return self.variance * floor / seeds if seeds > 0 else GUARD * self.interaction


def _seed_part(seedless: bool, values: NDArray[np.float64], pooled: Spread | None) -> _Part | None:
    seeds, n = values.shape
    if seedless:
        return _Part(variance=0.0, degrees=CERTAIN, interaction=0.0)
    if seeds > 1:
        variance = float(values.mean(axis=1).var(ddof=1)) / seeds
        return _Part(variance=variance, degrees=seeds - 1.0, interaction=_interaction(values) / (n * seeds))
    if pooled is None:
        return None
    return _Part(variance=pooled.deviation**2, degrees=pooled.degrees, interaction=pooled.interaction / n)


def _interaction(values: NDArray[np.float64]) -> float:
    """Variance of what seed and image do together: the residual mean square of seeds x images."""
    seeds, n = values.shape
    if n < 2:
        return 0.0
    rest = values - values.mean(axis=0)
    rest -= rest.mean(axis=1, keepdims=True)
    return float(np.square(rest).sum()) / float((seeds - 1) * (n - 1))


def _degrees(seeds: Sequence[float], own: Sequence[float], images: float, n: int) -> float:
    """Degrees of freedom of a sum of variances after Welch and Satterthwaite."""
    weighed = [variance * ((k + 2) / k if images else 1.0) for variance, k in zip(seeds, own, strict=True)]
    rough = sum(variance**2 / k for variance, k in zip(weighed, own, strict=True)) + images**2 / (n - 1)
    return float(min(CERTAIN, (sum(weighed) + images) ** 2 / rough)) if rough > 0 else n - 1.0


def _common(a: SeedOutcomes, b: SeedOutcomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sides on the images that have an outcome everywhere, as (seeds, images)."""
    ours, theirs = (np.atleast_2d(np.asarray(side.outcomes, dtype=np.float64)) for side in (a, b))
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"{ours.shape[1]} images against {theirs.shape[1]} cannot be paired; give outcomes on the same test images"
        )
    kept = ~(np.isnan(ours).any(axis=0) | np.isnan(theirs).any(axis=0))
    if not kept.any() or not len(ours) or not len(theirs):
        raise ValueError("no image has an outcome on both sides; at least one must")
    return ours[:, kept], theirs[:, kept]


def _step(*sides: NDArray[Any]) -> float:
    """What one image can move a mean by: no error is smaller. Outcomes within [0, 1] may have been 0 or 1."""
    low, high = min(float(side.min()) for side in sides), max(float(side.max()) for side in sides)
    reach = 1.0 if low >= 0 and high <= 1 else float(high - low)
    return reach / int(sides[0].shape[1])


def _least_p(gaps: NDArray[np.float64]) -> float:
    """Two-sided p of a sign test if all unequal images were to one side's favor."""
    return float(min(1.0, 2.0 ** (1 - int(np.count_nonzero(gaps)))))
