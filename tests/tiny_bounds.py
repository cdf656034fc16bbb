"""Encoders, the methods of bench_bounds, and batches for their tests."""

from collections.abc import Sequence
from typing import Any

import torch
from method_samples import make_context
from torch import Tensor, nn

import bench_bounds
import bench_encoders
import benchmark
from benchmark.encoder import NormalizedEncoder

METHODS = {spec.name: spec for spec in bench_bounds.bench_methods()}


ENCODERS = {spec.name: spec for spec in bench_encoders.bench_encoders()}


DIGIT = (1, 8, 8)


class Tiny(nn.Module):
    """A convolution, dropout and batch normalization, small enough to check by hand."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 5, 3, padding=1)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        return {"norm": self.norm(self.dropout(self.conv(images)))}


def tiny_encoder(mean: float = 0.0, std: float = 1.0) -> NormalizedEncoder:
    torch.manual_seed(0)
    tap = benchmark.Tap(name="norm", kind="map", shape=(5, 8, 8))
    layout = benchmark.Layout(taps=(tap,), output="norm", probe="norm")
    return NormalizedEncoder(Tiny(), layout, (mean,), (std,))


def make_encoder(name: str, shape: tuple[int, int, int] = DIGIT, **choices: Any) -> NormalizedEncoder:
    torch.manual_seed(0)
    spec = ENCODERS[name]
    params = spec.params(**choices)
    network = spec.build(benchmark.EncoderContext(params=params, image_shape=shape))
    return NormalizedEncoder(network, spec.layout(params, shape), (0.3,) * shape[0], (0.4,) * shape[0])


def build_method(method: str, encoder: NormalizedEncoder, params: Any = None, num_classes: int | None = None) -> Any:
    return METHODS[method].build(make_context(encoder, params or benchmark.NoParams(), num_classes=num_classes))
