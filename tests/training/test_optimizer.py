"""The learning rate of every step, against published schedules and by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from benchmark.api.catalog import load_catalog
from benchmark.api.methods import Setting
from benchmark.api.parameters import bind
from benchmark.api.recipes import Recipe, stretched
from benchmark.training.optimizer import learning_rate


def _scheduled(schedule: str, **more: int) -> Recipe:
    recipe: Recipe = bind(Recipe, {"lr": 0.5, "schedule": schedule, **more}, "recipe")
    return recipe


def _aet_paper() -> Recipe:
    catalog = load_catalog()
    encoder = catalog.find(catalog.encoders, "encoder", "blocknet").spec
    method = catalog.find(catalog.methods, "method", "aet").spec
    setting = Setting(
        method_params=method.params(),
        encoder="blocknet",
        encoder_params=encoder.params(),
        layout=encoder.layout(encoder.params(), (3, 32, 32)),
        dataset="cifar10",
        image_shape=(3, 32, 32),
        num_images=50_000,
        num_classes=10,
        budget="paper",
    )
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
def test_aets_released_schedule_epoch_by_epoch(epoch: int, rate: float) -> None:
    # The authors' script for CIFAR-10: steps down by 5, then a straight line from epoch 1000 to 1e-5.
    recipe, steps = _aet_paper(), 98
    for step in (0, steps - 1):
        assert learning_rate(recipe, epoch * steps + step, steps) == pytest.approx(rate, rel=1e-12)


def test_aets_schedule_over_a_tenth_of_the_epochs_has_the_same_rates() -> None:
    recipe = stretched(_aet_paper(), 150)
    rates = [learning_rate(recipe, epoch, 1) for epoch in (0, 23, 24, 48, 64, 80, 100, 149)]
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.004, 8e-4, 1.6e-4, 1.6e-4, 1e-5], rel=1e-12)
    assert 1e-5 < learning_rate(recipe, 125, 1) < 1.6e-4


def test_milestones_without_a_tail_stay_on_their_last_step() -> None:
    recipe = Recipe(epochs=10, lr=1.0, schedule="milestones", milestones=(8, 4), factor=0.1)
    rates = [learning_rate(recipe, step, 2) for step in range(20)]
    assert rates == pytest.approx([1.0] * 8 + [0.1] * 8 + [0.01] * 4)


def test_a_constant_rate_is_constant() -> None:
    recipe = Recipe(epochs=3, lr=0.3, schedule="constant", final_lr=0.1)
    assert {learning_rate(recipe, step, 5) for step in range(15)} == {0.3}


def test_cosine_starts_at_its_peak_is_halfway_at_half_time_and_would_end_at_its_last_rate() -> None:
    recipe = Recipe(epochs=10, lr=1.0, final_lr=0.2, schedule="cosine")
    rates = [learning_rate(recipe, step, 10) for step in range(101)]
    assert rates[0] == 1.0
    assert rates[50] == pytest.approx(0.6)
    assert rates[25] == pytest.approx(0.2 + 0.8 * 0.5 * (1 + math.sqrt(0.5)))
    assert rates[100] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)


def test_linear_falls_by_the_same_amount_each_step() -> None:
    recipe = Recipe(epochs=4, lr=1.0, final_lr=0.0, schedule="linear")
    assert [learning_rate(recipe, step, 2) for step in range(8)] == pytest.approx([1 - step / 8 for step in range(8)])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_warm_up_rises_by_equal_steps_to_the_peak_and_the_rest_starts_there(schedule: str) -> None:
    recipe = _scheduled(schedule, epochs=10, warmup=2)
    rates = [learning_rate(recipe, step, 5) for step in range(50)]
    assert rates[:10] == pytest.approx([0.05 * step for step in range(1, 11)])
    assert rates[9] == rates[10] == 0.5
    assert max(rates) == 0.5


def test_warm_up_leaves_milestones_where_they_are() -> None:
    recipe = dataclasses.replace(_scheduled("milestones", epochs=10, warmup=2), milestones=(5,), factor=0.1)
    assert learning_rate(recipe, 4, 1) == 0.5
    assert learning_rate(recipe, 5, 1) == pytest.approx(0.05)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "milestones"])
def test_no_step_has_a_rate_of_zero_or_above_the_peak(schedule: str) -> None:
    for warmup in (0, 1, 3):
        recipe = _scheduled(schedule, epochs=3, warmup=warmup)
        rates = [learning_rate(recipe, step, 4) for step in range(12)]
        assert all(0 < rate <= 0.5 for rate in rates)


def test_after_warm_up_the_fall_takes_the_steps_that_are_left() -> None:
    recipe = Recipe(epochs=10, lr=1.0, schedule="linear", warmup=2)
    assert [learning_rate(recipe, step, 1) for step in range(2, 10)] == pytest.approx([1 - k / 8 for k in range(8)])
