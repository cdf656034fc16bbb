"""Training on a GPU: captured steps and low precision stay close to plain steps in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from plain_training import CASES, COUNT, SGD, Case
from small_trainings import MeanColor, ReadsItsLoss

import benchmark
from benchmark.progress import silent
from benchmark.training import acceleration
from benchmark.training.loop import train
from benchmark.training.task import Trained

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")]
GPU = torch.device("cuda:0")
EPOCHS = 30
"""One step each, so that the curve holds the loss of each step. 11 of them precede the capture."""
GENTLE: dict[str, Any] = {**SGD, "lr": 0.01}
TOLERANCE = 5e-3
"""Relative tolerance of the losses of 30 steps in float32 on a GPU, whose kernels add in another order each time. In
DIM's adversarial prior, a difference of 3e-4 in the first weights becomes 2.6e-2 by then (measured on a CPU), so 1e-6
may become 1e-4."""


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Float32 without TF32, and deterministic kernels."""
    monkeypatch.setattr(acceleration, "training_kernels", lambda device: contextlib.nullcontext())
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = False, True, False
    yield
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


def on_gpu(case: Case, accelerate: Any, build: Any = None, *, low: bool = False, capturable: bool = True) -> Trained:
    encoder = case.fresh_encoder().to(GPU)
    encoder.low_precision = low
    return train(case.task(accelerate, build, capturable=capturable), case.data(GPU), encoder, silent)


def totals(trained: Trained) -> list[float]:
    return [row.losses["total"] for row in trained.curve]


def assert_close(one: Trained, other: Trained) -> None:
    assert totals(one) == pytest.approx(totals(other), rel=TOLERANCE)
    for name, weights in one.encoder.state_dict().items():
        expected = other.encoder.state_dict()[name]
        torch.testing.assert_close(weights, expected, rtol=0.02, atol=0.02 * float(expected.abs().max()), msg=name)


@pytest.mark.usefixtures("exact", "smooth")
@pytest.mark.parametrize("name", CASES)
def test_captured_steps_are_the_plain_steps(name: str) -> None:
    case = CASES[name].with_recipe(epochs=EPOCHS, batch=COUNT, **GENTLE)
    captured, plain = on_gpu(case, "auto"), on_gpu(case, "off")
    if case.spec.capturable:
        assert captured.acceleration["graph"] == "captured"
    assert plain.acceleration["graph"] == "switched off"
    assert_close(captured, plain)


@pytest.mark.usefixtures("exact", "smooth")
def test_captured_steps_follow_the_rate_and_count_the_steps_of_adam() -> None:
    case = CASES["rotation"].with_recipe(epochs=EPOCHS, batch=COUNT)
    captured, plain = on_gpu(case, "auto"), on_gpu(case, "off")
    assert captured.acceleration["graph"] == "captured"
    assert totals(captured) == pytest.approx(totals(plain), rel=10 * TOLERANCE)


@pytest.mark.usefixtures("exact", "smooth")
def test_smaller_last_batch_is_a_plain_step_among_captured_ones() -> None:
    case = CASES["aet projective"].with_recipe(epochs=12, **GENTLE)
    captured, plain = on_gpu(case, "auto"), on_gpu(case, "off")
    assert captured.acceleration["graph"] == "captured"
    assert captured.images_seen == plain.images_seen == 12 * COUNT
    assert_close(captured, plain)


class ReadsProgress(MeanColor):
    """A method whose loss grows with the progress."""

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        return benchmark.Losses(total=super().loss(batch).total * (1 + batch.progress))


@pytest.mark.usefixtures("exact", "smooth")
@pytest.mark.parametrize(("build", "reason"), [(ReadsProgress, "batch.progress"), (ReadsItsLoss, "")])
def test_step_that_cannot_be_captured_gives_a_reason_and_trains_as_before(build: Any, reason: str) -> None:
    case = CASES["rotation"].with_recipe(epochs=EPOCHS, batch=COUNT, **GENTLE)
    tried, plain = on_gpu(case, "auto", build), on_gpu(case, "off", build)
    assert tried.acceleration["graph"].startswith("not captured: ")
    assert reason in tried.acceleration["graph"]
    assert_close(tried, plain)


def test_method_that_is_not_declared_capturable_is_not_captured() -> None:
    case = CASES["rotation"].with_recipe(epochs=EPOCHS, batch=COUNT)
    trained = on_gpu(case, "auto", ReadsProgress, capturable=False)
    assert trained.acceleration["graph"] == "the method does not declare capturable=True"


@pytest.mark.parametrize("name", CASES)
def test_tf32_stays_close_to_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 keeps 10 bits of each factor: 0.05 % per operation."""
    case = CASES[name].with_recipe(epochs=6, batch=COUNT, **GENTLE)
    tf32 = on_gpu(case, "off")
    monkeypatch.setattr(acceleration, "training_kernels", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert totals(tf32) == pytest.approx(totals(on_gpu(case, "off")), rel=0.01)


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_stays_close_to_float32(name: str) -> None:
    """bfloat16 keeps 8 bits: 0.4 % per operation, averaged over images and positions."""
    case = CASES[name].with_recipe(epochs=6, batch=COUNT, **GENTLE)
    assert totals(on_gpu(case, "auto", low=True)) == pytest.approx(totals(on_gpu(case, "off")), rel=0.05)
