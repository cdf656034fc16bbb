"""A tiny encoder, and makers of batches, contexts and settings for the tests of methods."""

from __future__ import annotations

from typing import Any

import torch
from generators import seeded
from torch import Tensor, nn

import benchmark
from benchmark.encoder import NormalizedEncoder

WIDTH = 16
LAYOUT = benchmark.Layout(
    taps=(benchmark.Tap(name="map", kind="map", shape=(WIDTH, 4, 4)),), output="map", probe="map", local="map"
)


class TinyMap(nn.Module):
    """Two convolutions with batch normalization: 8 x 8 images to a 4 x 4 map."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1),
            nn.ReLU(),
        )

    def forward(self, images: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        return {"map": self.layers(images)}


def tiny_map_encoder() -> NormalizedEncoder:
    torch.manual_seed(0)
    return NormalizedEncoder(TinyMap(), LAYOUT, (0.5,), (0.5,))


def random_images(count: int = 8, side: int = 8, channels: int = 1) -> Tensor:
    return torch.rand((count, channels, side, side), generator=seeded(1))


def make_batch(images: Tensor, labels: Tensor | None = None, seed: int = 0, **changes: Any) -> benchmark.Batch:
    """A batch of these images, from the start of a training."""
    fields: dict[str, Any] = {
        **{"images": images, "raw": (images * 255).byte(), "index": torch.arange(len(images)), "labels": labels},
        **{"progress": 0.0, "generator": seeded(seed), **changes},
    }
    return benchmark.Batch(**fields)


def make_context(encoder: NormalizedEncoder, params: Any, **changes: Any) -> benchmark.MethodContext:
    """The context of a method for ten steps on small gray images."""
    fields: dict[str, Any] = {
        **{"params": params, "encoder": encoder, "layout": encoder.layout, "image_shape": (1, 8, 8)},
        **{"num_images": 100, "num_classes": None, "total_steps": 10, "generator": seeded()},
        **{"mean": tuple(encoder.mean.flatten().tolist()), "std": tuple(encoder.std.flatten().tolist()), **changes},
    }
    return benchmark.MethodContext(**fields)


def make_setting(method_params: Any, **changes: Any) -> benchmark.Setting:
    """The setting of most papers: the paper budget with BlockNet on CIFAR-10."""
    fields: dict[str, Any] = {
        **{"method_params": method_params, "encoder": "blocknet", "encoder_params": None, "layout": LAYOUT},
        **{"dataset": "cifar10", "image_shape": (3, 32, 32), "num_images": 50_000, "num_classes": 10},
        **{"budget": "paper", **changes},
    }
    return benchmark.Setting(**fields)


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
