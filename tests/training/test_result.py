"""The result of a training: the encoder to score, and whether the method learned."""

from __future__ import annotations

import copy

import pytest
import torch
from small_trainings import MeanColor, small_encoder, train_small, with_loss
from torch import nn

import benchmark
from benchmark.errors import PluginError, TrainingError
from benchmark.training.result import failed_to_learn


def test_trained_encoder_of_the_method_is_the_result() -> None:
    class Teacher(MeanColor):
        def __init__(self, context: benchmark.MethodContext) -> None:
            super().__init__(context)
            self.teacher = copy.deepcopy(context.encoder).requires_grad_(False)

        def trained_encoder(self) -> nn.Module:
            return self.teacher

    trained = train_small(Teacher)
    assert torch.equal(next(trained.encoder.parameters()), next(small_encoder().parameters()))
    assert not trained.encoder.training


def test_network_without_normalization_is_refused_as_result() -> None:
    class Bare(MeanColor):
        def trained_encoder(self) -> nn.Module:
            return self.encoder.network

    with pytest.raises(
        PluginError, match=r"trained_encoder\(\) returned SmallEncoder, but must return context\.encoder"
    ):
        train_small(Bare)


def test_weights_that_are_not_finite_after_the_last_step_are_an_error() -> None:
    # The root has an infinite slope at 0: the loss is 0 and finite, the gradient is not.
    method = with_loss(
        lambda method, batch, losses: benchmark.Losses(
            total=(method.encoder.vector(batch.images) * 0).square().sum().sqrt()
        )
    )
    with pytest.raises(TrainingError, match=r"tried / small: .*not finite"):
        train_small(method, steps=1)


@pytest.mark.parametrize(
    ("trivial", "failed"),
    [({}, None), ({"error": 1e9}, False), ({"total": 1e9, "error": 1e9}, False), ({"total": 1e9, "error": 0.0}, True)],
)
def test_method_failed_to_learn_if_a_declared_part_is_not_below_its_trivial_loss(
    trivial: dict[str, float], failed: bool | None
) -> None:
    class Declaring(MeanColor):
        def trivial_losses(self) -> dict[str, float]:
            return trivial

    trained = train_small(Declaring)
    assert trained.failed_to_learn is failed
    assert trained.trivial == trivial


@pytest.mark.parametrize(("last", "failed"), [(0.9, False), (1.0, True), (1.1, True)])
def test_loss_equal_to_its_trivial_value_is_a_failure(last: float, failed: bool) -> None:
    assert failed_to_learn("tried", {"total": 1.0}, {"total": last}) is failed


def test_trivial_loss_of_an_unknown_part_is_refused() -> None:
    with pytest.raises(PluginError, match=r"method 'tried': .*'errror', but the parts are total, error"):
        failed_to_learn("tried", {"errror": 1.0}, {"total": 1.0, "error": 1.0})
