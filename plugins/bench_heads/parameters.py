"""What can be set about each head; no torch here, so that listing stays fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class LabelParams:
    """How many labels a head is given, and how often it is trained."""

    per_class: int | None = field(
        default=None, metadata={"help": "training labels of each class that the head is given; none: all of them"}
    )
    """1 or more; published: 20, 100, 400, 1000, 5000. They are drawn anew for each of the `draws`."""
    draws: int = field(default=1, metadata={"help": "how often the head is trained afresh; scores are means over them"})
    """1 or more. Each has its own start and order of images and, with `per_class`, its own images,
    where RotNet's code takes the first of each class and has no spread."""

    def __post_init__(self) -> None:
        if self.per_class is not None:
            _refuse_below_one("per_class", self.per_class, "20, or none for all labels")
        _refuse_below_one("draws", self.draws, "5")


@dataclass(frozen=True, kw_only=True)
class HeadParams(LabelParams):
    """Parameters of `mlp`."""

    epochs: int = field(default=1000, metadata={"help": "passes over the training images"})
    """1 or more. 1000 as in Deep InfoMax's README; its rate falls at epochs 50 and 100 whatever the number, so that 150
    is the same training without 850 epochs at a hundredth of the rate."""
    best: bool = field(
        default=False, metadata={"help": "also give the best epoch on test, as AET and RotNet do; never the headline"}
    )
    """Scores test after every epoch and adds `best_epoch_accuracy`, which is chosen on test and therefore too high: it says
    how much of a distance to a published figure comes from that choice. `accuracy` stays that of the last epoch."""

    @property
    def augmented(self) -> bool:
        """Whether every step encodes new crops and flips."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_below_one("epochs", self.epochs, "100")


@dataclass(frozen=True, kw_only=True)
class AetHeadParams(HeadParams):
    """Parameters of `fc1` and `fc2`."""

    epochs: int = field(
        default=200, metadata={"help": "passes over the training images; the rate's steps stretch with it"}
    )
    """1 or more. 200 as in AET's code."""
    augment: bool = field(
        default=True, metadata={"help": "encode new crops and flips at every step; false is much faster"}
    )
    """Crops from a border of an eighth of the side (4 of 32 pixels) and flips, as in AET's and RotNet's code."""

    @property
    def augmented(self) -> bool:
        """Whether every step encodes new crops and flips."""
        return self.augment


@dataclass(frozen=True, kw_only=True)
class RotNetHeadParams(AetHeadParams):
    """Parameters of `fc3` and `conv`."""

    epochs: int = field(
        default=100, metadata={"help": "passes over the training images; the rate's steps stretch with it"}
    )
    """1 or more. 100 as in RotNet's code."""


@dataclass(frozen=True, kw_only=True)
class SvmParams(LabelParams):
    """Parameters of `svm`."""

    c: float = field(default=1.0, metadata={"help": "weight of the hinge losses against the squared weights"})
    """Above 0, in 1/2 |weights|^2 + c * sum of hinge losses. Deep InfoMax does not state its own; 1 is scikit-learn's."""
    iterations: int = field(default=1000, metadata={"help": "largest number of passes of the solver over the images"})
    """1 or more. What needs more is scored as it is; the details say so."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.c < math.inf:
            raise ValueError(f"c={self.c} cannot be; it is a number above 0, such as 1")
        _refuse_below_one("iterations", self.iterations, "1000")


def _refuse_below_one(name: str, value: int, example: str) -> None:
    if value < 1:
        raise ValueError(f"{name}={value} cannot be; it is a whole number of 1 or more, such as {example}")
