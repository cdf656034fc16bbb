"""Whether two scores differ: two checkpoints on the same images, or two methods across seeds.

`compare_checkpoints` treats the test images as the only source of variance. `compare_methods` also treats the seeds as one: it
answers what happens with other seeds and other images. A paired test on two checkpoints, used for the second question, raises
false alarms: 51 % of the time at a seed standard deviation of half a point and n = 10,000.
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
"""Lower bound of the variance of seed means, as a fraction of their seed x image interaction variance. With independent images,
seed means vary at least by that interaction; a sample variance below this fraction of it is raised to the bound. Without it,
seeds that agree on every image by luck would give an interval of zero width. Larger fractions make intervals too wide where
seeds do not matter (coverage .989 at 0.5, .965 to .975 at 0.1 to 0.25)."""


@dataclass(frozen=True, kw_only=True)
class SeedOutcomes:
    """Per-image outcomes of one method, from one or several trainings."""

    outcomes: NDArray[np.float64]
    """(seeds, images); NaN for an image without an outcome, which is then excluded on both sides."""
    seedless: bool = False
    """Whether the method has no randomness, such as raw pixels: another training would give the same outcomes."""


@dataclass(frozen=True, kw_only=True)
class SeedSpread:
    """How far a score moves across seeds, estimated from other rows."""

    standard_deviation: float
    """Standard deviation of the score across seeds, on the same number of images as are compared; in the unit of the
    score."""
    degrees_of_freedom: float
    """Sum of (seeds - 1) over the rows that were pooled."""
    interaction: float = 0.0
    """Seed x image interaction variance of one image; 0 if unknown, which makes intervals wider."""


def compare_checkpoints(
    a: SeedOutcomes, b: SeedOutcomes, *, level: float = LEVEL, higher_is_better: bool = True
) -> Comparison:
    """Whether these checkpoints differ by more than the choice of test images explains: a test paired on images.

    With one training on each side and outcomes of 0 or 1, two pseudo-images are added, one correct on each side (Bonett and
    Price 2012, adjusted Wald interval for paired proportions): it is calibrated down to few unequal images, where the plain
    interval is too narrow. In all other cases it is Student's t on per-image differences; the seeds of a side are averaged. A
    paired bootstrap gives the same with thousands of images, takes a thousand times as long, and is too narrow where few
    images differ.

    Args:
        a: (seeds, images).
        b: (seeds, images), the same images in the same order.
        level: of the interval.
        higher_is_better: of the score.

    Raises:
        ValueError: the numbers of images differ, or no image has an outcome on both sides.
    """
    outcomes_a, outcomes_b = _on_common_images(a, b)
    differences = outcomes_a.mean(axis=0) - outcomes_b.mean(axis=0)
    n = len(differences)
    one_each = len(outcomes_a) == len(outcomes_b) == 1
    if one_each and all(np.isin(side, (0.0, 1.0)).all() for side in (outcomes_a, outcomes_b)):
        padded = np.append(differences, (1.0, -1.0))
        center, variance, degrees = padded.mean(), padded.var() / len(padded), CERTAIN
    else:
        center, degrees = differences.mean(), n - 1.0
        variance = max(differences.var(ddof=1) / n, _resolution(outcomes_a, outcomes_b) ** 2) if n > 1 else math.nan
    return Comparison(
        question="these checkpoints",
        difference=float(differences.mean()),
        center=float(center),
        standard_error=None if math.isnan(variance) else math.sqrt(variance),
        degrees_of_freedom=float(degrees),
        images=n,
        seeds=(len(outcomes_a), len(outcomes_b)),
        level=level,
        smallest_p=_sign_test_p(differences),
        higher_is_better=higher_is_better,
    )


def compare_methods(
    a: SeedOutcomes,
    b: SeedOutcomes,
    *,
    level: float = LEVEL,
    pooled: SeedSpread | None = None,
    higher_is_better: bool = True,
) -> Comparison:
    """Whether two methods differ across seeds and test images.

    Seeds of A and B are independent trainings and are not paired; images are paired. The variance of the difference is the sum
    of three terms: the variance of A's seed means divided by its number of seeds, the same for B, and the image variance of
    the paired difference minus the seed x image interaction, which the seed means already contain (two-way analysis of
    variance with crossed random effects). Student's t with degrees of freedom after Welch (1947) and Satterthwaite (1946); the
    variances over k + 1 seeds are scaled by (k + 2) / k in that formula, because an estimate with 2 or 4 degrees of freedom is
    often too small by chance. With 3 and 5 seeds this covers 95 to 97 %. A percentile bootstrap crossed over seeds and images
    covers 83 to 98 %: too little where seeds matter, too much where they do not, because it counts the seed x image
    interaction three times (docs/explanation/two-questions.md, "Calibration").

    Args:
        a: (seeds, images).
        b: (seeds, images), other seeds, the same images in the same order.
        level: of the interval.
        pooled: spread over seeds from other rows, used for a side with a single seed. Without it, such a side makes the
            verdict "checkpoint only", unless it is seedless.
        higher_is_better: of the score.

    Raises:
        ValueError: as for `compare_checkpoints`.
    """
    outcomes_a, outcomes_b = _on_common_images(a, b)
    differences = outcomes_a.mean(axis=0) - outcomes_b.mean(axis=0)
    n = len(differences)
    comparison = Comparison(
        question="methods across seeds",
        difference=float(differences.mean()),
        center=float(differences.mean()),
        standard_error=None,
        degrees_of_freedom=None,
        images=n,
        seeds=(len(outcomes_a), len(outcomes_b)),
        level=level,
        smallest_p=_sign_test_p(differences),
        higher_is_better=higher_is_better,
    )
    seed_a = _seed_variance(a.seedless, outcomes_a, pooled)
    seed_b = _seed_variance(b.seedless, outcomes_b, pooled)
    if seed_a is None or seed_b is None or n < 2:
        return comparison
    interaction = seed_a.interaction + seed_b.interaction
    image_variance = max(0.0, float(differences.var(ddof=1)) / n - interaction)
    total, bound = seed_a.variance + seed_b.variance, GUARD * interaction
    raised = [side.raised(total, bound) for side in (seed_a, seed_b)]
    variance = max(image_variance + sum(raised), _resolution(outcomes_a, outcomes_b) ** 2)
    degrees = _satterthwaite(raised, [side.degrees_of_freedom for side in (seed_a, seed_b)], image_variance, n)
    return dataclasses.replace(comparison, standard_error=math.sqrt(variance), degrees_of_freedom=degrees)


def compare_methods_by_score(
    a: Sequence[float], b: Sequence[float], *, level: float = LEVEL, higher_is_better: bool = True
) -> Comparison:
    """Whether two methods differ across seeds, for scores without per-image outcomes: Welch's t-test (1947).

    The variance over test images is not included, and `Comparison.question` says so. Needs two seeds on each side, otherwise
    the verdict is "checkpoint only".

    Args:
        a: one score per seed.
        b: one score per seed.
        level: of the interval.
        higher_is_better: of the score.

    Raises:
        ValueError: a side has no score.
    """
    if not len(a) or not len(b):
        raise ValueError("difference of no scores: give at least one score per side, one for each seed")
    difference = float(np.mean(a) - np.mean(b))
    variances = [float(np.var(side, ddof=1)) / len(side) for side in (a, b) if len(side) > 1]
    testable = len(variances) == 2 and sum(variances) > 0
    return Comparison(
        question="methods across seeds, on these images",
        difference=difference,
        center=difference,
        standard_error=math.sqrt(sum(variances)) if testable else None,
        degrees_of_freedom=_satterthwaite(variances, [len(a) - 1.0, len(b) - 1.0], 0.0, 2) if testable else None,
        images=0,
        seeds=(len(a), len(b)),
        level=level,
        higher_is_better=higher_is_better,
    )


def pool_spread(samples: Sequence[SeedOutcomes]) -> SeedSpread | None:
    """The spread over seeds pooled over several rows, for rows of a single seed.

    The pooled variance is the mean of the rows' variances, weighted by their degrees of freedom. It is valid where rows have
    similar spreads; on digits they range from 0 to 5 points, so pool similar rows only. None if no row has two seeds.
    """
    outcomes = [s.outcomes[:, ~np.isnan(s.outcomes).any(axis=0)] for s in samples if len(s.outcomes) > 1]
    degrees = [len(values) - 1.0 for values in outcomes]
    if not outcomes:
        return None
    variances = [float(values.mean(axis=1).var(ddof=1)) for values in outcomes]
    return SeedSpread(
        standard_deviation=math.sqrt(np.average(variances, weights=degrees)),
        degrees_of_freedom=sum(degrees),
        interaction=float(np.average([_interaction(values) for values in outcomes], weights=degrees)),
    )


@dataclass(frozen=True, kw_only=True)
class _SeedVariance:
    """What the seeds of one side contribute to the variance of the difference."""

    variance: float
    """Variance of the mean over the side's seeds."""
    degrees_of_freedom: float
    interaction: float
    """The part of the variance that is seed x image interaction."""

    def raised(self, total: float, bound: float) -> float:
        """The variance, scaled up in proportion if both sides together are below the bound."""
        if total >= bound:
            return self.variance
        return self.variance * bound / total if total > 0 else GUARD * self.interaction


def _seed_variance(seedless: bool, values: NDArray[np.float64], pooled: SeedSpread | None) -> _SeedVariance | None:
    """The seed variance of one side; None if it is unknown."""
    seeds, n = values.shape
    if seedless:
        return _SeedVariance(variance=0.0, degrees_of_freedom=CERTAIN, interaction=0.0)
    if seeds > 1:
        variance = float(values.mean(axis=1).var(ddof=1)) / seeds
        interaction = _interaction(values) / (n * seeds)
        return _SeedVariance(variance=variance, degrees_of_freedom=seeds - 1.0, interaction=interaction)
    if pooled is None:
        return None
    return _SeedVariance(
        variance=pooled.standard_deviation**2,
        degrees_of_freedom=pooled.degrees_of_freedom,
        interaction=pooled.interaction / n,
    )


def _interaction(values: NDArray[np.float64]) -> float:
    """Seed x image interaction variance: the residual mean square of a (seeds, images) table without replicates."""
    seeds, n = values.shape
    if n < 2:
        return 0.0
    residuals = values - values.mean(axis=0)
    residuals -= residuals.mean(axis=1, keepdims=True)
    return float(np.square(residuals).sum()) / float((seeds - 1) * (n - 1))


def _satterthwaite(seed_variances: Sequence[float], degrees: Sequence[float], image_variance: float, n: int) -> float:
    """Degrees of freedom of a sum of variances (Welch 1947, Satterthwaite 1946); `compare_methods` explains the scaling."""
    scaled = [
        variance * ((k + 2) / k if image_variance else 1.0) for variance, k in zip(seed_variances, degrees, strict=True)
    ]
    denominator = sum(variance**2 / k for variance, k in zip(scaled, degrees, strict=True))
    denominator += image_variance**2 / (n - 1)
    return float(min(CERTAIN, (sum(scaled) + image_variance) ** 2 / denominator)) if denominator > 0 else n - 1.0


def _on_common_images(a: SeedOutcomes, b: SeedOutcomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sides as (seeds, images), restricted to images that have every outcome."""
    outcomes_a, outcomes_b = (np.atleast_2d(np.asarray(side.outcomes, dtype=np.float64)) for side in (a, b))
    if outcomes_a.shape[1] != outcomes_b.shape[1]:
        raise ValueError(
            f"{outcomes_a.shape[1]} images against {outcomes_b.shape[1]} cannot be paired; give outcomes on the same test "
            "images"
        )
    complete = ~(np.isnan(outcomes_a).any(axis=0) | np.isnan(outcomes_b).any(axis=0))
    if not complete.any() or not len(outcomes_a) or not len(outcomes_b):
        raise ValueError("no image has an outcome on both sides; at least one is needed")
    return outcomes_a[:, complete], outcomes_b[:, complete]


def _resolution(*sides: NDArray[Any]) -> float:
    """The change of a mean caused by one image, a lower bound of every standard error. Outcomes in [0, 1] may be 0 or 1."""
    low, high = min(float(side.min()) for side in sides), max(float(side.max()) for side in sides)
    width = 1.0 if low >= 0 and high <= 1 else float(high - low)
    return width / int(sides[0].shape[1])


def _sign_test_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p-value of a sign test if every unequal image favors the same side."""
    return float(min(1.0, 2.0 ** (1 - int(np.count_nonzero(differences)))))
