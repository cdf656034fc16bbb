"""The networks of the heads: `bench_heads.networks`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from head_samples import CONV2, SMALL, TOKENS, TRAINED, VECTOR, evaluate_head, subject
from torch import nn

import benchmark
from bench_heads import networks


def size(head: nn.Module) -> int:
    return sum(parameter.numel() for parameter in head.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"), [("fc1", 122_890), ("fc2", 2_460_010), ("fc3", 2_500_410), ("conv", 408_586)]
)
def test_heads_on_conv2_have_the_published_sizes(name: str, parameters: int) -> None:
    with torch.random.fork_rng(devices=[]):
        assert size(networks.build_head(name, CONV2, 10)) == parameters


@pytest.mark.parametrize(
    ("kind", "shape", "parameters"),
    [("map", (256, 4, 4), 821_810), ("vector", (1024,), 207_410), ("vector", (64,), 15_410)],
)
def test_mlp_has_the_published_sizes(kind: Any, shape: tuple[int, ...], parameters: int) -> None:
    tap = benchmark.Tap(name="tap", kind=kind, shape=shape)
    with torch.random.fork_rng(devices=[]):
        assert size(networks.build_head("mlp", tap, 10)) == parameters


def test_mlp_applies_dropout_before_normalization() -> None:
    with torch.random.fork_rng(devices=[]):
        layers = [type(layer).__name__ for layer in networks.build_head("mlp", VECTOR, 10)]
    assert layers == ["Flatten", "Linear", "Dropout", "BatchNorm1d", "ReLU", "Linear"]


@pytest.mark.parametrize(("classes", "units"), [(10, 200), (100, 2000), (200, 2048)])
def test_hidden_layers_have_20_units_per_class_up_to_2048(classes: int, units: int) -> None:
    with torch.random.fork_rng(devices=[]):
        hidden = networks.build_head("fc2", SMALL, classes)[1]
    assert isinstance(hidden, nn.Linear)
    assert hidden.out_features == units


def test_weights_have_variance_2_over_fan_out_and_zero_bias() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear = networks.build_head("fc1", CONV2, 10)[-1]
        convolution = networks.build_head("conv", CONV2, 10)[0]
    assert isinstance(linear, nn.Linear)
    assert isinstance(convolution, nn.Conv2d)
    assert float(linear.weight.detach().var()) == pytest.approx(2 / 10, rel=0.02)
    assert not linear.bias.any()
    assert float(convolution.weight.detach().var()) == pytest.approx(2 / (9 * 192), rel=0.02)


@pytest.mark.parametrize(
    ("name", "tap"),
    [(name, tap) for name in TRAINED for tap in (SMALL, VECTOR, TOKENS) if name != "conv" or tap.kind == "map"],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_head_returns_one_logit_per_class(name: str, tap: benchmark.Tap) -> None:
    with torch.random.fork_rng(devices=[]):
        head = networks.build_head(name, tap, 3)
        assert head(torch.rand(5, *tap.shape)).shape == (5, 3)


@pytest.mark.parametrize("tap", [VECTOR, TOKENS], ids=lambda tap: tap.kind)
def test_conv_needs_a_map(tap: benchmark.Tap) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=f"'{tap.name}' is a {tap.kind}"):
        evaluate_head("conv", subject(tap), epochs=1)
