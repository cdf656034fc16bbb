"""Scores, predictions and isolation of the heads: `bench_heads.scoring`, `bench_heads.svm`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from head_samples import SPECS, TOKENS, TRAINED, VECTOR, evaluate_head, subject
from torch import Tensor, nn

import benchmark
from bench_heads import scoring
from bench_heads.parameters import AetHeadParams, HeadParams, RotNetHeadParams, SvmParams
from bench_heads.recipes import RECIPES
from benchmark.evaluation.evaluate import LabeledImages
from benchmark.testing.evaluators import check_evaluator
from benchmark.testing.miniature import probe_subject


def test_heads_have_version_1_and_headline_accuracy() -> None:
    assert list(SPECS) == [*TRAINED, "svm"]
    for name, spec in SPECS.items():
        assert spec.protocol == f"{name}@1"
        assert [metric.headline for metric in spec.metrics if metric.headline] == ["accuracy"]


@pytest.mark.parametrize("name", ["fc1", "fc2", "fc3", "conv"])
def test_head_learns_separable_classes(name: str) -> None:
    evaluation = evaluate_head(name, subject(), epochs=12, augment=False)
    assert evaluation.measurements[0].value == 1.0
    assert evaluation.predictions[name].tolist() == [index % 3 for index in range(20)]


@pytest.mark.parametrize("tap", [VECTOR, TOKENS], ids=lambda tap: tap.kind)
def test_head_learns_from_vectors_and_tokens(tap: benchmark.Tap) -> None:
    assert evaluate_head("fc1", subject(tap), epochs=60, augment=False).measurements[0].value == 1.0


def test_mlp_learns_separable_classes() -> None:
    assert evaluate_head("mlp", subject(train=400), epochs=50).measurements[0].value >= 0.95


def test_svm_learns_separable_classes() -> None:
    evaluation = evaluate_head("svm", subject())
    assert evaluation.measurements[0].value == 1.0
    assert evaluation.details["converged"] is True


def test_svm_records_that_it_did_not_converge() -> None:
    assert evaluate_head("svm", subject(), c=1000.0, iterations=1).details["converged"] is False


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("fc1", AetHeadParams(epochs=2)),
        ("fc2", AetHeadParams(epochs=1, augment=False)),
        ("fc3", RotNetHeadParams(epochs=1, augment=False)),
        ("conv", RotNetHeadParams(epochs=1, per_class=2)),
        ("mlp", HeadParams(epochs=1)),
        ("svm", SvmParams(per_class=5, draws=2)),
    ],
)
def test_head_passes_the_conformance_checks(name: str, params: object) -> None:
    evaluation = check_evaluator(SPECS[name], params)
    assert {"labeled_images", "draw_accuracies"} <= set(evaluation.details)
    if name != "svm":
        assert {"epochs", "optimizer", "last_training_loss", "input"} <= set(evaluation.details)


def test_outcomes_are_boolean_for_one_draw_and_fractions_for_several() -> None:
    one = evaluate_head("fc1", subject(), epochs=1).measurements[0].outcomes
    assert one is not None
    assert one.dtype == np.bool_
    evaluation = evaluate_head("fc1", subject(), epochs=1, draws=2)
    several = evaluation.measurements[0].outcomes
    assert several is not None
    assert several.dtype == np.float32
    assert set(np.unique(several)) <= {0.0, 0.5, 1.0}
    assert evaluation.measurements[0].value == pytest.approx(several.mean())
    assert list(evaluation.predictions) == ["fc1@draw=1", "fc1@draw=2"]


def test_more_draws_do_not_change_the_first() -> None:
    one, two = (evaluate_head("fc1", subject(), epochs=1, draws=number, per_class=3) for number in (1, 2))
    assert np.array_equal(one.predictions["fc1"], two.predictions["fc1@draw=1"])


def test_details_describe_the_training() -> None:
    details = evaluate_head("fc3", subject(), epochs=5, per_class=4, augment=False).details
    assert details["rates"] == {"0": 0.1, "1": 0.02, "2": 0.004, "3": 0.0008}
    assert details["optimizer"] == "SGD, momentum 0.9, Nesterov, weight decay 0.0005"
    assert details["input"] == [4, 2, 2]
    assert details["labeled_images"] == 12
    assert details["steps"] == 5


@pytest.mark.parametrize("name", [*TRAINED, "svm"])
def test_predictions_do_not_depend_on_test_labels(name: str) -> None:
    data = subject()
    params: dict[str, Any] = {} if name == "svm" else {"epochs": 1}
    flipped = LabeledImages(images=data.test.images, labels=data.test.labels.flip(0))
    once, repeated = (
        evaluate_head(name, data, **params),
        evaluate_head(name, dataclasses.replace(data, test=flipped), **params),
    )
    assert np.array_equal(once.predictions[name], repeated.predictions[name])


def test_head_is_evaluated_only_after_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spy(nn.Sequential):
        steps = 0
        evaluated_after: list[int] = []  # noqa: RUF012  # shared on purpose

        def forward(self, features: Tensor) -> Tensor:
            Spy.steps += self.training
            if not self.training:
                Spy.evaluated_after.append(Spy.steps)
            logits: Tensor = super().forward(features)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            return logits

    monkeypatch.setattr(scoring, "build_head", lambda *_: Spy(nn.Flatten(), nn.Linear(16, 3)))
    evaluate_head("fc1", subject(), epochs=5, augment=False)
    assert (Spy.steps, Spy.evaluated_after) == (5, [5])


def test_score_is_that_of_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    good = evaluate_head("fc1", subject(), epochs=12, augment=False)
    assert good.measurements[0].value == 1.0
    uphill = dataclasses.replace(RECIPES["fc1"], rates=((12, 0.1), (13, -1e5)), published_epochs=13)
    monkeypatch.setitem(RECIPES, "fc1", uphill)
    assert evaluate_head("fc1", subject(), epochs=13, augment=False).measurements[0].value < 0.2


@pytest.mark.parametrize("name", [*TRAINED, "svm"])
def test_head_neither_uses_nor_changes_global_generators(name: str) -> None:
    params: dict[str, Any] = {} if name == "svm" else {"epochs": 1}
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # a tuple
    once = evaluate_head(name, subject(), **params)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numbers  # type: ignore[index]  # a tuple
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        repeated = evaluate_head(name, subject(), **params)
    assert once.details == repeated.details


def test_encoder_receives_no_gradient() -> None:
    data = probe_subject()
    evaluate_head("conv", data, epochs=1)
    encoder = data.source.encoder  # type: ignore[attr-defined]  # the harness's own
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_features_that_are_not_finite_are_an_error() -> None:
    data = subject()

    def nothing(images: Tensor, tap: str) -> Tensor:
        return torch.full((len(images), 4, 2, 2), torch.nan)

    data.source.encode = nothing  # type: ignore[method-assign]  # a fake
    with pytest.raises(benchmark.TrainingError, match="loss nan in epoch 0 of 2"):
        evaluate_head("fc2", data, epochs=2, augment=False)


@pytest.mark.parametrize("name", ["fc2", "mlp"])
def test_best_epoch_is_reported_beside_the_last(name: str) -> None:
    plain = evaluate_head(name, subject(), epochs=4)
    evaluation = evaluate_head(name, subject(), epochs=4, best=True)
    accuracy, best = evaluation.measurements
    assert accuracy.value == plain.measurements[0].value
    assert np.array_equal(evaluation.predictions[name], plain.predictions[name])
    (by_epoch,) = evaluation.details["epoch_accuracies"]  # type: ignore[misc]  # a list of one draw
    assert len(by_epoch) == 4
    assert by_epoch[-1] == accuracy.value
    assert (best.metric, best.value, best.outcomes) == ("best_epoch_accuracy", max(by_epoch), None)
    assert [measurement.metric for measurement in plain.measurements] == ["accuracy"]


def test_best_epoch_of_several_draws_is_a_mean() -> None:
    evaluation = evaluate_head("mlp", subject(), epochs=3, draws=2, best=True)
    first, second = evaluation.details["epoch_accuracies"]  # type: ignore[misc]  # two draws
    assert evaluation.measurements[1].value == pytest.approx((max(first) + max(second)) / 2)
