"""Optimizers and learning-rate schedules of a recipe."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmark.api.recipes import Recipe


def optimizer_for(
    groups: list[dict[str, Any]], recipe: Recipe, device: torch.device | None = None, *, fused: bool | None = True
) -> Optimizer:
    """The recipe's optimizer over parameter groups; fused, which changes speed alone (None: as torch chooses).

    On a GPU rates are tensors there and no step is counted on the host, so that a captured step sees both move.
    """
    on_gpu = device is not None and device.type == "cuda"
    shared: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": fused}
    optimizer: Optimizer
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov and recipe.momentum > 0
        optimizer = torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=nesterov, **shared)
    else:
        kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
        optimizer = kind(groups, betas=(recipe.beta1, recipe.beta2), capturable=on_gpu, **shared)
    if on_gpu:
        keep_rates_on(optimizer, device)
    return optimizer


def keep_rates_on(optimizer: Optimizer, device: torch.device | None) -> None:
    """Each group's rate as a tensor of its own: groups may have rates of their own."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group:
            group["capturable"] = True


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The rate of a step (0 for the first).

    Milestones and their linear tail move per epoch, as the released schedules do; warm-up, cosine and linear per step.
    """
    epoch = step // steps_per_epoch
    warmup = recipe.warmup * steps_per_epoch
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "milestones":
        return _milestone_rate(recipe, epoch)
    length = max(1, recipe.epochs * steps_per_epoch - warmup)
    done = (step - warmup) / length
    remaining = 0.5 * (1 + math.cos(math.pi * done)) if recipe.schedule == "cosine" else 1 - done
    return recipe.final_lr + (recipe.lr - recipe.final_lr) * remaining


def _milestone_rate(recipe: Recipe, epoch: int) -> float:
    def stepped(at: int) -> float:
        return recipe.lr * recipe.factor ** sum(at >= milestone for milestone in recipe.milestones)

    start = recipe.linear_from
    if start is None or epoch <= start:
        return stepped(epoch)
    done = (epoch - start) / max(1, recipe.epochs - 1 - start)
    return stepped(start) + (recipe.final_lr - stepped(start)) * done


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Moves a group's rate where it is: on a GPU it is a tensor, which a captured step reads."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate
