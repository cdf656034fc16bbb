"""Recipes: optimizer, schedule, batch size and augmentation of one training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    pass


Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["constant", "cosine", "linear", "milestones"]
Augment = Literal["none", "crop", "flip", "crop-flip"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a method is optimized. Every number is resolved before anything runs, recorded, and part of a cell's identity."""

    epochs: int = 6
    """Passes over the training images; 0 for what is not trained."""
    batch: int = 64
    """Images per step, before a method makes several views of each."""
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    """Peak learning rate."""
    momentum: float = 0.9
    """SGD only."""
    nesterov: bool = True
    """SGD only."""
    beta1: float = 0.9
    """Adam only."""
    beta2: float = 0.999
    """Adam only."""
    weight_decay: float = 0.0
    """On all parameters, as the optimizer of that name applies it."""
    schedule: Schedule = "cosine"
    """constant; cosine or linear to `final_lr`, each per step; milestones: times `factor` at each milestone, per epoch."""
    milestones: tuple[int, ...] = ()
    """Epochs at which the rate is multiplied by `factor`."""
    factor: float = 0.2
    linear_from: int | None = None
    """With milestones: from this epoch the rate falls linearly to `final_lr` in the last epoch (AET's released schedule)."""
    final_lr: float = 0.0
    """Where cosine, linear and `linear_from` end."""
    warmup: int = 0
    """Epochs of linear warm-up from 0, per step."""
    drop_last: bool = True
    """Leave out the last, smaller batch of an epoch (kept if it is the only one)."""
    augment: Augment = "crop-flip"
    """The one augmentation that the harness applies: random crop from `pad` black pixels, random horizontal flip."""
    pad: int = 4
    """Pixels of black border for the crop; scaled recipes give side / 8."""
    mean: tuple[float, ...] | None = None
    """Per channel, images in [0, 1]. None: the training images' own."""
    std: tuple[float, ...] | None = None
    """Per channel. None: the training images' own."""
    clip: float | None = None
    """Largest gradient norm; None: no clipping."""


def stretched(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe over another number of epochs: milestones, warm-up and the start of the linear tail move in proportion."""
    if epochs is None or recipe.epochs == 0:
        return recipe
    factor = epochs / recipe.epochs
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        milestones=tuple(round(milestone * factor) for milestone in recipe.milestones),
        linear_from=None if recipe.linear_from is None else round(recipe.linear_from * factor),
        warmup=round(recipe.warmup * factor),
    )
