"""The training loop: hooks, randomness, reports, and the losses of each epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from small_trainings import IMAGES, RECIPE, MeanColor, equal_weights, train_small, with_loss
from torch import Tensor, nn

import benchmark
from benchmark.errors import TrainingError
from benchmark.images import to_float
from benchmark.progress import Event
from benchmark.testing.miniature import small_images
from benchmark.training.optimizer import learning_rate

# --- hooks ------------------------------------------------------------------------------------------------------------


class Hooked(MeanColor):
    """Has every optional hook, and lists its calls."""

    calls: list[tuple[Any, ...]]

    def called(self, *call: Any) -> None:
        type(self).calls.append(call)

    def parameter_groups(self) -> list[dict[str, Any]]:
        self.called("parameter_groups")
        return [{"params": list(self.parameters())}]

    def before_training(self, batches: Iterable[Tensor]) -> None:
        self.called("before_training", torch.cat(list(batches)))

    def before_step(self, progress: float) -> None:
        self.called("before_step", progress)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        self.called("loss", batch.progress)
        return super().loss(batch)

    def after_step(self, progress: float) -> None:
        self.called("after_step", progress)

    def after_epoch(self, progress: float, batches: Iterable[Tensor]) -> None:
        self.called("after_epoch", progress, torch.cat(list(batches)))

    def trained_encoder(self) -> nn.Module:
        self.called("trained_encoder")
        return self.encoder

    def trivial_losses(self) -> dict[str, float]:
        self.called("trivial_losses")
        return {}


@pytest.fixture
def hooked() -> type[Hooked]:
    return type("Fresh", (Hooked,), {"calls": []})


def test_hooks_are_called_in_order_with_the_progress(hooked: type[Hooked]) -> None:
    train_small(hooked, recipe=dataclasses.replace(RECIPE, epochs=2))
    steps = [[("before_step", i / 4), ("loss", i / 4), ("after_step", (i + 1) / 4)] for i in range(4)]
    calls = [call[:2] if call[0].endswith(("step", "loss", "epoch")) else call[:1] for call in hooked.calls]
    assert calls == [
        ("parameter_groups",),
        ("before_training",),
        *steps[0],
        *steps[1],
        ("after_epoch", 0.5),
        *steps[2],
        *steps[3],
        ("after_epoch", 1.0),
        ("trained_encoder",),
        ("trivial_losses",),
    ]


def test_before_training_and_after_epoch_receive_all_images_without_augmentation(hooked: type[Hooked]) -> None:
    images, _ = small_images(IMAGES)
    train_small(hooked)
    received = [call[-1] for call in hooked.calls if call[0] in ("before_training", "after_epoch")]
    assert len(received) == 4
    assert all(torch.equal(each, to_float(images)) for each in received)


def test_method_that_does_not_train_is_prepared_without_steps(hooked: type[Hooked]) -> None:
    trained = train_small(hooked, trains=False)
    assert [call[0] for call in hooked.calls] == ["before_training", "trained_encoder", "trivial_losses"]
    assert (trained.curve, trained.images_seen, trained.failed_to_learn) == ((), 0, None)
    assert not {"compile", "memory"} & trained.acceleration.keys()


# --- randomness -------------------------------------------------------------------------------------------------------


class WithDropout(MeanColor):
    """Draws from the global generator in its loss."""

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        features = nn.functional.dropout(self.encoder.vector(batch.images), 0.5)
        return benchmark.Losses(total=self.head(features).square().mean())


@pytest.mark.parametrize("build", [MeanColor, WithDropout])
def test_seed_determines_the_weights(build: type[MeanColor]) -> None:
    first, second = train_small(build), train_small(build)
    assert equal_weights(first, second)
    assert first.curve == second.curve
    assert not equal_weights(first, train_small(build, seed=1))


def test_training_neither_reads_nor_changes_the_global_random_state() -> None:
    first = train_small()
    torch.manual_seed(123)
    torch.rand(7)
    before = torch.random.get_rng_state()
    second = train_small()
    assert equal_weights(first, second)
    assert torch.equal(before, torch.random.get_rng_state())


# --- losses and reports -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_is_reported_with_step_and_parts(value: float) -> None:
    steps = iter(range(1, 100))
    method = with_loss(
        lambda method, batch, losses: benchmark.Losses(
            total=losses.total * value if next(steps) == 4 else losses.total,
            parts={"prior": torch.tensor(0.25), **losses.parts},
        )
    )
    with pytest.raises(TrainingError, match=rf"step 4 \(epoch 2\): total {value:g}, prior 0\.25, error") as caught:
        train_small(method)
    assert "tried / small" in str(caught.value)
    assert caught.value.exit_code == 3


def test_curve_has_the_mean_losses_and_the_last_rate_of_each_epoch() -> None:
    values: list[float] = []

    def keep(method: MeanColor, batch: benchmark.Batch, losses: benchmark.Losses) -> benchmark.Losses:
        values.append(losses.total.item())
        return losses

    trained = train_small(with_loss(keep))
    means = [sum(values[i : i + 2]) / 2 for i in (0, 2, 4)]
    assert [row.losses["total"] for row in trained.curve] == pytest.approx(means)
    assert [row.learning_rate for row in trained.curve] == [learning_rate(RECIPE, step, 2) for step in (1, 3, 5)]


@pytest.mark.parametrize(
    ("seconds", "steps"), [(0.0, [(epoch, part) for epoch in range(3) for part in (0.5, 1.0)]), (1000.0, [])]
)
def test_steps_are_reported_at_most_once_per_interval(seconds: float, steps: list[tuple[int, float]]) -> None:
    events: list[Event] = []
    train_small(reporter=events.append, report_seconds=seconds)
    reported = [(event.done, event.values["part"]) for event in events if event.kind == "step"]
    assert reported == steps or (not steps and len(reported) <= 1)  # the first step is reported at once


def test_epochs_are_reported_with_loss_and_speed() -> None:
    events: list[Event] = []
    trained = train_small(reporter=events.append)
    epochs = [event for event in events if event.kind == "epoch"]
    assert [(event.done, event.total) for event in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert [event.values["loss"] for event in epochs] == [row.losses["total"] for row in trained.curve]
    assert all(event.values["images/s"] > 0 for event in epochs)
