"""The conformance check of encoders accepts a valid encoder and rejects each violation of the contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import benchmark
from benchmark.testing import ConformanceError, check_encoder

Shape = tuple[int, int, int]


class Network(nn.Module):
    """A valid encoder; each test below changes one thing."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(4, 5)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        features = {"conv": self.conv(images)}
        if "fc" in taps:
            features["fc"] = self.fc(features["conv"].mean(dim=(2, 3)))
        return features


class Strided(Network):
    """Its map is smaller than its layout says."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.conv = nn.Sequential(nn.Conv2d(channels, 4, 3, stride=2, padding=1))


class Shallow(Network):
    """Never returns the tap fc."""

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        return {"conv": self.conv(images)}


class Eager(Network):
    """Always runs to the end."""

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        return super().forward(images, ["conv", "fc"])


class Centered(Network):
    """Uses the mean of the batch."""

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        return super().forward(images - images.mean(dim=0), taps)


class Frozen(Network):
    """Carries no gradient."""

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        with torch.no_grad():
            return super().forward(images, taps)


def layout(params: Any, shape: Shape) -> benchmark.Layout:
    conv = benchmark.Tap(name="conv", kind="map", shape=(4, *shape[1:]))
    fc = benchmark.Tap(name="fc", kind="vector", shape=(5,))
    return benchmark.Layout(taps=(conv, fc), output="fc", probe="conv", local="conv")


def encoder(network: Callable[[int], nn.Module] = Network, **fields: Any) -> benchmark.EncoderSpec:
    return benchmark.EncoderSpec(
        name="planted",
        summary="",
        build=lambda context: network(context.image_shape[0]),
        **{"layout": layout, **fields},
    )


def assert_rejected(spec: benchmark.EncoderSpec, message: str, **arguments: Any) -> None:
    with pytest.raises(ConformanceError, match=message):
        check_encoder(spec, **arguments)


def test_valid_encoder_passes() -> None:
    check_encoder(encoder())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Strided, r"tap 'conv' has the shape \(4, 4, 4\), but its layout says \(4, 8, 8\)"),
        (Shallow, r"does not return the tap 'fc'"),
        (Eager, r"a request for 'conv' runs every module"),
        (Centered, r"depend on the other images of its batch"),
        (Frozen, r"no gradient from the output reaches its parameters"),
    ],
    ids=["shape", "missing tap", "not lazy", "batch", "gradient"],
)
def test_invalid_network_is_rejected(network: Callable[[int], nn.Module], message: str) -> None:
    assert_rejected(encoder(network), message)


def test_own_random_weights_are_rejected() -> None:
    generator = np.random.default_rng(7)

    def build(channels: int) -> nn.Module:
        network = Network(channels)
        nn.init.constant_(network.fc.weight, generator.uniform())
        return network

    assert_rejected(encoder(build), r"the same seed gave other weights")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "fc2"}, r"its output 'fc2' is not one of its taps"),
        ({"probe": "conv2"}, r"its probe 'conv2' is not one of its taps"),
        ({"local": "conv2"}, r"its local 'conv2' is not one of its taps"),
        ({"local": "fc"}, r"its local tap 'fc' is not a map"),
        ({"taps": layout(None, (3, 8, 8)).taps[:1] * 2}, r"taps must have different names"),
    ],
)
def test_invalid_layout_is_rejected(change: dict[str, Any], message: str) -> None:
    assert_rejected(encoder(layout=lambda params, shape: dataclasses.replace(layout(params, shape), **change)), message)


def test_taps_in_another_order_than_depth_are_rejected() -> None:
    def reversed_layout(params: Any, shape: Shape) -> benchmark.Layout:
        return dataclasses.replace(layout(params, shape), taps=layout(params, shape).taps[::-1])

    assert_rejected(encoder(layout=reversed_layout), r"order taps by depth")


def test_images_below_the_minimum_side_are_skipped() -> None:
    def large_only(params: Any, shape: Shape) -> benchmark.Layout:
        assert min(shape[1:]) >= 16
        return layout(params, shape)

    check_encoder(encoder(layout=large_only, min_side=16))
    assert_rejected(encoder(layout=large_only, min_side=64), r"supports none of the image shapes.*min_side is 64")


def test_unsupported_images_are_skipped() -> None:
    def color_only(params: Any, shape: Shape) -> benchmark.Layout:
        if shape[0] != 3:
            raise benchmark.UnsupportedError("color images only")
        return layout(params, shape)

    check_encoder(encoder(layout=color_only))
    message = r"supports none of the image shapes.*color images only"
    assert_rejected(encoder(layout=color_only), message, image_shapes=[(1, 8, 8)])
