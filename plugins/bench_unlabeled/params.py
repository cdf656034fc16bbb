"""Parameters of each evaluator. This module imports no torch, so that listing stays fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _check_at_least(params: Any, **minimum: float) -> None:
    """Raises ValueError for the first parameter below its minimum."""
    for name, smallest in minimum.items():
        value = getattr(params, name)
        if value is not None and not smallest <= value < float("inf"):
            raise ValueError(f"{name}={value} is not valid: must be a number of {smallest} or more")


@dataclass(frozen=True, kw_only=True)
class ViewParams:
    """Augmentation of views: shift, horizontal flip, brightness, contrast."""

    pad: int | None = field(default=None, metadata={"help": "largest shift in pixels; none: an eighth of the side"})
    """0 or more."""
    flip: bool = field(default=True, metadata={"help": "flip horizontally with probability 1/2"})
    jitter: float = field(default=0.4, metadata={"help": "range 1 +- jitter of the brightness and contrast factors"})
    """From 0 to 1."""

    def __post_init__(self) -> None:
        _check_at_least(self, pad=0, jitter=0)
        if self.jitter > 1:
            raise ValueError(f"jitter={self.jitter} is not valid: must be from 0 to 1, such as 0.4")


@dataclass(frozen=True, kw_only=True)
class DecayParams:
    """Parameters of `alpha_req`: the ranks of the eigenvalues that the power law is fitted to."""

    first: int = field(default=11, metadata={"help": "first rank of the fit"})
    """1 or more. At most a tenth of the available ranks is left out before it."""
    last: int = field(default=100, metadata={"help": "last rank of the fit, if there are that many"})
    """At least `first` + 2."""

    def __post_init__(self) -> None:
        _check_at_least(self, first=1, last=self.first + 2)


@dataclass(frozen=True, kw_only=True)
class LidarParams(ViewParams):
    """Parameters of `lidar`."""

    views: int = field(default=10, metadata={"help": "views of each image"})
    """2 or more. The paper uses 50. Views are encoded again for every tap, and 10 take a fifth of the time."""
    images: int = field(default=1000, metadata={"help": "number of random test images; all if there are fewer"})
    """2 or more. 1000 as in the paper."""
    delta: float = field(default=1e-4, metadata={"help": "added to the variance within images"})
    """Above 0. 1e-4 as in the paper. It is a variance, so LiDAR depends on the scale of the features."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_at_least(self, views=2, images=2)
        if not 0 < self.delta < float("inf"):
            raise ValueError(f"delta={self.delta} is not valid: must be a number above 0, such as 0.0001")


@dataclass(frozen=True, kw_only=True)
class DimensionParams:
    """Parameters of `dimension`."""

    discard: float = field(default=0.1, metadata={"help": "fraction of the largest ratios left out of TwoNN"})
    """From 0 to below 1. 0.1 as in Facco et al. 2017."""

    def __post_init__(self) -> None:
        if not 0 <= self.discard < 1:
            raise ValueError(f"discard={self.discard} is not valid: must be from 0 to below 1, such as 0.1")


@dataclass(frozen=True, kw_only=True)
class AlignmentParams(ViewParams):
    """Parameters of `alignment`."""

    views: int = field(default=2, metadata={"help": "views of each image; all pairs are used"})
    """2 or more."""
    alpha: float = field(default=2.0, metadata={"help": "exponent of the distance"})
    """Above 0. 2 as in Wang and Isola 2020."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_at_least(self, views=2)
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha={self.alpha} is not valid: must be a number above 0, such as 2")


@dataclass(frozen=True, kw_only=True)
class UniformityParams:
    """Parameters of `uniformity`."""

    t: float = field(default=2.0, metadata={"help": "t in the Gaussian potential exp(-t distance^2)"})
    """Above 0. 2 as in Wang and Isola 2020."""

    def __post_init__(self) -> None:
        if not 0 < self.t < float("inf"):
            raise ValueError(f"t={self.t} is not valid: must be a number above 0, such as 2")


@dataclass(frozen=True, kw_only=True)
class SimilarityParams:
    """Parameters of `cka_taps`."""

    images: int = field(default=2000, metadata={"help": "number of random test images; all if there are fewer"})
    """4 or more. The estimator is unbiased: fewer images increase its variance, not its mean."""

    def __post_init__(self) -> None:
        _check_at_least(self, images=4)


@dataclass(frozen=True, kw_only=True)
class ClusteringParams:
    """Parameters of `clustering`."""

    starts: int = field(default=10, metadata={"help": "k-means runs; the one with the smallest inertia is scored"})
    """1 or more."""

    def __post_init__(self) -> None:
        _check_at_least(self, starts=1)


@dataclass(frozen=True, kw_only=True)
class StabilityParams(ViewParams):
    """Parameters of `stability`."""

    k: int = field(default=10, metadata={"help": "number of nearest neighbors, at most all others"})
    """1 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_at_least(self, k=1)
