"""How each head was optimized where it was published.

Sources: AET's `classification.py` (`fc1`, `fc2`), RotNet's CIFAR-10 configurations (`fc3`, `conv`), Deep InfoMax's
`classification_eval.py` (`mlp`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class HeadRecipe:
    """Optimizer, batch and rates."""

    optimizer: Literal["sgd", "adam"]
    """`sgd`: momentum 0.9, Nesterov, weight decay 5e-4 on all parameters. `adam`: betas 0.5 and 0.999, no decay."""
    batch: int
    """Images per step."""
    rates: tuple[tuple[int, float], ...]
    """(epoch, rate before it), in order; the last rate holds from then on as well."""
    published_epochs: int
    """Of which the epochs in `rates` are a part."""
    stretches: bool = True
    """Whether the epochs in `rates` move in proportion when a head is trained for another number."""
    drop_last: bool = False
    """Leave out the last, smaller batch of an epoch (kept if it is the only one)."""

    def rate(self, epoch: int, epochs: int) -> float:
        """Learning rate of `epoch`, counted from 0, of `epochs`."""
        length = epochs if self.stretches else self.published_epochs
        for until, rate in self.rates:
            # In whole numbers, so that no rounding moves a step.
            if epoch * self.published_epochs < until * length:
                return rate
        return self.rates[-1][1]

    def described(self) -> str:
        """The optimizer with its numbers, for a record."""
        if self.optimizer == "sgd":
            return f"SGD, momentum {MOMENTUM}, Nesterov, weight decay {WEIGHT_DECAY}"
        return f"Adam, betas {BETAS[0]} and {BETAS[1]}"


MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
BETAS = (0.5, 0.999)
"""Those of cortex, the library that Deep InfoMax's code is built on."""

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
    # RotNet's. AET's code has the same block and one schedule for all its heads, that of `fc1`: 200 epochs; its paper
    # does not say which of the two its convolutional numbers come from.
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
"""Name of a head -> how it is trained."""
