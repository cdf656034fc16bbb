"""Checkpoints: when they are due, and that a resumed training is bit for bit an uninterrupted one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import RECIPE, Build, MeanColor, equal_weights, train_small
from torch import nn

import benchmark
from benchmark.errors import TrainingError
from benchmark.progress import Event
from benchmark.training.checkpoints import CheckpointInterval, conditions_of
from benchmark.training.stop import StopRequest
from benchmark.training.task import TrainingPosition

# --- when -------------------------------------------------------------------------------------------------------------


def test_checkpoint_is_due_after_the_interval() -> None:
    now = [100.0]
    interval = CheckpointInterval(60.0, None, clock=lambda: now[0])
    assert not interval.is_due(TrainingPosition(epoch=0, step=5))
    now[0] += 60
    assert interval.is_due(TrainingPosition(epoch=0, step=6))
    interval.restart()
    assert not interval.is_due(TrainingPosition(epoch=3))
    now[0] -= 1000  # a clock that is set back
    assert not interval.is_due(TrainingPosition(epoch=1, step=1))


def test_checkpoint_is_due_after_every_so_many_epochs() -> None:
    interval = CheckpointInterval(60.0, 2, clock=lambda: 0.0)
    assert [interval.is_due(TrainingPosition(epoch=epoch)) for epoch in (1, 2, 3, 4)] == [False, True, False, True]
    assert not interval.is_due(TrainingPosition(epoch=2, step=1))


def test_no_checkpoint_is_written_before_it_is_due(checkpoint: Path) -> None:
    train_small(checkpoint=checkpoint, checkpoint_seconds=1000)
    assert not checkpoint.exists()


# --- exact resume -----------------------------------------------------------------------------------------------------


class EndedError(Exception):
    """Ends a training from its reporter."""


def interrupt_after(epoch: int) -> Callable[[Event], None]:
    """A reporter that ends the training at the end of an epoch, before the checkpoint of that epoch."""

    def report(event: Event) -> None:
        if event.kind == "epoch" and event.done == epoch:
            raise EndedError

    return report


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def interrupted(checkpoint: Path, build: Build = MeanColor, **task: Any) -> None:
    """Leaves a checkpoint of two epochs."""
    settings = {"checkpoint": checkpoint, "checkpoint_seconds": 1000, "checkpoint_epochs": 1}
    with pytest.raises(EndedError):
        train_small(build, reporter=interrupt_after(3), **settings, **task)
    assert checkpoint.exists()


class Random(MeanColor):
    """Draws from all generators in its loss, and has a running mean."""

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__(context)
        self.register_buffer("mean", torch.zeros(12))

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        features = nn.functional.dropout(self.encoder.vector(batch.images), 0.5) - self.mean
        self.mean.lerp_(features.detach().mean(dim=0), 0.1)
        noise = torch.randn(3, generator=batch.generator)
        return benchmark.Losses(total=(self.head(features) - noise).square().mean())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "milestones"])
def test_resumed_training_is_bit_for_bit_an_uninterrupted_one(checkpoint: Path, optimizer: Any, schedule: Any) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, schedule=schedule, milestones=(1, 2), epochs=4)
    whole = train_small(Random, recipe=recipe)
    interrupted(checkpoint, Random, recipe=recipe)
    resumed = train_small(Random, recipe=recipe, checkpoint=checkpoint)
    assert resumed.resumed_from == TrainingPosition(epoch=2)
    assert equal_weights(whole, resumed)
    assert resumed.curve == whole.curve
    assert resumed.images_seen == whole.images_seen == 4 * 32


def stopping_in_step(stop: StopRequest, number: int) -> type[Random]:
    """A method that requests the stop in one of its steps, 1 for the first."""
    steps = iter(range(1, 100))

    class Stopping(Random):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            if next(steps) == number:
                stop.request()
            return super().loss(batch)

    return Stopping


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("augment", ["crop", "crop-flip"])
def test_stopped_training_resumes_after_the_step_with_the_same_bits(
    checkpoint: Path, number: int, augment: Any
) -> None:
    """In the middle of an epoch of two steps, at its end, and in the last step of the training."""
    recipe = dataclasses.replace(RECIPE, augment=augment)
    whole, stop = train_small(Random, recipe=recipe), StopRequest()
    with pytest.raises(KeyboardInterrupt):
        train_small(
            stopping_in_step(stop, number), recipe=recipe, checkpoint=checkpoint, stop=stop, checkpoint_seconds=1000
        )
    resumed = train_small(Random, recipe=recipe, checkpoint=checkpoint)
    assert resumed.resumed_from == TrainingPosition(epoch=(number - 1) // 2, step=(number - 1) % 2 + 1)
    assert equal_weights(whole, resumed)
    assert resumed.curve == whole.curve
    assert resumed.images_seen == whole.images_seen
    assert not stop.is_checked


def test_training_stopped_after_each_step_gives_the_same_bits(checkpoint: Path) -> None:
    whole, positions = train_small(Random), []
    for _ in range(6):
        stop = StopRequest()
        with pytest.raises(KeyboardInterrupt):
            train_small(stopping_in_step(stop, 1), checkpoint=checkpoint, stop=stop)
        state = torch.load(checkpoint, weights_only=True)
        positions.append((state["epoch"], state["step"]))
    assert positions == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert equal_weights(train_small(Random, checkpoint=checkpoint), whole)


def test_loss_that_was_not_finite_before_the_stop_is_reported_after_the_resume(checkpoint: Path) -> None:
    stop = StopRequest()

    class NotFinite(MeanColor):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            stop.request()
            losses = super().loss(batch)
            return benchmark.Losses(total=losses.total * float("nan"), parts=losses.parts)

    with pytest.raises(KeyboardInterrupt):
        train_small(NotFinite, checkpoint=checkpoint, stop=stop)
    with pytest.raises(TrainingError, match="not finite in step 1 "):
        train_small(checkpoint=checkpoint)


def test_seconds_include_the_time_before_the_interruption(checkpoint: Path) -> None:
    interrupted(checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    torch.save({**state, "seconds": 1000.0}, checkpoint)
    assert 1000 < train_small(checkpoint=checkpoint).seconds < 1060


def test_conditions_are_those_of_the_training_that_wrote_the_checkpoint(checkpoint: Path) -> None:
    interrupted(checkpoint, checkpoint_key="own", sources={"benchmark": "1a2b"})
    conditions = conditions_of(checkpoint, "own")
    assert conditions is not None
    assert (conditions.threads, conditions.sources) == (torch.get_num_threads(), {"benchmark": "1a2b"})
    assert conditions_of(checkpoint, "other") is None
    checkpoint.write_bytes(b"broken")
    assert conditions_of(checkpoint, "own") is None
    assert conditions_of(checkpoint.with_name("missing"), "own") is None


# --- checkpoints that do not fit --------------------------------------------------------------------------------------


def notes_of_a_fresh_start(checkpoint: Path, build: Build = MeanColor, **task: Any) -> list[str]:
    """Trains from the start in spite of a checkpoint, and returns the notes."""
    notes: list[Event] = []
    trained = train_small(build, checkpoint=checkpoint, reporter=notes.append, **task)
    assert trained.resumed_from == TrainingPosition()
    assert equal_weights(trained, train_small(build))
    return [event.text for event in notes if event.kind == "note"]


def test_checkpoint_with_another_key_is_ignored_with_a_note(checkpoint: Path) -> None:
    interrupted(checkpoint, checkpoint_key="version 1")
    (note,) = notes_of_a_fresh_start(checkpoint, checkpoint_key="version 2")
    assert "checkpoint.pt belongs to another cell or version; training starts again" in note


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "another file"])
def test_damaged_checkpoint_is_ignored_with_a_note(checkpoint: Path, damage: str) -> None:
    interrupted(checkpoint)
    whole = checkpoint.read_bytes()
    if damage == "another file":
        torch.save({"weights": torch.zeros(3)}, checkpoint)
    else:
        checkpoint.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage])
    (note,) = notes_of_a_fresh_start(checkpoint)
    assert "checkpoint.pt is damaged or does not fit the method" in note


def test_checkpoint_with_a_flipped_bit_is_not_continued_from(checkpoint: Path) -> None:
    interrupted(checkpoint)
    weights = torch.load(checkpoint, weights_only=True)["method"]["head.weight"]
    body = bytearray(checkpoint.read_bytes())
    body[body.index(weights.numpy().tobytes()) + 5] ^= 0x40
    checkpoint.write_bytes(body)
    assert conditions_of(checkpoint, "") is None
    (note,) = notes_of_a_fresh_start(checkpoint)
    assert "checkpoint.pt is damaged" in note


def test_checkpoint_of_a_changed_method_is_ignored_with_a_note(checkpoint: Path) -> None:
    """The key is the same: a plugin's author edits the method between two runs."""
    interrupted(checkpoint)

    class Wider(MeanColor):
        def __init__(self, context: benchmark.MethodContext) -> None:
            super().__init__(context)
            self.head = nn.Sequential(nn.Linear(12, 5), nn.Linear(5, 3))  # type: ignore[assignment]

    (note,) = notes_of_a_fresh_start(checkpoint, Wider)
    assert "training starts again" in note
