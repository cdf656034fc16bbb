"""Score frozen features: run one evaluator at one tap and check its evaluation.

Evaluators see features, labels and a function that encodes further images. They never see the encoder itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from benchmark.api.cells import ScoreRequest
from benchmark.api.encoders import Layout, Pool
from benchmark.api.evaluators import Evaluation, EvaluatorSpec, Measurement
from benchmark.encoder import pooled
from benchmark.errors import PluginError
from benchmark.records.metric_ranges import range_of, range_text
from benchmark.records.outcomes import mismatch
from benchmark.seeding import derived_seed


class FeatureSource(Protocol):
    """Where features are read: see `benchmark.evaluation.features.FrozenFeatures`."""

    @property
    def layout(self) -> Layout:
        """The taps of the encoder."""
        ...

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        """(N, D) float32 features of `train` or `test`; (N, *tap.shape) without pooling."""
        ...

    def encode(self, images: Tensor, tap: str) -> Tensor:
        """The features of float32 images in [0, 1] in the tap's own shape."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabeledImages:
    """One split of a dataset."""

    images: Tensor
    """(N, C, H, W) uint8, on the device, or on the CPU if they do not fit there."""
    labels: Tensor
    """(N,) int64, on the device."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Frozen features and labels to score."""

    source: FeatureSource
    """Reads the features."""
    train: LabeledImages
    """The training split, on which heads are fitted."""
    test: LabeledImages
    """The test split, which is scored."""
    class_names: tuple[str, ...]
    """Index = label."""
    fingerprint: str
    """Fingerprint of the dataset. It seeds the evaluators' generator, so that every cell on one dataset gets the same
    draws."""


@dataclass(frozen=True, kw_only=True)
class _Split:
    """Implements `benchmark.ProbeSplit`."""

    images: Tensor
    labels: Tensor
    name: str
    source: FeatureSource
    tap: str
    pool: Pool

    def features(self, tap: str | None = None, pool: Pool | None = None) -> Tensor:
        """(N, D) float32; (N, *tap.shape) without pooling. Default: the tap and the pooling of the request."""
        return self.source.read(self.name, tap or self.tap, pool or self.pool)


@dataclass(frozen=True, kw_only=True)
class _Probe:
    """Implements `benchmark.Probe`."""

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
        """The features of float32 images in [0, 1], in the tap's own shape or pooled; frozen, without a graph."""
        name = tap or self.tap
        return pooled(self.source.encode(images, name), self.layout.tap(name), pool)


def evaluate(subject: Subject, request: ScoreRequest, spec: EvaluatorSpec, params: Any) -> Evaluation:
    """Runs an evaluator at a tap.

    Args:
        subject: features and labels.
        request: the tap, the pooling and the protocol.
        spec: the evaluator.
        params: an instance of its `params` dataclass.

    Raises:
        PluginError: the evaluator violates its contract. An exception of the evaluator passes unchanged.
    """
    evaluation = spec.evaluate(_probe(subject, request), params)
    return check_evaluation(spec, evaluation, len(subject.test.labels))


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
    """Returns the evaluation if it is what the spec declares.

    Raises:
        PluginError: it is no Evaluation, it has no measurement or an undeclared metric, a value is not finite or is not in
            the range of its unit, the number of outcomes is not `num_test`, or their mean is not the value.
    """
    if not isinstance(evaluation, Evaluation):
        raise PluginError(
            f"evaluator '{spec.name}': evaluate returned {type(evaluation).__name__}, but must return "
            "benchmark.Evaluation"
        )
    if not evaluation.measurements:
        raise PluginError(
            f"evaluator '{spec.name}': the evaluation has no measurement; raise UnsupportedError if nothing can be measured"
        )
    declared = {metric.name for metric in spec.metrics}
    seen: set[str] = set()
    for measurement in evaluation.measurements:
        _check_measurement(spec, measurement, declared, num_test)
        if measurement.metric in seen:
            raise PluginError(f"evaluator '{spec.name}': the metric '{measurement.metric}' is measured twice")
        seen.add(measurement.metric)
    return evaluation


def _check_measurement(spec: EvaluatorSpec, measurement: Measurement, declared: set[str], num_test: int) -> None:
    metric = measurement.metric
    if metric.partition("@")[0] not in declared:
        raise PluginError(
            f"evaluator '{spec.name}': the metric '{metric}' is not declared; declared: {', '.join(sorted(declared))}"
        )
    if not math.isfinite(measurement.value):
        raise PluginError(f"evaluator '{spec.name}': {metric} is {measurement.value}, but must be finite")
    unit = next(each.unit for each in spec.metrics if each.name == metric.partition("@")[0])
    low, high = range_of(spec.protocol, metric, unit)
    if not low <= measurement.value <= high:
        raise PluginError(
            f"evaluator '{spec.name}': {metric} is {measurement.value}, but its unit is a {unit}: it must be "
            f"{range_text(spec.protocol, metric, unit)}. Declare another unit in its spec"
        )
    if measurement.outcomes is not None and len(measurement.outcomes) != num_test:
        raise PluginError(
            f"evaluator '{spec.name}': {metric} has {len(measurement.outcomes)} outcomes for {num_test} test images; "
            "return one per image"
        )
    if measurement.outcomes is not None:
        problem = mismatch(measurement, np.asarray(measurement.outcomes))
        if problem:
            raise PluginError(f"evaluator '{spec.name}': {metric} is {measurement.value}, but {problem}")
