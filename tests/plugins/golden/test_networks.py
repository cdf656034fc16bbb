"""Golden numbers: sizes and layers of the published networks, against references in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from generators import seeded
from golden_samples import CONV2, RGB, make_encoder, make_method
from method_samples import parameter_count
from torch import Tensor, nn

from bench_dim.critics import Concat, ResidualProjection
from bench_dim.prior import Discriminator
from bench_heads.networks import build_head


@pytest.mark.parametrize(("blocks", "parameters"), [(3, 1_004_484), (4, 1_411_140), (5, 1_817_796)])
def test_rotnet_has_the_published_size(blocks: int, parameters: int) -> None:
    assert parameter_count(make_method("rotation", make_encoder("blocknet", blocks=blocks))) == parameters


def test_supervised_resnet18_has_the_known_size() -> None:
    assert parameter_count(make_method("supervised", make_encoder("resnet18"))) == 11_173_962


def normalized(features: Tensor, norm: nn.Module) -> Tensor:
    """Features normalized with the batch's statistics, as a new batch normalization does in training."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    return F.batch_norm(features, None, None, norm.weight, norm.bias, training=True, eps=1e-5)


def layers(network: nn.Module, *kinds: type[nn.Module]) -> list[Any]:
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


def randomize_normalization(network: nn.Module) -> nn.Module:
    """The network in float64, with random weights of batch normalization."""
    network = network.double().train()
    for norm in layers(network, nn.BatchNorm1d, nn.BatchNorm2d):
        nn.init.normal_(norm.weight, generator=seeded(1))
        nn.init.normal_(norm.bias, generator=seeded(2))
    return network


@pytest.mark.parametrize("pool_after_block3", [False, True])
def test_blocknet_matches_its_reference(pool_after_block3: bool) -> None:
    network = randomize_normalization(make_encoder("blocknet", blocks=5, pool_after_block3=pool_after_block3).network)
    images = torch.randn((3, *RGB), generator=seeded(), dtype=torch.float64)
    convolutions, norms = layers(network, nn.Conv2d), layers(network, nn.BatchNorm2d)
    expected, features = {}, images
    for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        block = number // 3 + 1
        kernel = 1 if number % 3 else 5 if block <= 2 else 3
        features = F.conv2d(features, convolution.weight, stride=1, padding=kernel // 2)
        features = normalized(features, norm).clamp_min(0)
        if number % 3 == 2:
            if block == 1:
                features = F.max_pool2d(features, 3, stride=2, padding=1)
            if block == 2 or (block == 3 and pool_after_block3):
                features = F.avg_pool2d(features, 3, stride=2, padding=1, count_include_pad=True)
            expected[f"conv{block}"] = features
    assert list(expected) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    torch.testing.assert_close(network(images, list(expected)), expected)


def test_dim_conv_matches_its_reference() -> None:
    network = randomize_normalization(make_encoder("dim_conv").network)
    images = torch.randn((4, *RGB), generator=seeded(), dtype=torch.float64)
    norms = layers(network, nn.BatchNorm1d, nn.BatchNorm2d)
    hidden, last = layers(network, nn.Linear)
    expected, features = {}, images
    for number, convolution in enumerate(layers(network, nn.Conv2d)):
        features = F.conv2d(features, convolution.weight, stride=2, padding=1)
        features = expected[f"conv{number + 1}"] = normalized(features, norms[number]).clamp_min(0)
    expected["fc"] = normalized(features.flatten(1) @ hidden.weight.T, norms[3]).clamp_min(0)
    expected["y"] = expected["fc"] @ last.weight.T + last.bias
    torch.testing.assert_close(network(images, list(expected)), expected)


def test_residual_projection_matches_its_reference() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        projection = randomize_normalization(ResidualProjection(6, 16))
    (norm,) = layers(projection, nn.BatchNorm1d)
    first, second, shortcut = layers(projection, nn.Linear)
    rows = torch.randn((20, 6), generator=seeded(), dtype=torch.float64)
    hidden = normalized(rows @ first.weight.T, norm).clamp_min(0)
    whole = hidden @ second.weight.T + second.bias + rows @ shortcut.weight.T
    centered = whole - whole.mean(dim=1, keepdim=True)
    expected = centered / (centered.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(projection(rows), expected)


def test_fc1_normalizes_channels_without_a_scale() -> None:
    with torch.random.fork_rng(devices=[]):
        head = build_head("fc1", CONV2, 10).double().train()
    maps = torch.randn((5, *CONV2.shape), generator=seeded(), dtype=torch.float64) * 3 + 2
    maps[:, :, 0] += 7  # a normalization per feature would remove this row's offset
    centered = maps - maps.mean(dim=(0, 2, 3), keepdim=True)
    rows = centered / (centered.square().mean(dim=(0, 2, 3), keepdim=True) + 1e-5).sqrt()
    (linear,) = layers(head, nn.Linear)
    torch.testing.assert_close(head(maps), rows.flatten(1) @ linear.weight.T)  # its bias is initialized to 0


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("fc1", "BatchNorm2d Flatten Linear"),
        ("fc2", "Flatten Linear BatchNorm1d ReLU Linear"),
        ("fc3", "Flatten Linear BatchNorm1d ReLU Linear BatchNorm1d ReLU Linear"),
        ("conv", "Conv2d BatchNorm2d ReLU " * 3 + "AdaptiveAvgPool2d Flatten Linear"),
    ],
)
def test_heads_have_the_published_order_of_layers(name: str, order: str) -> None:
    with torch.random.fork_rng(devices=[]):
        head = build_head(name, CONV2, 10)
    assert [type(layer).__name__ for layer in head] == order.split()
    assert [layer.kernel_size for layer in layers(head, nn.Conv2d)] == [(3, 3), (1, 1), (1, 1)] * (name == "conv")
    assert all(layer.bias is None for layer in [*layers(head, nn.Conv2d), *layers(head, nn.Linear)[:-1]])


@pytest.mark.parametrize(
    ("network", "widths"),
    [(Discriminator(64), [64, 1000, 200, 1]), (Concat(64, 128, (512, 512)), [192, 512, 512, 1])],
    ids=["discriminator", "concat critic"],
)
def test_perceptrons_of_dim_have_only_linear_layers_and_relu(network: nn.Module, widths: list[int]) -> None:
    leaves = [layer for layer in network.modules() if not list(layer.children())]
    assert [type(layer) for layer in leaves] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    linear = layers(network, nn.Linear)
    assert [linear[0].in_features, *[layer.out_features for layer in linear]] == widths
