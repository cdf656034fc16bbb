"""Recipes: optimizer, learning-rate schedule, batch size and augmentation of one training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "linear", "milestones"]
Augment = Literal["none", "crop", "flip", "crop-flip"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a method is trained.

    The plan resolves every number. All fields are recorded and are part of the cell's identity.
    """

    epochs: int = 6
    """Passes over the training images; 0 for methods that do not train."""
    batch: int = 64
    """Images per step, before a method makes several views of each."""
    optimizer: Optimizer = "adam"
    """`sgd`, `adam` or `adamw`."""
    lr: float = 1e-3
    """Highest learning rate."""
    momentum: float = 0.9
    """In [0, 1); SGD only."""
    nesterov: bool = True
    """Nesterov momentum; SGD only."""
    beta1: float = 0.9
    """In [0, 1); Adam and AdamW only."""
    beta2: float = 0.999
    """In [0, 1); Adam and AdamW only."""
    weight_decay: float = 0.0
    """On all parameters: L2 penalty for SGD and Adam, decoupled for AdamW."""
    schedule: Schedule = "cosine"
    """Learning rate over time.

    `constant`; `cosine` or `linear` decay to `final_lr`, per step; `milestones`: multiplied by `factor` at each of
    `milestones`, per epoch."""
    milestones: tuple[int, ...] = ()
    """Epochs at which the learning rate is multiplied by `factor`."""
    factor: float = 0.2
    """Multiplier at each milestone."""
    linear_from: int | None = None
    """Only with milestones: from this epoch, linear decay to `final_lr` in the last epoch (AET's released schedule)."""
    final_lr: float = 0.0
    """Learning rate at the end of `cosine`, `linear` and `linear_from`."""
    warmup: int = 0
    """Epochs of linear warm-up from 0, per step."""
    drop_last: bool = True
    """Leave out the last, smaller batch of an epoch, unless it is the only one."""
    augment: Augment = "crop-flip"
    """Augmentation that the harness applies to `Batch.images`: random crop from `pad` black pixels, random horizontal
    flip."""
    pad: int = 4
    """Pixels of black border for the random crop; default recipes use an eighth of the image height."""
    mean: tuple[float, ...] | None = None
    """Normalization per channel, for images in [0, 1]; None: computed from the training images."""
    std: tuple[float, ...] | None = None
    """Normalization per channel, for images in [0, 1]; None: computed from the training images."""
    clip: float | None = None
    """Maximum norm of the gradient; None: no clipping."""


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe with another number of epochs; milestones, warm-up and `linear_from` scale in proportion.

    None keeps the recipe; a recipe without training is never changed.
    """
    if epochs is None or recipe.epochs == 0:
        return recipe
    scale = epochs / recipe.epochs
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        milestones=tuple(round(milestone * scale) for milestone in recipe.milestones),
        linear_from=None if recipe.linear_from is None else round(recipe.linear_from * scale),
        warmup=round(recipe.warmup * scale),
    )
