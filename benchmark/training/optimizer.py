"""The optimizer and the learning-rate schedule of a recipe."""

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
    """The recipe's optimizer.

    On a GPU the learning rates are tensors and steps are counted there, so that a captured step reads current values.

    Args:
        groups: parameter groups.
        recipe: the kind of optimizer and its settings.
        device: where the parameters are; None: the CPU.
        fused: one kernel for all parameters, which changes speed only; None: torch chooses.
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
        move_rates_to(optimizer, device)
    return optimizer


def move_rates_to(optimizer: Optimizer, device: torch.device | None) -> None:
    """Replaces the learning rate of each group by a tensor on the device; groups may have different rates."""
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group:
            group["capturable"] = True


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step.

    Milestones and their linear tail change the rate per epoch, as the released schedules do. Warm-up, cosine and linear
    change it per step.

    Args:
        recipe: the schedule.
        step: 0 for the first step of the training.
        steps_per_epoch: number of steps in an epoch.
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


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets the learning rate of each group to `rate` times its `lr_factor`.

    On a GPU the tensor is changed in place, because a captured step reads it.
    """
    for group in optimizer.param_groups:
        scaled = rate * group["lr_factor"]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(scaled)
        else:
            group["lr"] = scaled
