"""Parameters of each head. This module imports no torch, so that listing stays fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class LabelParams:
    """The number of labels, and the number of repetitions."""

    per_class: int | None = field(default=None, metadata={"help": "training labels per class; none: all"})
    """1 or more; published: 20, 100, 400, 1000, 5000. Each of the `draws` has its own."""
    draws: int = field(default=1, metadata={"help": "number of trainings; scores are means over them"})
    """1 or more. Each has its own initialization and order of images and, with `per_class`, its own images. (RotNet's code
    takes the first images of each class.)"""

    def __post_init__(self) -> None:
        if self.per_class is not None:
            _check_at_least_one("per_class", self.per_class, "20, or none for all labels")
        _check_at_least_one("draws", self.draws, "5")


@dataclass(frozen=True, kw_only=True)
class HeadParams(LabelParams):
    """Parameters of `mlp`."""

    epochs: int = field(default=1000, metadata={"help": "epochs of the head"})
    """1 or more. 1000 as in Deep InfoMax's README. The learning rate drops at epochs 50 and 100 for any number of epochs, so
    150 is the same training without the last 850 epochs at a hundredth of the initial rate."""
    best: bool = field(default=False, metadata={"help": "also report the best epoch on test, as AET and RotNet do"})
    """Scores test after every epoch and adds `best_epoch_accuracy`. It is chosen on test and therefore too high; it shows how
    much of the difference to a published value comes from that choice. `accuracy` is still that of the last epoch."""

    @property
    def augmented(self) -> bool:
        """Whether every step encodes new random crops and flips."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_at_least_one("epochs", self.epochs, "100")


@dataclass(frozen=True, kw_only=True)
class AetHeadParams(HeadParams):
    """Parameters of `fc1` and `fc2`."""

    epochs: int = field(default=200, metadata={"help": "epochs of the head; the schedule scales with them"})
    """1 or more. 200 as in AET's code."""
    augment: bool = field(default=True, metadata={"help": "encode new crops and flips in every step; false is faster"})
    """Flips, and crops with a border of 1/8 of the side (4 of 32 pixels), as in AET's and RotNet's code."""

    @property
    def augmented(self) -> bool:
        """Whether every step encodes new random crops and flips."""
        return self.augment


@dataclass(frozen=True, kw_only=True)
class RotNetHeadParams(AetHeadParams):
    """Parameters of `fc3` and `conv`."""

    epochs: int = field(default=100, metadata={"help": "epochs of the head; the schedule scales with them"})
    """1 or more. 100 as in RotNet's code."""


@dataclass(frozen=True, kw_only=True)
class SvmParams(LabelParams):
    """Parameters of `svm`."""

    c: float = field(default=1.0, metadata={"help": "weight of the hinge loss relative to L2"})
    """Above 0, in 1/2 |weights|^2 + c * sum of hinge losses. Deep InfoMax does not state its value; 1 is scikit-learn's."""
    iterations: int = field(default=1000, metadata={"help": "largest number of solver iterations"})
    """1 or more. A fit that does not converge is scored anyway; the details record it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.c < math.inf:
            raise ValueError(f"c={self.c} is not valid: must be a number above 0, such as 1")
        _check_at_least_one("iterations", self.iterations, "1000")


def _check_at_least_one(name: str, value: int, example: str) -> None:
    if value < 1:
        raise ValueError(f"{name}={value} is not valid: must be a whole number of 1 or more, such as {example}")
