"""What can be set about each evaluator; no torch here, so that listing stays fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _at_least(params: Any, **least: float) -> None:
    """Refuses the first parameter that lies below its least value."""
    for name, smallest in least.items():
        value = getattr(params, name)
        if value is not None and not smallest <= value < float("inf"):
            raise ValueError(f"{name}={value} cannot be; it is a number of {smallest} or more")


@dataclass(frozen=True, kw_only=True)
class ViewParams:
    """How views of an image are made: shifted, mirrored, then brighter or darker with more or less contrast."""

    pad: int | None = field(
        default=None, metadata={"help": "largest shift in pixels each way; none: an eighth of the side"}
    )
    """0 or more."""
    flip: bool = field(default=True, metadata={"help": "mirror left to right every other time"})
    jitter: float = field(
        default=0.4, metadata={"help": "brightness and contrast change by a factor within 1 +- jitter"}
    )
    """From 0 to 1."""

    def __post_init__(self) -> None:
        _at_least(self, pad=0, jitter=0)
        if self.jitter > 1:
            raise ValueError(f"jitter={self.jitter} cannot be; it lies between 0 and 1, such as 0.4")


@dataclass(frozen=True, kw_only=True)
class DecayParams:
    """Parameters of `alpha_req`: the ranks of the eigenvalues that the power law is fitted to."""

    first: int = field(default=11, metadata={"help": "first rank of the fit"})
    """1 or more. Not more than a tenth of the ranks that there are is left out before it."""
    last: int = field(default=100, metadata={"help": "last rank of the fit, where there are so many"})
    """At least `first` + 2."""

    def __post_init__(self) -> None:
        _at_least(self, first=1, last=self.first + 2)


@dataclass(frozen=True, kw_only=True)
class LidarParams(ViewParams):
    """Parameters of `lidar`."""

    views: int = field(default=10, metadata={"help": "views of each image"})
    """2 or more. The paper takes 50; ten cost a fifth, and they are encoded for every tap."""
    images: int = field(
        default=1000, metadata={"help": "test images, drawn once for a dataset; all if there are fewer"}
    )
    """2 or more. 1000 as in the paper."""
    delta: float = field(default=1e-4, metadata={"help": "added to the variance within images along each direction"})
    """Above 0. 1e-4 as in the paper: a variance, so that features of another scale give another LiDAR."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(self, views=2, images=2)
        if not 0 < self.delta < float("inf"):
            raise ValueError(f"delta={self.delta} cannot be; it is a number above 0, such as 0.0001")


@dataclass(frozen=True, kw_only=True)
class DimensionParams:
    """Parameters of `dimension`."""

    discard: float = field(
        default=0.1, metadata={"help": "part of the images, those of largest ratio, left out of TwoNN"}
    )
    """From 0 to below 1. 0.1 as in Facco et al. 2017."""

    def __post_init__(self) -> None:
        if not 0 <= self.discard < 1:
            raise ValueError(f"discard={self.discard} cannot be; it lies between 0 and 1, such as 0.1")


@dataclass(frozen=True, kw_only=True)
class AlignmentParams(ViewParams):
    """Parameters of `alignment`."""

    views: int = field(default=2, metadata={"help": "views of each image, of which all pairs count"})
    """2 or more."""
    alpha: float = field(default=2.0, metadata={"help": "power of the distance"})
    """Above 0. 2 as in Wang and Isola 2020."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(self, views=2)
        if not 0 < self.alpha < float("inf"):
            raise ValueError(f"alpha={self.alpha} cannot be; it is a number above 0, such as 2")


@dataclass(frozen=True, kw_only=True)
class UniformityParams:
    """Parameters of `uniformity`."""

    t: float = field(default=2.0, metadata={"help": "narrowness of the Gaussian potential exp(-t distance^2)"})
    """Above 0. 2 as in Wang and Isola 2020."""

    def __post_init__(self) -> None:
        if not 0 < self.t < float("inf"):
            raise ValueError(f"t={self.t} cannot be; it is a number above 0, such as 2")


@dataclass(frozen=True, kw_only=True)
class SimilarityParams:
    """Parameters of `cka_taps`."""

    images: int = field(
        default=2000, metadata={"help": "test images, drawn once for a dataset; all if there are fewer"}
    )
    """4 or more. The estimator is unbiased: fewer images make it noisier, not larger."""

    def __post_init__(self) -> None:
        _at_least(self, images=4)


@dataclass(frozen=True, kw_only=True)
class ClusteringParams:
    """Parameters of `clustering`."""

    starts: int = field(default=10, metadata={"help": "k-means runs, of which the one with the least inertia counts"})
    """1 or more."""

    def __post_init__(self) -> None:
        _at_least(self, starts=1)


@dataclass(frozen=True, kw_only=True)
class StabilityParams(ViewParams):
    """Parameters of `stability`."""

    k: int = field(default=10, metadata={"help": "nearest neighbors that are compared; all others if there are fewer"})
    """1 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(self, k=1)
