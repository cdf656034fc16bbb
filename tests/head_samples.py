"""Small subjects for the heads: noise images in which each class has a bright value, and their scores."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

import bench_heads
import benchmark
from benchmark.api.cells import Item, ScoreRequest
from benchmark.api.encoders import Pool
from benchmark.evaluation.evaluate import LabeledImages, Subject, evaluate

SPECS = {spec.name: spec for spec in bench_heads.bench_evaluators()}


TRAINED = ["fc1", "fc2", "fc3", "conv", "mlp"]


CONV2 = benchmark.Tap(name="conv2", kind="map", shape=(192, 8, 8))


SMALL = benchmark.Tap(name="small", kind="map", shape=(4, 2, 2))


VECTOR = benchmark.Tap(name="fc", kind="vector", shape=(6,))


TOKENS = benchmark.Tap(name="tokens", kind="tokens", shape=(3, 4))


CPU = torch.device("cpu")


class Pixels:
    """A feature source whose features are the images, in the shape of a tap. It records the encoded images."""

    def __init__(self, tap: benchmark.Tap, train: Tensor, test: Tensor) -> None:
        self.layout = benchmark.Layout(taps=(tap,), output=tap.name, probe=tap.name)
        self.images = {"train": train, "test": test}
        self.encoded: list[Tensor] = []

    def encode(self, images: Tensor, tap: str) -> Tensor:
        self.encoded.append(images)
        return images.reshape(len(images), *self.layout.taps[0].shape).clone()

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        features = self.encode(self.images[split].float() / 255, tap)
        return features if pool == "none" else features.flatten(1)


def colored(count: int, shape: tuple[int, ...], classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise in which each class has its own bright value, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 100, (count, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    for label in range(classes):
        images[labels == label, label] += 150
    return images, labels


def subject(
    tap: benchmark.Tap = SMALL, train: int = 40, test: int = 20, classes: int = 3, names: int | None = None
) -> Subject:
    shape = tap.shape if tap.kind == "map" else (tap.width("flat"), 1, 1)
    train_images, train_labels = colored(train, shape, classes, seed=1)
    test_images, test_labels = colored(test, shape, classes, seed=2)
    return Subject(
        source=Pixels(tap, train_images, test_images),
        train=LabeledImages(images=train_images, labels=train_labels),
        test=LabeledImages(images=test_images, labels=test_labels),
        class_names=tuple(f"class {label}" for label in range(names or classes)),
        fingerprint="coloured",  # seeds the draws of the heads
    )


def evaluate_head(name: str, data: Subject, **params: Any) -> benchmark.Evaluation:
    spec = SPECS[name]
    request = ScoreRequest(
        tap=data.source.layout.probe, pool=spec.pools[0], evaluator=Item(name=name), protocol=spec.protocol
    )
    return evaluate(data, request, spec, spec.params(**params))


def probe_of(data: Subject) -> Any:
    kept: list[Any] = []

    def keep(probe: Any, params: Any) -> benchmark.Evaluation:
        kept.append(probe)
        return benchmark.Evaluation(measurements=(benchmark.Measurement(metric="accuracy", value=0.0, n=1),))

    spec = dataclasses.replace(SPECS["fc1"], evaluate=keep)
    request = ScoreRequest(tap=data.source.layout.probe, pool="none", evaluator=Item(name="fc1"), protocol="fc1@1")
    evaluate(data, request, spec, None)
    return kept[0]
