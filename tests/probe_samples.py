"""Fake probes with clustered features, their scores."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor

import bench_probes


@dataclasses.dataclass
class FakeSplit:
    vectors: Tensor
    labels: Tensor

    def features(self, tap: str | None = None, pool: str | None = None) -> Tensor:
        return self.vectors


def fake_probe(train: Tensor, train_labels: Any, test: Tensor, test_labels: Any) -> Any:
    return SimpleNamespace(
        train=FakeSplit(train, torch.as_tensor(train_labels)),
        test=FakeSplit(test, torch.as_tensor(test_labels)),
        tap="vector",
    )


def clusters(count: int, seed: int, classes: int = 4, width: int = 6, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    centers = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    return centers[labels] + noise * torch.randn(count, width, generator=generator), labels


def spec(name: str) -> Any:
    return {spec.name: spec for spec in bench_probes.bench_evaluators()}[name]


def scores(evaluation: Any) -> dict[str, float]:
    return {measurement.metric: measurement.value for measurement in evaluation.measurements}


def evaluate(name: str, probe: Any, **params: Any) -> Any:
    return spec(name).evaluate(probe, spec(name).params(**params))


def digits(classes: int = 10) -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    kept = labels < classes
    features = torch.from_numpy(images[kept]).float()
    mixing = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    # Correlated features with means far from zero, one of them constant.
    return torch.cat([features, (features @ mixing).relu() / 100 + 3], dim=1), torch.from_numpy(labels[kept])
