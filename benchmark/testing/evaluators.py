"""Conformance check of evaluators."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from benchmark.api.cells import Item, ScoreRequest
from benchmark.api.evaluators import Evaluation, EvaluatorSpec
from benchmark.evaluation.evaluate import LabeledImages, Subject, evaluate
from benchmark.evaluation.features import FrozenFeatures, frozen_features
from benchmark.testing.conformance import require, unchanged_global_state
from benchmark.testing.miniature import probe_subject


def check_evaluator(spec: EvaluatorSpec, params: Any = None) -> Evaluation:
    """Checks that scores are reproducible, the encoder stays frozen, and test labels do not influence predictions.

    Args:
        spec: the evaluator.
        params: instance of `spec.params`; default: its defaults.

    Returns:
        Its evaluation of a small frozen encoder.

    Raises:
        ConformanceError: with what is wrong.
        FrozenError: the evaluator changed the encoder.
        PluginError: no measurement, an undeclared metric, a value that is not finite, or outcomes of another length.
    """
    name = f"evaluator '{spec.name}'"
    params = spec.params() if params is None else params
    subject = probe_subject()
    with unchanged_global_state(name):
        evaluation = _evaluate(spec, params, subject)
    require(
        _scores(evaluation) == _scores(_evaluate(spec, params, subject)),
        f"{name}: the same features gave other scores; draw random numbers from probe.generator",
    )
    _check_labels(name, spec, params, subject, evaluation)
    return evaluation


def _evaluate(spec: EvaluatorSpec, params: Any, subject: Subject) -> Evaluation:
    request = ScoreRequest(tap="conv2", pool=spec.pools[0], evaluator=Item(name=spec.name), protocol=spec.protocol)
    assert isinstance(subject.source, FrozenFeatures)
    with frozen_features(subject.source.encoder):
        return evaluate(subject, request, spec, params)


def _scores(evaluation: Evaluation) -> list[tuple[str, float, object]]:
    """Values with their outcomes: two random guesses may reach the same accuracy, but not on the same images."""
    return [
        (each.metric, each.value, None if each.outcomes is None else np.asarray(each.outcomes).tobytes())
        for each in evaluation.measurements
    ]


def _check_labels(name: str, spec: EvaluatorSpec, params: Any, subject: Subject, evaluation: Evaluation) -> None:
    """Predictions do not depend on test labels; scores of an evaluator without labels depend on no labels."""
    other_test = dataclasses.replace(subject, test=_relabeled(subject.test))
    predictions = _evaluate(spec, params, other_test).predictions
    for key, prediction in evaluation.predictions.items():
        require(
            bool(np.array_equal(prediction, predictions[key])),
            f"{name}: other test labels gave other predictions ('{key}'); test labels may only be used to score",
        )
    if spec.labels == "none":
        other_labels = dataclasses.replace(other_test, train=_relabeled(subject.train))
        require(
            _scores(evaluation) == _scores(_evaluate(spec, params, other_labels)),
            f"{name}: other labels gave other scores, but its spec declares labels='none'",
        )


def _relabeled(split: LabeledImages) -> LabeledImages:
    return LabeledImages(images=split.images, labels=split.labels.flip(0))
