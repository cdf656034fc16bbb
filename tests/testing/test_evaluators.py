"""The conformance check of evaluators accepts a valid evaluator and rejects each violation of the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import benchmark
from benchmark.errors import FrozenError
from benchmark.testing import ConformanceError, check_evaluator


def evaluator(evaluate: Callable[[Any, Any], Any], **fields: Any) -> benchmark.EvaluatorSpec:
    return benchmark.EvaluatorSpec(
        name="planted", summary="", evaluate=evaluate, metrics=(benchmark.Metric(name="accuracy"),), **fields
    )


def evaluation(correct: Any, predicted: Any = None, **fields: Any) -> benchmark.Evaluation:
    values = {"metric": "accuracy", "value": float(np.mean(correct)), "n": len(correct), "outcomes": correct, **fields}
    predictions = {} if predicted is None else {"class": predicted}
    return benchmark.Evaluation(measurements=(benchmark.Measurement(**values),), predictions=predictions)


def by_sign(probe: benchmark.Probe, params: Any) -> benchmark.Evaluation:
    """A valid evaluator: the sign of the first feature predicts class 0 or 1."""
    predicted = (probe.test.features()[:, 0] > probe.train.features()[:, 0].median()).long()
    return evaluation((predicted == probe.test.labels).numpy(), predicted.numpy())


def assert_rejected(spec: benchmark.EvaluatorSpec, message: str, error: type[Exception] = ConformanceError) -> None:
    with pytest.raises(error, match=message):
        check_evaluator(spec)


def test_valid_evaluator_passes() -> None:
    assert check_evaluator(evaluator(by_sign)).measurements[0].n == 40


def test_predictions_from_test_labels_are_rejected() -> None:
    def cheat(probe: benchmark.Probe, params: Any) -> benchmark.Evaluation:
        labels = probe.test.labels.numpy()
        return evaluation(np.ones(len(labels), dtype=bool), labels)

    assert_rejected(evaluator(cheat), r"other test labels gave other predictions \('class'\)")


def test_undeclared_labels_are_rejected() -> None:
    check_evaluator(evaluator(by_sign, labels="all"))
    assert_rejected(evaluator(by_sign, labels="none"), r"other labels gave other scores, .* declares labels='none'")


def test_trained_encoder_is_rejected() -> None:
    def train(probe: Any, params: Any) -> benchmark.Evaluation:
        with torch.no_grad():
            next(probe.source.encoder.parameters()).add_(0.1)
        return by_sign(probe, params)

    assert_rejected(evaluator(train), r"changed", FrozenError)


def test_updated_running_statistics_are_rejected() -> None:
    def update(probe: Any, params: Any) -> benchmark.Evaluation:
        network = probe.source.encoder.train()
        with torch.no_grad():
            network(probe.train.images.float() / 255, ["conv2"])
        return by_sign(probe, params)

    assert_rejected(evaluator(update), r"changed", FrozenError)


def test_own_random_numbers_are_rejected() -> None:
    generator = np.random.default_rng(7)

    def guess(probe: benchmark.Probe, params: Any) -> benchmark.Evaluation:
        return evaluation(generator.random(len(probe.test.labels)) < 0.5)

    message = r"the same features gave other scores; draw random numbers from probe\.generator"
    assert_rejected(evaluator(guess), message)


def test_use_of_the_global_random_stream_is_rejected() -> None:
    def seed(probe: benchmark.Probe, params: Any) -> benchmark.Evaluation:
        torch.manual_seed(0)
        torch.rand(3)
        return by_sign(probe, params)

    before = torch.random.get_rng_state()
    try:
        assert_rejected(evaluator(seed), r"changed global state: torch's random stream")
    finally:
        torch.random.set_rng_state(before)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric": "f1"}, benchmark.PluginError, r"'f1'.*accuracy"),
        ({"value": float("nan"), "outcomes": None}, benchmark.PluginError, r"accuracy is nan"),
        ({"outcomes": np.ones(3, dtype=bool)}, benchmark.PluginError, r"3 outcomes for 40 test images"),
        ({"value": 87.5, "outcomes": None}, benchmark.PluginError, r"accuracy is 87\.5, but its unit is a fraction"),
        ({"value": 0.25}, benchmark.PluginError, r"accuracy is 0\.25, but the mean of its outcomes is 1"),
    ],
    ids=["undeclared", "nan", "length", "percentage", "mean"],
)
def test_invalid_measurement_is_rejected(change: dict[str, Any], error: type[Exception], message: str) -> None:
    spec = evaluator(lambda probe, params: evaluation(np.ones(40, dtype=bool), **change))
    assert_rejected(spec, message, error)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, r"NoneType.*benchmark\.Evaluation"),
        (benchmark.Evaluation(measurements=()), r"measurement"),
        (
            benchmark.Evaluation(measurements=(benchmark.Measurement(metric="accuracy", value=1.0, n=40),) * 2),
            r"'accuracy'.*twice",
        ),
    ],
    ids=["none", "empty", "twice"],
)
def test_invalid_evaluation_is_rejected(returned: Any, message: str) -> None:
    assert_rejected(evaluator(lambda probe, params: returned), message, benchmark.PluginError)
