"""Optimizers and the learning rate of each step, against released schedules and by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from method_samples import make_setting
from torch import nn

from benchmark.api.catalog import load_catalog
from benchmark.api.parameters import bind
from benchmark.api.recipes import Recipe, with_epochs
from benchmark.training.optimizer import learning_rate, move_rates_to, optimizer_for, set_learning_rate


def scheduled(schedule: str, **more: int) -> Recipe:
    recipe: Recipe = bind(Recipe, {"lr": 0.5, "schedule": schedule, **more}, "recipe")
    return recipe


def aet_paper_recipe() -> Recipe:
    catalog = load_catalog()
    encoder = catalog.find(catalog.encoders, "encoder", "blocknet").spec
    method = catalog.find(catalog.methods, "method", "aet").spec
    params = encoder.params()
    setting = make_setting(method.params(), encoder_params=params, layout=encoder.layout(params, (3, 32, 32)))
    return method.recipe(setting)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 0.1),
        (239, 0.1),
        (240, 0.02),
        (480, 0.004),
        (640, 8e-4),
        (800, 1.6e-4),
        (999, 1.6e-4),
        (1000, 1.597e-4),
        (1250, 8.47e-5),
        (1499, 1e-5),
    ],
)
def test_aet_schedule_is_the_released_one(epoch: int, rate: float) -> None:
    # The authors' script for CIFAR-10: division by 5 at milestones, then a straight line from epoch 1000 to 1e-5.
    recipe, steps = aet_paper_recipe(), 98
    for step in (0, steps - 1):
        assert learning_rate(recipe, epoch * steps + step, steps) == pytest.approx(rate, rel=1e-12)


def test_aet_schedule_over_a_tenth_of_the_epochs_has_the_same_rates() -> None:
    recipe = with_epochs(aet_paper_recipe(), 150)
    rates = [learning_rate(recipe, epoch, 1) for epoch in (0, 23, 24, 48, 64, 80, 100, 149)]
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.004, 8e-4, 1.6e-4, 1.6e-4, 1e-5], rel=1e-12)
    assert 1e-5 < learning_rate(recipe, 125, 1) < 1.6e-4


def test_milestones_without_linear_tail_keep_their_last_rate() -> None:
    recipe = Recipe(epochs=10, lr=1.0, schedule="milestones", milestones=(8, 4), factor=0.1)
    rates = [learning_rate(recipe, step, 2) for step in range(20)]
    assert rates == pytest.approx([1.0] * 8 + [0.1] * 8 + [0.01] * 4)


def test_constant_schedule_has_one_rate() -> None:
    recipe = Recipe(epochs=3, lr=0.3, schedule="constant", final_lr=0.1)
    assert {learning_rate(recipe, step, 5) for step in range(15)} == {0.3}


def test_cosine_schedule_falls_from_its_peak_through_the_mean_to_the_final_rate() -> None:
    recipe = Recipe(epochs=10, lr=1.0, final_lr=0.2, schedule="cosine")
    rates = [learning_rate(recipe, step, 10) for step in range(101)]
    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.6)
    assert rates[25] == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.sqrt(0.5)))
    assert rates[100] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)


def test_linear_schedule_falls_by_the_same_amount_in_each_step() -> None:
    recipe = Recipe(epochs=4, lr=1.0, final_lr=0.0, schedule="linear")
    assert [learning_rate(recipe, step, 2) for step in range(8)] == pytest.approx([1 - step / 8 for step in range(8)])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_warm_up_rises_in_equal_steps_to_the_peak(schedule: str) -> None:
    recipe = scheduled(schedule, epochs=10, warmup=2)
    rates = [learning_rate(recipe, step, 5) for step in range(50)]
    assert rates[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert rates[9] == rates[10] == 0.5
    assert max(rates) == 0.5


def test_warm_up_does_not_move_milestones() -> None:
    recipe = dataclasses.replace(scheduled("milestones", epochs=10, warmup=2), milestones=(5,), factor=0.1)
    assert learning_rate(recipe, 4, 1) == 0.5
    assert learning_rate(recipe, 5, 1) == pytest.approx(0.05)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "milestones"])
def test_rates_are_above_zero_and_at_most_the_peak(schedule: str) -> None:
    for warmup in (0, 1, 3):
        recipe = scheduled(schedule, epochs=3, warmup=warmup)
        rates = [learning_rate(recipe, step, 4) for step in range(12)]
        assert all(0 < rate <= 0.5 for rate in rates)


def test_schedule_after_warm_up_takes_the_remaining_steps() -> None:
    recipe = Recipe(epochs=10, lr=1.0, schedule="linear", warmup=2)
    assert [learning_rate(recipe, step, 1) for step in range(2, 10)] == pytest.approx([1 - k / 8 for k in range(8)])


# --- optimizers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_optimizer_on_a_cpu_is_fused_with_a_rate_that_is_a_number(kind: Any) -> None:
    recipe = Recipe(optimizer=kind, lr=0.01)
    (group,) = optimizer_for([{"params": [nn.Parameter(torch.zeros(2))]}], recipe, torch.device("cpu")).param_groups
    assert group["fused"] is True
    assert group["lr"] == 0.01
    assert isinstance(group["lr"], float)


@pytest.mark.parametrize("on_device", [False, True], ids=["number", "tensor"])
def test_learning_rate_is_set_for_each_group_with_its_factor(on_device: bool) -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr_factor": factor} for factor in (1.0, 0.5)]
    optimizer = optimizer_for(groups, Recipe(optimizer="sgd", lr=0.01))
    if on_device:
        move_rates_to(optimizer, torch.device("cpu"))
    rates = [group["lr"] for group in optimizer.param_groups]
    set_learning_rate(optimizer, 0.2)
    assert [float(group["lr"]) for group in optimizer.param_groups] == pytest.approx([0.2, 0.1])
    if on_device:  # a captured step reads the same tensors
        assert [group["lr"] for group in optimizer.param_groups] == rates
        assert all(group["lr"] is rate for group, rate in zip(optimizer.param_groups, rates, strict=True))
