"""The conformance check of methods accepts a valid method and rejects each violation of the contract."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import benchmark
from benchmark.errors import TrainingError
from benchmark.testing import ConformanceError, check_method


class Colors(nn.Module):
    """A valid method; each test below changes one thing."""

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__()
        self.encoder = context.encoder
        self.head = nn.Linear(12, 3)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        return benchmark.Losses(total=self.error(batch).mean())

    def error(self, batch: benchmark.Batch) -> Tensor:
        return (self.head(self.encoder.vector(batch.images)) - batch.images.mean(dim=(2, 3))).square()


def method(build: Callable[[benchmark.MethodContext], nn.Module] = Colors, **fields: Any) -> benchmark.MethodSpec:
    return benchmark.MethodSpec(name="planted", summary="", build=build, **fields)


def assert_rejected(spec: benchmark.MethodSpec, message: str, error: type[Exception] = ConformanceError) -> None:
    with pytest.raises(error, match=message):
        check_method(spec)


def test_valid_method_passes() -> None:
    check_method(method())


# --- training ---------------------------------------------------------------------------------------------------------


def test_state_outside_state_dict_is_rejected() -> None:
    class Hidden(Colors):
        def __init__(self, context: benchmark.MethodContext) -> None:
            super().__init__(context)
            self.weight = 1.0

        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            self.weight *= 0.7
            return benchmark.Losses(total=self.error(batch).mean() * self.weight)

        def after_step(self, progress: float) -> None:
            with torch.no_grad():
                self.encoder.network.conv1[0].weight.add_(0.01 * self.weight)

    assert_rejected(method(Hidden), r"two steps, save, load and two steps gave other weights.*state_dict")


def test_own_random_numbers_are_rejected() -> None:
    generator = np.random.default_rng(7)

    def build(context: benchmark.MethodContext) -> nn.Module:
        with torch.no_grad():
            context.encoder.network.conv1[0].weight.add_(generator.uniform())
        return Colors(context)

    assert_rejected(method(build), r"the same seed gave other weights; draw random numbers from batch\.generator")


def test_loss_without_the_encoder_is_rejected() -> None:
    class Detached(Colors):
        def error(self, batch: benchmark.Batch) -> Tensor:
            return self.head(self.encoder.vector(batch.images).detach()).square()

    assert_rejected(method(Detached), r"does not depend on the encoder", TrainingError)


def test_scored_encoder_that_was_not_trained_is_rejected() -> None:
    class Forgotten(Colors):
        def __init__(self, context: benchmark.MethodContext) -> None:
            super().__init__(context)
            self.kept = copy.deepcopy(context.encoder)

        def trained_encoder(self) -> nn.Module:
            return self.kept

    assert_rejected(method(Forgotten), r"four steps did not change the encoder that is scored")


def test_method_that_refuses_the_encoder_says_why() -> None:
    assert_rejected(method(supports=lambda setting: "only on Tuesdays"), r"refuses .* of this check: only on Tuesdays")


def test_method_without_a_quick_recipe_says_why() -> None:
    def recipe(setting: benchmark.Setting) -> benchmark.Recipe:
        raise benchmark.UnsupportedError("for nobody")

    assert_rejected(method(recipe=recipe), r"no quick recipe.*for nobody")


# --- labels -----------------------------------------------------------------------------------------------------------


def test_undeclared_labels_are_rejected() -> None:
    class Peeking(Colors):
        """batch.labels is None, so it reads the labels from a frame of the harness."""

        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            assert batch.labels is None
            frame = inspect.currentframe()
            while frame is not None and "data" not in frame.f_locals:
                frame = frame.f_back
            assert frame is not None
            labels = frame.f_locals["data"].labels[batch.index]
            return benchmark.Losses(total=nn.functional.cross_entropy(self.encoder.vector(batch.images)[:, :4], labels))

    assert_rejected(method(Peeking), r"other labels gave other weights")


def test_declared_labels_are_allowed() -> None:
    class Supervised(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            features = self.encoder.vector(batch.images)[:, :4]
            return benchmark.Losses(total=nn.functional.cross_entropy(features, batch.labels))

    check_method(method(Supervised, labels="all"))


# --- declarations -----------------------------------------------------------------------------------------------------


def test_halves_that_differ_from_the_loss_are_rejected() -> None:
    class Halved(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            return self.loss_of(batch, 2 * batch.images)

        def views(self, batch: benchmark.Batch) -> Tensor:
            return batch.images

        def loss_of(self, batch: benchmark.Batch, views: Tensor) -> benchmark.Losses:
            return benchmark.Losses(total=self.error(dataclasses.replace(batch, images=views)).mean())

    assert_rejected(method(Halved), r"loss\(batch\) is .*, but loss_of\(batch, views\(batch\)\) is")


class Reading(Colors):
    """Reads the value of a tensor."""

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        error = self.error(batch).mean()
        return benchmark.Losses(total=error if error.item() > 0 else -error)


class Annealed(Colors):
    """Reads the progress."""

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        return benchmark.Losses(total=(1 - batch.progress) * self.error(batch).mean())


@pytest.mark.parametrize(
    ("build", "message"), [(Reading, "reads a tensor's value"), (Annealed, r"reads batch\.progress")]
)
def test_capturable_loss_reads_nothing_on_the_host(build: type[Colors], message: str) -> None:
    check_method(method(build))
    assert_rejected(method(build, capturable=True), f"declares capturable=True, but its loss {message}")


# --- global state -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "change", "read", "restore"),
    [
        (
            "torch's default type",
            lambda: torch.set_default_dtype(torch.float64),
            torch.get_default_dtype,
            torch.set_default_dtype,
        ),
        (
            "the number of threads",
            lambda: torch.set_num_threads(torch.get_num_threads() + 1),
            torch.get_num_threads,
            torch.set_num_threads,
        ),
        ("numpy's random stream", lambda: np.random.seed(3), np.random.get_state, np.random.set_state),
        ("python's random stream", lambda: random.seed(3), random.getstate, random.setstate),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_changed_global_state_in_build_is_rejected(
    part: str, change: Callable[[], Any], read: Callable[[], Any], restore: Callable[[Any], Any]
) -> None:
    def build(context: benchmark.MethodContext) -> nn.Module:
        change()
        return Colors(context).float()

    before = read()
    try:
        assert_rejected(method(build), f"changed global state: {part}")
    finally:
        restore(before)


def test_disabled_gradients_are_rejected() -> None:
    class Off(Colors):
        def trained_encoder(self) -> nn.Module:
            torch.set_grad_enabled(False)
            return self.encoder

    try:
        assert_rejected(method(Off), r"changed global state: gradient mode")
    finally:
        torch.set_grad_enabled(True)
