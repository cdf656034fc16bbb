"""Fake probes for scores without labels, Gaussian features, and the scores of a probe."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from generators import seeded
from torch import Tensor

import benchmark
from bench_unlabeled import bench_evaluators

SPECS = {spec.name: spec for spec in bench_evaluators()}


STILL = {"pad": 0, "flip": False, "jitter": 0.0}
"""Parameters of views that do not change the image."""


def gaussian(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=seeded(seed))


def rotation(width: int, seed: int = 7) -> Tensor:
    return torch.linalg.qr(gaussian(width, width, seed).double()).Q.float()


def fake_probe(
    features: Tensor, labels: Tensor | None = None, encode: Callable[[Tensor], Tensor] | None = None, **taps: Tensor
) -> Any:
    """A probe whose images are the features as bytes, so that a test can define an encoder."""
    count = len(features)
    images = (features[:, None, None] * 64 + 128).clamp(0, 255).byte()
    known = {"out": features, **taps}

    def of(images: Tensor, pool: str = "none") -> Tensor:
        return (encode or (lambda each: each[:, 0, 0]))(images)

    layout = benchmark.Layout(
        taps=tuple(benchmark.Tap(name=name, kind="vector", shape=(known[name].shape[1],)) for name in known),
        output="out",
        probe="out",
    )
    split = SimpleNamespace(
        images=images,
        labels=torch.arange(count) % 4 if labels is None else labels,
        features=lambda tap=None: known[tap or "out"],
    )
    return SimpleNamespace(
        train=split,
        test=split,
        tap="out",
        pool="average",
        layout=layout,
        class_names=("a", "b", "c", "d"),
        device=torch.device("cpu"),
        generator=seeded(3),
        encode=of,
    )


def evaluate_scores(name: str, probe: Any, **changes: Any) -> dict[str, float]:
    spec = SPECS[name]
    evaluation = spec.evaluate(probe, spec.params(**changes))
    assert {each.metric.partition("@")[0] for each in evaluation.measurements} <= {each.name for each in spec.metrics}
    return {each.metric: each.value for each in evaluation.measurements}
