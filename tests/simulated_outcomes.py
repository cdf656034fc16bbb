"""Simulated per-image outcomes over seeds, drawn from a model with a known truth that imitates real cells.

An image is classified correctly if c + seed + image + rest > 0. `seed` is normal and shifts the whole score of a training,
`image` is how easy an image is for the method (partly for every method), `rest` is the seed x image interaction. Graded
outcomes, such as average precision, are the normal distribution function of the same sum.

The numbers were estimated from results/digits.jsonl and results/digits.outcomes.npz (commit 66d6b23: 35 rows of method x
encoder x tap with seeds 0 to 2, 360 images), by two-way analysis of variance of seeds x images. Deviations are root mean
squares over rows, correlations of an image's outcomes are medians:

| headline score    | deviation of seed means | without rest | the same, rows >= .9 | correlation, other seed | other method |
|-------------------|-------------------------|--------------|----------------------|-------------------------|--------------|
| linear accuracy   | .0101                   | .0057        | .0012                | .385                    | .303         |
| knn accuracy@k=20 | .0160                   | .0116        | .0062                | .405                    | .260         |
| retrieval map     | .0183                   | .0176        | .0057                | .711                    | .364         |

Between the three scores of a cell, images correlate at .48 to .65, rest at .21 to .31, seeds at .13. results/cifar10-jpeg.* has
two seeds of one cell only (untrained, dim_conv, 10,000 images): its six linear and knn scores have a deviation of .0097 without
rest, and correlations of .28 to .58. Published SimCLR runs have .002 (ResNet-18, CIFAR-10, 3 seeds).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
NORMAL = NormalDist()
SCALE = 0.55
"""Scale of image and rest in graded outcomes: gives them the standard deviation of average precision on digits, .19."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The distribution of a score, as measured on real cells."""

    mean: float
    deviation: float
    """Standard deviation over seeds, without rest, in the unit of the score."""
    same: float
    """Correlation of c + image + rest between two seeds. For 0/1 outcomes it is tetrachoric: outcomes have the table's."""
    other: float
    """Likewise between two methods."""
    graded: bool = False


LINEAR = Kind(mean=0.95, deviation=0.0057, same=0.725, other=0.632)
KNN = Kind(mean=0.92, deviation=0.0116, same=0.713, other=0.538)
RETRIEVAL = Kind(mean=0.6, deviation=0.0176, same=0.72, other=0.36, graded=True)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Outcomes of one method over several trainings."""

    outcomes: NDArray[np.float64]
    """(seeds, images)."""
    truth: float
    """Expected score over all seeds and images."""
    checkpoints: Floats
    """(seeds,) expected score of each training over all images."""


def normal(generator: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Standard normal numbers in single precision, which is twice as fast."""
    return generator.standard_normal(shape, dtype=np.float32)


def images(generator: np.random.Generator, kind: Kind, shared: NDArray[np.float32]) -> NDArray[np.float32]:
    """(images,) how easy each image is for one method, given how easy it is for all methods (`shared`)."""
    own = normal(generator, len(shared))
    return np.float32(math.sqrt(kind.other)) * shared + np.float32(math.sqrt(kind.same - kind.other)) * own


def trained(
    generator: np.random.Generator,
    kind: Kind,
    seeds: int,
    easy: NDArray[np.float32],
    *,
    shift: float = 0.0,
    rest: NDArray[np.float32] | None = None,
) -> Drawn:
    """Draws the outcomes of several trainings of one method.

    Args:
        generator: of all random numbers.
        kind: distribution of the score.
        seeds: number of trainings.
        easy: (images,) from `images`.
        shift: added to the mean of the score.
        rest: (seeds, images) standard normal; None: drawn.
    """
    rest = normal(generator, seeds, len(easy)) if rest is None else rest
    image_and_rest = easy + np.float32(math.sqrt(1 - kind.same)) * rest
    # E[cdf(c + seed + SCALE z)] = cdf((c + seed) / width) for graded outcomes; P(c + seed + z > 0) is the same at width 1.
    width = math.hypot(1, SCALE) if kind.graded else 1.0
    score = NORMAL.inv_cdf(kind.mean + shift)
    spread = kind.deviation / NORMAL.pdf(score) * width
    center = score * math.hypot(width, spread)
    moved = center + spread * generator.standard_normal(seeds)
    latent = moved[:, None].astype(np.float32) + (np.float32(SCALE) * image_and_rest if kind.graded else image_and_rest)
    return Drawn(
        outcomes=(ndtr(latent) if kind.graded else latent > 0).astype(np.float64),
        truth=kind.mean + shift,
        checkpoints=ndtr(moved / width),
    )
