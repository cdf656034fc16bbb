"""Makers of outcomes and comparisons for the tests of statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.stats.comparison import Comparison
from benchmark.stats.significance import SeedOutcomes


def sample(values: Any, seedless: bool = False) -> SeedOutcomes:
    """Outcomes as (seeds, images); a flat list is one seed."""
    return SeedOutcomes(outcomes=np.atleast_2d(np.asarray(values, dtype=float)), seedless=seedless)


def random_outcomes(seed: int, share: float, shape: tuple[int, ...] = (3, 400)) -> NDArray[np.float64]:
    """(seeds, images) independent outcomes of 0 or 1, of which about `share` are 1."""
    return (np.random.default_rng(seed).random(shape) < share).astype(float)


def comparison_of(
    center: float, standard_error: float | None = 1.0, degrees_of_freedom: float | None = 4.0, **changes: Any
) -> Comparison:
    """A comparison of two methods with three seeds and 100 images."""
    fields: dict[str, Any] = {"question": "methods across seeds", "images": 100, "seeds": (3, 3), **changes}
    return Comparison(
        difference=center, center=center, standard_error=standard_error, degrees_of_freedom=degrees_of_freedom, **fields
    )
