"""Training recipes of the heads, as published.

Sources: AET's `classification.py` (`fc1`, `fc2`), RotNet's CIFAR-10 configurations (`fc3`, `conv`), Deep InfoMax's
`classification_eval.py` (`mlp`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class HeadRecipe:
    """Optimizer, batch size and learning rates of a head."""

    optimizer: Literal["sgd", "adam"]
    """`sgd`: momentum 0.9, Nesterov, weight decay 5e-4 on all parameters. `adam`: betas 0.5 and 0.999, no decay."""
    batch: int
    """Images per step."""
    rates: tuple[tuple[int, float], ...]
    """(epoch, learning rate before it), in order. The last rate also applies after the last epoch."""
    published_epochs: int
    """Number of epochs of the published training, to which the epochs in `rates` refer."""
    stretches: bool = True
    """Whether the epochs in `rates` scale with the number of epochs that a head is trained for."""
    drop_last: bool = False
    """Whether the last, smaller batch of an epoch is left out. It is kept if it is the only one."""

    def rate(self, epoch: int, epochs: int) -> float:
        """Learning rate of epoch number `epoch`, counted from 0, out of `epochs`."""
        length = epochs if self.stretches else self.published_epochs
        for until, rate in self.rates:
            # In whole numbers, so that rounding cannot move a step.
            if epoch * self.published_epochs < until * length:
                return rate
        return self.rates[-1][1]

    def description(self) -> str:
        """Description of the optimizer, for a record."""
        if self.optimizer == "sgd":
            return f"SGD, momentum {MOMENTUM}, Nesterov, weight decay {WEIGHT_DECAY}"
        return f"Adam, betas {BETAS[0]} and {BETAS[1]}"


MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
BETAS = (0.5, 0.999)
"""The default of cortex, the library that Deep InfoMax's code uses."""

_AET = HeadRecipe(optimizer="sgd", batch=128, rates=((100, 0.1), (150, 0.01), (200, 0.001)), published_epochs=200)
RECIPES: dict[str, HeadRecipe] = {
    "fc1": _AET,
    "fc2": _AET,
    "fc3": HeadRecipe(
        optimizer="sgd",
        batch=128,
        rates=((20, 0.1), (40, 0.02), (45, 0.004), (100, 0.0008)),
        published_epochs=100,
    ),
    # RotNet's schedule. AET's code has the same block and trains all its heads with the schedule of `fc1`, for 200 epochs;
    # its paper does not state which schedule its results with `conv` come from.
    "conv": HeadRecipe(
        optimizer="sgd",
        batch=128,
        rates=((35, 0.1), (70, 0.02), (85, 0.004), (100, 0.0008)),
        published_epochs=100,
    ),
    "mlp": HeadRecipe(
        optimizer="adam",
        batch=64,
        rates=((50, 1e-4), (100, 1e-5), (1000, 1e-6)),
        published_epochs=1000,
        stretches=False,
        drop_last=True,
    ),
}
"""Name of a head -> its recipe."""
