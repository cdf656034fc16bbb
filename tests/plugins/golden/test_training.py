"""Golden numbers: learning rates and steps of the published recipes, and short trainings on digits."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_samples import DIGIT, ENCODERS, METHODS, RGB, make_encoder
from method_samples import make_setting
from torch import nn

import benchmark
from bench_images import digits
from benchmark.progress import silent
from benchmark.training.loop import train
from benchmark.training.optimizer import learning_rate
from benchmark.training.task import Trained, TrainingData, TrainingTask


def make_recipe(method: str, encoder: str, *, quick_digits: int | None = None, **params: Any) -> benchmark.Recipe:
    """The paper recipe on CIFAR-10, or the quick recipe on a number of digits."""
    shape = RGB if quick_digits is None else DIGIT
    published = {"rotation": {"init": "default"}, "supervised": {"blocks": 3, "init": "default"}}
    own = published.get(method, {}) if quick_digits is None else {}
    spec, choices = METHODS[method], ENCODERS[encoder].params(**own)
    setting = make_setting(
        spec.params(**params), encoder=encoder, encoder_params=choices, layout=ENCODERS[encoder].layout(choices, shape)
    )
    if quick_digits is not None:
        setting = replace(setting, dataset="digits", image_shape=shape, num_images=quick_digits, budget="quick")
    return spec.recipe(setting)


@pytest.mark.parametrize("method", ["rotation", "supervised"])
def test_rates_of_rotnet_drop_at_60_120_and_160(method: str) -> None:
    recipe = make_recipe(method, "blocknet")
    table = {0: 0.1, 59: 0.1, 60: 0.02, 119: 0.02, 120: 0.004, 159: 0.004, 160: 0.0008, 199: 0.0008}
    for step in (0, 390):
        assert {epoch: learning_rate(recipe, 391 * epoch + step, 391) for epoch in table} == pytest.approx(table)


def test_rate_of_dim_is_constant() -> None:
    recipe = make_recipe("dim", "dim_conv")
    assert {learning_rate(recipe, step, 781) for step in range(0, 781_000, 1000)} == {1e-4}


@pytest.mark.parametrize(
    ("method", "encoder", "steps"),
    [
        ("aet", "blocknet", 1500 * 98),
        ("rotation", "blocknet", 200 * 391),
        ("supervised", "blocknet", 200 * 391),
        ("dim", "dim_conv", 1000 * 781),
    ],
)
def test_paper_recipe_has_the_published_number_of_steps(method: str, encoder: str, steps: int) -> None:
    total_steps: list[int] = []

    def build(context: benchmark.MethodContext) -> nn.Module:
        total_steps.append(context.total_steps)
        return nn.Module()

    spec = benchmark.MethodSpec(name="counts", summary="", build=build, trains=False)
    recipe = make_recipe(method, encoder)
    images = torch.zeros((50_000, 1, 8, 8), dtype=torch.uint8)
    data = TrainingData(images=images, labels=None, num_classes=10)
    train(
        TrainingTask(spec=spec, params=None, recipe=recipe, seed=0, title="counts"),
        data,
        make_encoder("small", DIGIT),
        silent,
    )
    assert total_steps == [steps]


def trained_on_digits(method: str, *, epochs: int, lr: float | None = None, **params: Any) -> Trained:
    """A training by the harness with the quick recipe, for fewer epochs, on 512 digits."""
    spec = METHODS[method]
    recipe = make_recipe(method, "dim_conv", quick_digits=512, **params)
    recipe = dataclasses.replace(recipe, epochs=epochs, lr=recipe.lr if lr is None else lr)
    images = torch.from_numpy(digits.load(benchmark.NoParams(), Path()).train.images[:512])
    task = TrainingTask(spec=spec, params=spec.params(**params), recipe=recipe, seed=0, title=method)
    data = TrainingData(images=images, labels=None, num_classes=10)
    return train(task, data, make_encoder("dim_conv", DIGIT), silent)


@pytest.mark.parametrize(
    ("method", "epochs", "params"),
    [
        ("rotation", 3, {}),
        ("aet", 6, {"transform": "affine"}),
        ("dim", 4, {"estimator": "jsd", "units": 64}),
        ("dim", 4, {"estimator": "nce", "units": 64}),
    ],
    ids=["rotation", "aet affine", "dim jsd", "dim nce"],
)
def test_few_epochs_on_digits_reach_a_loss_below_trivial(method: str, epochs: int, params: dict[str, Any]) -> None:
    trained = trained_on_digits(method, epochs=epochs, **params)
    assert trained.failed_to_learn is False
    for part, trivial in trained.trivial.items():
        assert trained.curve[-1].losses[part] < 0.9 * trivial


def test_training_with_rate_zero_is_recorded_as_failed_to_learn() -> None:
    assert trained_on_digits("rotation", epochs=1, lr=0.0).failed_to_learn is True
