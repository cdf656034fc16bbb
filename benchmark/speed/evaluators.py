"""Measure the time and the memory of evaluators on synthetic features."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.api.cells import Item, ScoreRequest
from benchmark.api.encoders import Layout, Pool, Tap
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.errors import UnsupportedError
from benchmark.evaluation.evaluate import LabeledImages, Subject, evaluate
from benchmark.speed.measurement import Measurement, MeasurementSettings, not_timed
from benchmark.speed.memory import peak_memory
from benchmark.speed.timing import synchronize

INNER_WIDTH = 64
"""Dimensions of the mixture of Gaussians that synthetic features are made from."""
BLOCK = 5000
"""Images per block when synthetic features are made."""


@dataclass(frozen=True, kw_only=True)
class FeatureSize:
    """Size of the synthetic features."""

    train: int = 50_000
    """Training images, 20 or more."""
    test: int = 10_000
    """Test images, 20 or more."""
    width: int = 512
    """Dimensions of a feature vector, 1 or more."""
    classes: int = 10


@dataclass(frozen=True, kw_only=True)
class TimedEvaluator:
    """An evaluator to be measured."""

    label: str
    """Name and parameters, such as `knn[k=5]`."""
    spec: EvaluatorSpec
    params: Any


class SyntheticFeatures:
    """Features whose classes overlap as those of an encoder do.

    A mixture of Gaussians in 64 dimensions, projected to the requested width, with noise, rectified.

    Args:
        size: number of images, dimensions and classes.
        device: where to put the features.
    """

    def __init__(self, size: FeatureSize, device: torch.device) -> None:
        tap = Tap(name="synthetic", kind="vector", shape=(size.width,))
        self.layout = Layout(taps=(tap,), output="synthetic", probe="synthetic", local=None)
        generator = torch.Generator().manual_seed(0)
        centers = 0.35 * torch.randn(size.classes, INNER_WIDTH, generator=generator)
        projection = torch.randn(INNER_WIDTH, size.width, generator=generator) / 8
        self.labels: dict[str, Tensor] = {}
        self.features: dict[str, Tensor] = {}
        for split, count in (("train", size.train), ("test", size.test)):
            labels = torch.randint(size.classes, (count,), generator=generator)
            features = torch.empty(count, size.width)
            for start in range(0, count, BLOCK):
                block = labels[start : start + BLOCK]
                inner = centers[block] + torch.randn(len(block), INNER_WIDTH, generator=generator)
                noise = 0.5 * torch.randn(len(block), size.width, generator=generator)
                features[start : start + BLOCK] = (inner @ projection + noise).relu_()
            self.labels[split], self.features[split] = labels.to(device), features.to(device)

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        """(N, D) float32 features of a split.

        Raises:
            UnsupportedError: features without pooling were requested; synthetic features are vectors.
        """
        if pool == "none":
            raise UnsupportedError("the evaluator needs a map, but synthetic features are vectors")
        return self.features[split]

    def encode(self, images: Tensor, tap: str) -> Tensor:
        """Not supported: synthetic features have no encoder.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError("the evaluator encodes images itself, but synthetic features have no encoder")


def measure_evaluators(
    evaluators: Sequence[TimedEvaluator], size: FeatureSize, settings: MeasurementSettings
) -> list[Measurement]:
    """Seconds and peak memory of each evaluator on synthetic features.

    Args:
        evaluators: the evaluators.
        size: size of the features.
        settings: device, threads and rounds.
    """
    subject = _subject(SyntheticFeatures(size, settings.device), size, settings.device)
    detail = f"{size.train} train, {size.test} test, {size.width} dimensions, {size.classes} classes"
    calls: dict[str, Callable[[], None]] = {}
    measurements = []
    for evaluator in evaluators:
        call = _evaluator_call(subject, evaluator)
        try:
            with peak_memory(settings.device) as peak:
                call()
        except UnsupportedError as error:
            measurements.append(not_timed(evaluator.label, str(error)))
            continue
        measurements.append(
            Measurement(
                subject=evaluator.label,
                quantity="peak memory",
                value=peak.bytes,
                unit="bytes",
                detail=f"without the features; {detail}",
            )
        )
        calls[evaluator.label] = call
    for name, seconds in _time_single_calls(calls, settings).items():
        median, spread = statistics.median(seconds), (min(seconds), max(seconds))
        measurements.append(
            Measurement(subject=name, quantity="seconds", value=median, unit="s", spread=spread, detail=detail)
        )
    return measurements


def _evaluator_call(subject: Subject, evaluator: TimedEvaluator) -> Callable[[], None]:
    spec = evaluator.spec
    item = Item(name=spec.name, label=evaluator.label)
    request = ScoreRequest(tap="synthetic", pool=spec.pools[0], evaluator=item, protocol=spec.protocol)

    def call() -> None:
        evaluate(subject, request, spec, evaluator.params)

    return call


def _subject(source: SyntheticFeatures, size: FeatureSize, device: torch.device) -> Subject:
    blank = torch.zeros(1, 1, 8, 8, dtype=torch.uint8, device=device)
    return Subject(
        source=source,
        train=LabeledImages(images=blank.expand(size.train, -1, -1, -1), labels=source.labels["train"]),
        test=LabeledImages(images=blank.expand(size.test, -1, -1, -1), labels=source.labels["test"]),
        class_names=tuple(str(label) for label in range(size.classes)),
        fingerprint="synthetic",
    )


def _time_single_calls(
    calls: Mapping[str, Callable[[], None]], settings: MeasurementSettings
) -> dict[str, list[float]]:
    """Seconds of one call per round. The call that measured the memory has warmed up the caches."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(settings.rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            synchronize(settings.device)
            seconds[name].append(time.perf_counter() - start)
    return seconds
