"""From frozen features to numbers: each evaluator, at each tap that was asked for.

Evaluators see features, labels and a way to encode more images; where features come from is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmark.api.cells import ScoreRequest
from benchmark.api.encoders import Layout, Pool
from benchmark.api.evaluators import Evaluation, EvaluatorSpec, Measurement
from benchmark.encoder import pooled
from benchmark.errors import PluginError
from benchmark.seeding import derived_seed


class FeatureSource(Protocol):
    """Where features are read: see `benchmark.features.FrozenFeatures`."""

    @property
    def layout(self) -> Layout:
        """The encoder's taps."""
        ...

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        """(N, D) float32 features of `train` or `test`; (N, *tap.shape) without pooling."""
        ...

    def encode(self, images: Tensor, tap: str) -> Tensor:
        """The tap's own shape for float32 images in [0, 1]."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabeledImages:
    """One split."""

    images: Tensor
    """(N, C, H, W) uint8: on the device, or on the CPU if they are too many for it."""
    labels: Tensor
    """(N,) int64 on the device."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is scored."""

    source: FeatureSource
    train: LabeledImages
    test: LabeledImages
    class_names: tuple[str, ...]
    fingerprint: str
    """The dataset's: evaluators' chance is fixed by it, not by the cell's seed."""


@dataclass(frozen=True, kw_only=True)
class _Split:
    """A split as an evaluator sees it (see `benchmark.ProbeSplit`)."""

    images: Tensor
    labels: Tensor
    name: str
    source: FeatureSource
    tap: str
    pool: Pool

    def features(self, tap: str | None = None, pool: Pool | None = None) -> Tensor:
        """(N, D) float32, (N, *tap.shape) without pooling; default: the tap and pooling that are being scored."""
        return self.source.read(self.name, tap or self.tap, pool or self.pool)


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """What an evaluator is given (see `benchmark.Probe`)."""

    train: _Split
    test: _Split
    tap: str
    pool: Pool
    layout: Layout
    class_names: tuple[str, ...]
    device: torch.device
    generator: torch.Generator
    source: FeatureSource

    def encode(self, images: Tensor, tap: str | None = None, pool: Pool = "none") -> Tensor:
        """A tap of float32 images in [0, 1], in its own shape or pooled: frozen, no graph."""
        name = tap or self.tap
        return pooled(self.source.encode(images, name), self.layout.tap(name), pool)


def evaluate(
    subject: Subject,
    requests: Iterable[ScoreRequest],
    resolve: Callable[[ScoreRequest], tuple[EvaluatorSpec, Any]],
) -> Iterator[tuple[ScoreRequest, EvaluatorSpec, Evaluation]]:
    """Each request with what was found, as soon as it is found.

    Args:
        subject: features and labels.
        requests: evaluators at taps.
        resolve: request -> the evaluator's spec and bound parameters.

    Raises:
        PluginError: an evaluator does not keep its contract. What it raises itself passes unchanged.
    """
    for request in requests:
        spec, params = resolve(request)
        yield (
            request,
            spec,
            check_evaluation(spec, spec.evaluate(_probe(subject, request), params), len(subject.test.labels)),
        )


def _probe(subject: Subject, request: ScoreRequest) -> _Probe:
    def split(name: str, images: LabeledImages) -> _Split:
        return _Split(
            images=images.images,
            labels=images.labels,
            name=name,
            source=subject.source,
            tap=request.tap,
            pool=request.pool,
        )

    seed = derived_seed(0, "evaluator", subject.fingerprint, request.protocol)
    return _Probe(
        train=split("train", subject.train),
        test=split("test", subject.test),
        tap=request.tap,
        pool=request.pool,
        layout=subject.source.layout,
        class_names=subject.class_names,
        device=subject.train.labels.device,
        generator=torch.Generator().manual_seed(seed),
        source=subject.source,
    )


def check_evaluation(spec: EvaluatorSpec, evaluation: object, num_test: int) -> Evaluation:
    """The evaluation, if it is what the spec declares.

    Raises:
        PluginError: not an Evaluation, none or an undeclared metric, a value that is not finite, outcomes of another length.
    """
    if not isinstance(evaluation, Evaluation):
        raise PluginError(
            f"evaluator '{spec.name}' gave {type(evaluation).__name__}, but must give benchmark.Evaluation"
        )
    if not evaluation.measurements:
        raise PluginError(f"evaluator '{spec.name}' gave no measurement; where there is none to give, raise instead")
    declared = {metric.name for metric in spec.metrics}
    seen: set[str] = set()
    for measurement in evaluation.measurements:
        _check_measurement(spec, measurement, declared, num_test)
        if measurement.metric in seen:
            raise PluginError(f"evaluator '{spec.name}' gave '{measurement.metric}' twice")
        seen.add(measurement.metric)
    return evaluation


def _check_measurement(spec: EvaluatorSpec, measurement: Measurement, declared: set[str], num_test: int) -> None:
    name = measurement.metric.partition("@")[0]
    if name not in declared:
        raise PluginError(
            f"evaluator '{spec.name}' gave the metric '{measurement.metric}', but declares {', '.join(sorted(declared))}"
        )
    if not math.isfinite(measurement.value):
        raise PluginError(f"evaluator '{spec.name}': {measurement.metric} is {measurement.value}, not a finite number")
    if measurement.outcomes is not None and len(measurement.outcomes) != num_test:
        raise PluginError(
            f"evaluator '{spec.name}': {measurement.metric} has {len(measurement.outcomes)} outcomes for {num_test} test images"
        )
