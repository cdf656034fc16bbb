"""Running an evaluator: what its probe gives, and which evaluations are refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import benchmark
from benchmark.api.cells import Item, ScoreRequest
from benchmark.errors import PluginError
from benchmark.evaluation.evaluate import Subject, evaluate
from benchmark.testing.miniature import probe_subject

REQUEST = ScoreRequest(tap="conv2", pool="average", evaluator=Item(name="tried", label="tried"), protocol="tried@1")


def measured(value: float = 0.5, **changes: Any) -> benchmark.Measurement:
    fields: dict[str, Any] = {"metric": "accuracy", "value": value, "n": 40, **changes}
    return benchmark.Measurement(**fields)


def spec_of(function: Any) -> benchmark.EvaluatorSpec:
    return benchmark.EvaluatorSpec(
        name="tried", summary="", evaluate=function, metrics=(benchmark.Metric(name="accuracy"),)
    )


def probe_of(subject: Subject, request: ScoreRequest = REQUEST) -> Any:
    probes = []

    def keep(probe: Any, params: Any) -> benchmark.Evaluation:
        probes.append(probe)
        return benchmark.Evaluation(measurements=(measured(),))

    evaluate(subject, request, spec_of(keep), None)
    return probes[0]


def test_probe_has_features_labels_and_classes() -> None:
    subject = probe_subject()
    probe = probe_of(subject)
    assert (probe.tap, probe.pool, probe.class_names) == ("conv2", "average", subject.class_names)
    assert torch.equal(probe.train.labels, subject.train.labels)
    assert torch.equal(probe.test.images, subject.test.images)
    assert torch.equal(probe.test.features(), subject.source.read("test", "conv2", "average"))
    assert torch.equal(probe.train.features("conv1", "flat"), subject.source.read("train", "conv1", "flat"))


def test_probe_encodes_images_in_the_shape_of_the_tap_or_pooled() -> None:
    probe, images = probe_of(probe_subject()), torch.rand(3, 3, 16, 16)
    assert probe.encode(images).shape == (3, 12, 4, 4)
    assert torch.equal(probe.encode(images, "conv1", pool="flat"), probe.encode(images, "conv1").flatten(1))


def test_generator_of_a_probe_depends_on_dataset_and_protocol_only() -> None:
    def draw(seed: int = 0, fingerprint: str = "small", protocol: str = "tried@1", tap: str = "conv2") -> float:
        subject = probe_subject(seed)
        subject = dataclasses.replace(subject, fingerprint=fingerprint)
        request = ScoreRequest(tap=tap, pool="flat", evaluator=REQUEST.evaluator, protocol=protocol)
        return float(torch.rand(1, generator=probe_of(subject, request).generator))

    assert draw() == draw(seed=1) == draw(tap="conv1")
    assert len({draw(), draw(fingerprint="other"), draw(protocol="tried@2")}) == 3


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        (None, r"evaluator 'tried': evaluate returned NoneType, but must return benchmark\.Evaluation"),
        (benchmark.Evaluation(measurements=()), r"the evaluation has no measurement; raise UnsupportedError"),
        (
            benchmark.Evaluation(measurements=(measured(metric="f1"),)),
            r"metric 'f1' is not declared; declared: accuracy",
        ),
        (benchmark.Evaluation(measurements=(measured(float("nan")),)), r"accuracy is nan, but must be finite"),
        (benchmark.Evaluation(measurements=(measured(), measured())), r"metric 'accuracy' is measured twice"),
        (
            benchmark.Evaluation(measurements=(measured(outcomes=np.ones(39, dtype=bool)),)),
            r"accuracy has 39 outcomes for 40 test images",
        ),
    ],
    ids=["no evaluation", "no measurement", "undeclared metric", "not finite", "twice", "other length"],
)
def test_invalid_evaluation_is_refused(evaluation: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        evaluate(probe_subject(), REQUEST, spec_of(lambda probe, params: evaluation), None)


def test_metric_may_have_a_setting() -> None:
    evaluation = benchmark.Evaluation(measurements=(measured(metric="accuracy@k=1"), measured(metric="accuracy@k=3")))
    assert evaluate(probe_subject(), REQUEST, spec_of(lambda probe, params: evaluation), None) is evaluation


def test_exception_of_the_evaluator_passes_unchanged() -> None:
    def fail(probe: Any, params: Any) -> benchmark.Evaluation:
        raise ZeroDivisionError("in the plugin")

    with pytest.raises(ZeroDivisionError, match="in the plugin"):
        evaluate(probe_subject(), REQUEST, spec_of(fail), None)
