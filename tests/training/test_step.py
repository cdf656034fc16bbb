"""One training step: the batch that a method receives, the losses that it may return, the update of the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_trainings import IMAGES, RECIPE, MeanColor, equal_weights, step_of, train_small, with_loss
from torch import nn

import benchmark
from benchmark.errors import PluginError, TrainingError
from benchmark.images import to_float
from benchmark.testing.miniature import small_images

# --- batches ----------------------------------------------------------------------------------------------------------


class Watched(MeanColor):
    """Keeps the batches that it receives."""

    batches: list[benchmark.Batch]

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        type(self).batches.append(batch)
        return super().loss(batch)


@pytest.fixture
def watched() -> type[Watched]:
    return type("Fresh", (Watched,), {"batches": []})


def test_batch_has_no_labels_unless_the_method_declares_them(watched: type[Watched]) -> None:
    assert not train_small(watched).saw_labels
    assert len(watched.batches) == 6
    assert all(batch.labels is None for batch in watched.batches)


def test_batch_has_the_labels_of_its_images_if_declared(watched: type[Watched]) -> None:
    assert train_small(watched, labels="all").saw_labels
    _, labels = small_images(IMAGES)
    for batch in watched.batches:
        assert batch.labels is not None
        assert torch.equal(batch.labels, labels[batch.index])


def test_batch_has_raw_and_augmented_images(watched: type[Watched]) -> None:
    train_small(watched)
    images, _ = small_images(IMAGES)
    batch = watched.batches[0]
    assert torch.equal(batch.raw, images[batch.index])
    assert batch.images.dtype == torch.float32
    assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1
    assert not torch.equal(batch.images, to_float(batch.raw))


def test_batch_without_augmentation_is_raw_divided_by_255(watched: type[Watched]) -> None:
    train_small(watched, recipe=dataclasses.replace(RECIPE, augment="none"))
    for batch in watched.batches:
        torch.testing.assert_close(batch.images, batch.raw / 255)


def test_batches_of_an_epoch_hold_all_images_once_in_a_new_order(watched: type[Watched]) -> None:
    train_small(watched, recipe=dataclasses.replace(RECIPE, drop_last=False))
    assert [len(batch.index) for batch in watched.batches] == [16, 16, 8] * 3
    epochs = [torch.cat([batch.index for batch in watched.batches[start : start + 3]]) for start in (0, 3, 6)]
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(IMAGES))
    assert not torch.equal(epochs[0], epochs[1])


def test_drop_last_leaves_out_the_smaller_batch_unless_it_is_the_only_one(watched: type[Watched]) -> None:
    train_small(watched)
    assert {len(batch.index) for batch in watched.batches} == {16}
    watched.batches.clear()
    train_small(watched, count=8)
    assert [len(batch.index) for batch in watched.batches] == [8, 8, 8]


def test_progress_rises_from_0_in_equal_steps_below_1(watched: type[Watched]) -> None:
    train_small(watched)
    assert [batch.progress for batch in watched.batches] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])


def test_changes_of_a_batch_do_not_reach_the_dataset() -> None:
    seen = []

    def overwrite(method: MeanColor, batch: benchmark.Batch, losses: benchmark.Losses) -> benchmark.Losses:
        seen.append(int(batch.raw.sum()))
        batch.raw.zero_()
        batch.images.zero_()
        return losses

    # Every step sees all images.
    train_small(with_loss(overwrite), recipe=dataclasses.replace(RECIPE, batch=IMAGES, augment="none"))
    assert len(seen) == 3
    assert len(set(seen)) == 1
    assert seen[0] > 0


# --- losses -----------------------------------------------------------------------------------------------------------


def test_loss_without_the_encoder_is_refused_in_the_first_step() -> None:
    seen = []

    def detached(method: MeanColor, batch: benchmark.Batch, losses: benchmark.Losses) -> benchmark.Losses:
        seen.append(batch)
        return benchmark.Losses(total=method.head(method.encoder.vector(batch.images).detach()).square().mean())

    with pytest.raises(TrainingError, match=r"method 'tried': the loss does not depend on the encoder"):
        train_small(with_loss(detached))
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda total: total.detach(), r"the loss depends on no parameter"),
        (lambda total: total * 0, r"the loss does not depend on the encoder"),
    ],
    ids=["no gradient", "zero gradient"],
)
def test_loss_without_gradient_is_refused(change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        train_small(with_loss(lambda method, batch, losses: benchmark.Losses(total=change(losses.total))))


@pytest.mark.parametrize(
    "returned",
    [
        lambda losses: losses.total,
        lambda losses: None,
        lambda losses: benchmark.Losses(total=losses.total.expand(2)),
        lambda losses: benchmark.Losses(total=1.0),  # type: ignore[arg-type]  # a plugin's mistake
    ],
    ids=["tensor", "none", "two numbers", "float"],
)
def test_loss_of_another_type_is_refused(returned: Callable[[benchmark.Losses], Any]) -> None:
    method = with_loss(lambda method, batch, losses: returned(losses))
    with pytest.raises(PluginError, match=r"method 'tried': loss\(batch\) must return benchmark\.Losses"):
        train_small(method)


def test_loss_of_one_element_is_a_scalar() -> None:
    method = with_loss(lambda method, batch, losses: benchmark.Losses(total=losses.total[None]))
    assert train_small(method).images_seen == 6 * 16


@pytest.mark.parametrize("part", [0.5, None], ids=["float", "none"])
def test_part_that_is_no_scalar_tensor_is_refused(part: Any) -> None:
    method = with_loss(lambda method, batch, losses: benchmark.Losses(total=losses.total, parts={"prior": part}))
    with pytest.raises(
        PluginError, match=r"method 'tried': the part 'prior' that loss\(batch\) returned is not a scalar"
    ):
        train_small(method)


def test_parts_that_change_between_steps_are_refused() -> None:
    steps = iter(range(100))

    def sometimes(method: MeanColor, batch: benchmark.Batch, losses: benchmark.Losses) -> benchmark.Losses:
        parts = {"prior": losses.total.detach()} if next(steps) % 2 else {}
        return benchmark.Losses(total=losses.total, parts=parts)

    with pytest.raises(PluginError, match=r"method 'tried': .*parts none at first and prior now"):
        train_small(with_loss(sometimes))


# --- updates ----------------------------------------------------------------------------------------------------------


class TwoUpdates(MeanColor):
    """Updates the weights twice per step, which is not one loss."""

    def step(self, batch: benchmark.Batch, optimizer: torch.optim.Optimizer) -> benchmark.Losses:
        for _ in range(2):
            losses = super().loss(batch)
            optimizer.zero_grad()
            losses.total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return losses


def test_step_of_the_method_replaces_the_update() -> None:
    trained = train_small(TwoUpdates)
    assert [row.epoch for row in trained.curve] == [1, 2, 3]
    assert not equal_weights(trained, train_small(MeanColor))
    assert equal_weights(trained, train_small(TwoUpdates))


@pytest.mark.parametrize("returned", [None, 0.5], ids=["none", "float"])
def test_step_of_the_method_must_return_losses(returned: Any) -> None:
    class NoLosses(MeanColor):
        def step(self, batch: benchmark.Batch, optimizer: torch.optim.Optimizer) -> Any:
            return returned

    with pytest.raises(PluginError, match=r"method 'tried': step\(batch, optimizer\) must return benchmark\.Losses"):
        train_small(NoLosses)


def test_clip_bounds_the_norm_of_the_whole_gradient() -> None:
    norms = []

    class Measured(MeanColor):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            return benchmark.Losses(total=super().loss(batch).total * 1000)

        def after_step(self, progress: float) -> None:
            squares = [p.grad.square().sum() for p in self.parameters() if p.grad is not None]
            norms.append(float(torch.stack(squares).sum().sqrt()))

    train_small(Measured, recipe=dataclasses.replace(RECIPE, clip=0.5))
    assert norms == pytest.approx([0.5] * 6, rel=1e-4)
    norms.clear()
    train_small(Measured)
    assert min(norms) > 1


def test_lr_factor_scales_the_rate_of_a_group() -> None:
    heads: list[torch.Tensor] = []

    class FixedHead(MeanColor):
        def parameter_groups(self) -> list[dict[str, Any]]:
            head = {"params": list(self.head.parameters()), "lr_factor": 0.0}
            return [{"params": list(self.encoder.parameters())}, head]

        def after_step(self, progress: float) -> None:
            heads.append(self.head.weight.detach().clone())

    trained = train_small(FixedHead)
    assert torch.equal(heads[0], heads[-1])
    assert not equal_weights(trained, train_small(MeanColor))


def test_training_images_are_all_images_in_order_without_augmentation() -> None:
    step = step_of(count=300)  # more than one block
    assert torch.equal(torch.cat(list(step.training_images())), to_float(small_images(300)[0]))


@pytest.mark.parametrize(
    ("build", "capturable", "reason"),
    [
        (MeanColor, True, None),
        (MeanColor, False, "the method does not declare capturable=True"),
        (TwoUpdates, True, "the method defines its own step"),
    ],
)
def test_step_is_capturable_only_if_declared(build: type[nn.Module], capturable: bool, reason: str | None) -> None:
    assert step_of(build, capturable=capturable).why_not_capturable() == reason
