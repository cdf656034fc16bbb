"""Conformance check of evaluator plugins."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from benchmark.api.cells import Item, ScoreRequest
from benchmark.api.evaluators import Evaluation, EvaluatorSpec
from benchmark.evaluation.evaluate import LabeledImages, Subject, evaluate
from benchmark.evaluation.features import FrozenFeatures, frozen_features
from benchmark.testing.conformance import NoTrace, require
from benchmark.testing.miniature import probe_subject


def check_evaluator(spec: EvaluatorSpec, params: Any = None) -> Evaluation:
    """An evaluator repeats itself, leaves the encoder frozen, and its predictions do not depend on test labels.

    Args:
        spec: the evaluator.
        params: an instance of `spec.params`; default: its defaults.

    Returns:
        What it found on a small frozen encoder.

    Raises:
        ConformanceError: with what is wrong.
        FrozenError: it changed the encoder.
        PluginError: no measurement, an undeclared metric, a value that is not finite, outcomes of another length.
    """
    params = spec.params() if params is None else params
    subject = probe_subject()
    with NoTrace(f"evaluator '{spec.name}'"):
        first = _evaluated(spec, params, subject)
    again = _evaluated(spec, params, subject)
    require(
        _same_measurements(first, again),
        f"evaluator '{spec.name}': the same features gave other numbers; draw from probe.generator",
    )
    shuffled = LabeledImages(images=subject.test.images, labels=subject.test.labels.flip(0))
    other = _evaluated(spec, params, dataclasses.replace(subject, test=shuffled))
    for name, prediction in first.predictions.items():
        require(
            bool(np.array_equal(prediction, other.predictions[name])),
            f"evaluator '{spec.name}': other test labels gave other predictions ('{name}'); test labels may only score",
        )
    if spec.labels == "none":
        learned = LabeledImages(images=subject.train.images, labels=subject.train.labels.flip(0))
        other = _evaluated(spec, params, dataclasses.replace(subject, train=learned, test=shuffled))
        require(
            _same_measurements(first, other),
            f"evaluator '{spec.name}': other labels gave other numbers, but its spec declares labels='none'",
        )
    _check_values(spec, first)
    return first


def _same_measurements(one: Evaluation, other: Evaluation) -> bool:
    """Values and what they are means of: two guesses may well be right equally often, and about other images."""

    def told(found: Evaluation) -> list[tuple[str, float, object]]:
        return [
            (m.metric, m.value, None if m.outcomes is None else np.asarray(m.outcomes).tobytes())
            for m in found.measurements
        ]

    return told(one) == told(other)


def _evaluated(spec: EvaluatorSpec, params: Any, subject: Subject) -> Evaluation:
    request = ScoreRequest(tap="conv2", pool=spec.pools[0], evaluator=Item(name=spec.name), protocol=spec.protocol)
    assert isinstance(subject.source, FrozenFeatures)
    with frozen_features(subject.source.encoder):
        return evaluate(subject, request, spec, params)


def _check_values(spec: EvaluatorSpec, found: Evaluation) -> None:
    units = {metric.name: metric.unit for metric in spec.metrics}
    for measurement in found.measurements:
        name = f"evaluator '{spec.name}': {measurement.metric}"
        if units[measurement.metric.partition("@")[0]] == "fraction":
            require(0 <= measurement.value <= 1, f"{name} is {measurement.value}, but its unit is a fraction")
        if measurement.outcomes is not None:
            mean = float(np.nanmean(np.asarray(measurement.outcomes, dtype=np.float64)))
            require(
                abs(mean - measurement.value) < 1e-5,
                f"{name} is {measurement.value}, but the mean of its outcomes is {mean}",
            )
