"""The values that a metric can have. They follow from its unit; those of the evaluators in this repository are listed.

Records of earlier versions hold no units. A metric without a known range may have any finite value.
"""

from __future__ import annotations

import functools
from math import inf

Range = tuple[float, float]
"""Lowest and highest value."""
ANY: Range = (-inf, inf)
OF_UNIT: dict[str, Range] = {"fraction": (0, 1), "count": (0, inf), "dimensions": (0, inf), "distance": (0, inf)}
"""Unit of a `benchmark.Metric` -> range. Other units have none."""
FRACTIONS = {
    **dict.fromkeys(("linear", "svm"), ("accuracy",)),
    **dict.fromkeys(("conv", "fc1", "fc2", "fc3", "mlp"), ("accuracy", "best_epoch_accuracy")),
    "knn": ("accuracy", "vote_accuracy"),
    "retrieval": ("map", "r_precision", "precision", "recall"),
    "clustering": ("nmi",),
    "stability": ("stability",),
}
"""Evaluator -> its metrics that are fractions."""
OF_METRIC: dict[tuple[str, str], Range] = {
    **{(evaluator, metric): (0, 1) for evaluator, metrics in FRACTIONS.items() for metric in metrics},
    ("clustering", "ari"): (-1, 1),
    ("clustering", "ami"): (-inf, 1),
    ("rankme", "rankme"): (0, inf),
    ("lidar", "lidar"): (0, inf),
    ("dimension", "participation_ratio"): (0, inf),
    ("dimension", "two_nn"): (0, inf),
    ("alignment", "alignment"): (0, inf),
    ("uniformity", "uniformity"): (-inf, 0),
    ("alpha_req", "distance_from_one"): (0, inf),
}
"""Evaluator and metric -> range."""
ROUNDING = 1e-6
"""By how much rounding may move a value out of its range."""


@functools.lru_cache(maxsize=4096)
def range_of(protocol: str, metric: str, unit: str = "") -> Range:
    """The range of a metric, widened by rounding errors.

    Args:
        protocol: evaluator and version, `knn@1`.
        metric: with or without a setting: `accuracy@k=20`.
        unit: of the metric; empty if it is not recorded.
    """
    key = (protocol.partition("@")[0], metric.partition("@")[0])
    low, high = OF_METRIC.get(key) or OF_UNIT.get(unit, ANY)
    return low - ROUNDING, high + ROUNDING


def range_text(protocol: str, metric: str, unit: str = "") -> str:
    """A range for messages: `between 0 and 1`, `0 or more`, `0 or less`."""
    low, high = (round(each, 3) + 0.0 if abs(each) < inf else each for each in range_of(protocol, metric, unit))
    if low > -inf and high < inf:
        return f"between {low:g} and {high:g}"
    return f"{low:g} or more" if low > -inf else f"{high:g} or less"
