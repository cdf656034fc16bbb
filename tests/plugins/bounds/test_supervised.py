"""The ceiling `supervised`: loss, supported settings, recipes."""

import math
from typing import Any

import pytest
import torch
from method_samples import make_batch, make_setting
from tiny_bounds import DIGIT, ENCODERS, METHODS, build_method, make_encoder, tiny_encoder
from torch import nn

import benchmark


def setting_of(encoder: str = "alexnet", **changes: Any) -> benchmark.Setting:
    spec, shape = ENCODERS[encoder], changes.get("image_shape", (3, 32, 32))
    network = {"encoder": encoder, "encoder_params": spec.params(), "layout": spec.layout(spec.params(), shape)}
    return make_setting(benchmark.NoParams(), **{**network, "budget": "quick", **changes})


@pytest.mark.parametrize("name", ENCODERS)
def test_initial_loss_is_near_log_of_the_number_of_classes(name: str) -> None:
    method = build_method("supervised", make_encoder(name), num_classes=10)
    losses = method.loss(make_batch(torch.rand(40, *DIGIT), torch.arange(40) % 10))
    # Random logits of unit variance have half a nat more than equal ones.
    assert float(losses.total.detach()) == pytest.approx(math.log(10), abs=0.6)
    assert method.trivial_losses() == {"total": pytest.approx(2.302585)}
    assert 0 <= float(losses.parts["accuracy"]) <= 1


def test_zero_head_has_the_trivial_loss() -> None:
    method = build_method("supervised", tiny_encoder(), num_classes=7)
    nn.init.zeros_(method.head.weight)
    nn.init.zeros_(method.head.bias)
    losses = method.loss(make_batch(torch.rand(6, *DIGIT), torch.arange(6)))
    assert float(losses.total.detach()) == pytest.approx(method.trivial_losses()["total"], abs=1e-6)


def test_supervised_fits_thirty_two_images() -> None:
    method = build_method("supervised", make_encoder("dim_conv"), num_classes=10).train()
    batch = make_batch(torch.rand(32, *DIGIT), torch.arange(32) % 10)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    for _ in range(30):
        losses = method.loss(batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert float(losses.parts["accuracy"]) == 1.0
    assert float(losses.total.detach()) < 0.2


@pytest.mark.parametrize("name", ENCODERS)
def test_gradient_reaches_every_parameter(name: str) -> None:
    method = build_method("supervised", make_encoder(name), num_classes=10).train()
    method.loss(make_batch(torch.rand(16, *DIGIT), torch.arange(16) % 10)).total.backward()
    without_gradient = [key for key, value in method.named_parameters() if value.grad is None or not value.grad.any()]
    assert without_gradient == []


def test_published_network_has_its_published_size() -> None:
    encoder = make_encoder("blocknet", (3, 32, 32), blocks=3)
    method = build_method("supervised", encoder, num_classes=10)
    assert sum(parameter.numel() for parameter in method.parameters()) == 1_005_642


def test_missing_labels_are_an_error() -> None:
    with pytest.raises(benchmark.PluginError, match="num_classes"):
        build_method("supervised", tiny_encoder())
    with pytest.raises(benchmark.PluginError, match="needs labels"):
        build_method("supervised", tiny_encoder(), num_classes=3).loss(make_batch(torch.rand(2, *DIGIT)))


def test_paper_recipe_is_rotnets_supervised_recipe() -> None:
    published = ENCODERS["blocknet"].params(blocks=3, init="default")
    recipe = METHODS["supervised"].recipe(setting_of("blocknet", budget="paper", encoder_params=published))
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.nesterov) == ("sgd", 0.1, 0.9, True)
    assert (recipe.weight_decay, recipe.batch, recipe.epochs, recipe.drop_last) == (5e-4, 128, 200, False)
    assert (recipe.schedule, recipe.milestones, recipe.factor) == ("milestones", (60, 120, 160), 0.2)
    assert (recipe.augment, recipe.pad) == ("crop-flip", 4)
    assert recipe.mean == pytest.approx((0.491, 0.482, 0.447), abs=5e-4)
    assert recipe.std == pytest.approx((0.247, 0.244, 0.262), abs=5e-4)


@pytest.mark.parametrize(
    ("encoder", "dataset"), [("resnet18", "cifar10"), ("blocknet", "digits"), ("blocknet", "cifar10")]
)
def test_paper_recipe_exists_only_for_published_settings(encoder: str, dataset: str) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=f"this {encoder} on {dataset}"):
        METHODS["supervised"].recipe(setting_of(encoder, dataset=dataset, budget="paper"))


def test_quick_recipe_does_not_flip_digits() -> None:
    recipe = METHODS["supervised"].recipe(setting_of(dataset="digits", image_shape=DIGIT))
    assert (recipe.augment, recipe.pad, recipe.epochs) == ("crop", 1, 6)
    recipe = METHODS["supervised"].recipe(setting_of(dataset="cifar10"))
    assert (recipe.augment, recipe.pad) == ("crop-flip", 4)


def test_supports_needs_two_classes() -> None:
    assert "two classes" in str(METHODS["supervised"].supports(setting_of(num_classes=1)))
    assert METHODS["supervised"].supports(setting_of()) is None
