"""The one training loop: what it hands to a method, what it refuses, and that it can be stopped and gone on with."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import benchmark
from benchmark.api.methods import MethodContext
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import PluginError, TrainingError
from benchmark.evaluation.features import state_checksum
from benchmark.images import to_float
from benchmark.progress import Event, silent
from benchmark.testing.miniature import SMALL_ENCODER, small_images
from benchmark.training import loop as train_room
from benchmark.training.checkpoints import CheckpointInterval, StopRequest, TrainingPosition, threads_of
from benchmark.training.loop import Trained, TrainingData, TrainingTask, train
from benchmark.training.optimizer import learning_rate

IMAGES = 40
RECIPE = benchmark.Recipe(epochs=3, batch=16, augment="crop", pad=1, lr=0.01)
"""Two steps an epoch: 40 images, the last 8 left out."""


class Colors(nn.Module):
    """Names each image's mean color: the smallest loss that depends on the encoder."""

    def __init__(self, context: MethodContext) -> None:
        super().__init__()
        self.context = context
        self.encoder = context.encoder
        self.head = nn.Linear(12, 3)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        error = (self.head(self.encoder.vector(batch.images)) - batch.images.mean(dim=(2, 3))).square().mean()
        return benchmark.Losses(total=error, parts={"error": error.detach()})


def encoder_of(seed: int | None = 0) -> NormalizedEncoder:
    params = SMALL_ENCODER.params()
    return build_encoder(
        SMALL_ENCODER, params, (3, 16, 16), num_images=IMAGES, seed=seed, mean=[0.4] * 3, std=[0.3] * 3
    )


def trained(
    build: Callable[[MethodContext], nn.Module] = Colors,
    *,
    recipe: benchmark.Recipe = RECIPE,
    seed: int | None = 0,
    labels: str = "none",
    trains: bool = True,
    count: int = IMAGES,
    reporter: Callable[[Event], None] = silent,
    **task: Any,
) -> Trained:
    images, classes = small_images(count)
    spec = benchmark.MethodSpec(name="tried", summary="", build=build, labels=labels, trains=trains)
    errand = TrainingTask(spec=spec, params=None, recipe=recipe, seed=seed, title="tried / small", **task)
    data = TrainingData(images=images, labels=classes, num_classes=4)
    return train(errand, data, encoder_of(seed), reporter)


def same(one: Trained, other: Trained) -> bool:
    return state_checksum(one.encoder) == state_checksum(other.encoder)


# --- losses that cannot be --------------------------------------------------------------------------------------------


def changed_loss(change: Callable[[Colors, benchmark.Batch, benchmark.Losses], Any]) -> type[Colors]:
    class Changed(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            return change(self, batch, super().loss(batch))

    return Changed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named_with_its_step_and_its_parts(value: float) -> None:
    steps = iter(range(1, 100))
    method = changed_loss(
        lambda method, batch, losses: benchmark.Losses(
            total=losses.total * value if next(steps) == 4 else losses.total,
            parts={"prior": torch.tensor(0.25), **losses.parts},
        )
    )
    with pytest.raises(TrainingError, match=rf"step 4 \(epoch 2\): total {value:g}, prior 0\.25, error") as caught:
        trained(method)
    assert "tried / small" in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_step_that_leaves_weights_that_are_not_finite_is_an_error_even_if_it_was_the_last() -> None:
    # The root has an infinite slope at 0: the loss is 0 and fine, the gradient is not.
    method = changed_loss(
        lambda method, batch, losses: benchmark.Losses(
            total=(method.encoder.vector(batch.images) * 0).square().sum().sqrt()
        )
    )
    with pytest.raises(TrainingError, match=r"tried / small: .*not finite"):
        trained(method, steps=1)


def test_a_loss_that_does_not_depend_on_the_encoder_is_refused_after_one_step() -> None:
    seen = []

    def detached(method: Colors, batch: benchmark.Batch, losses: benchmark.Losses) -> benchmark.Losses:
        seen.append(batch)
        return benchmark.Losses(total=method.head(method.encoder.vector(batch.images).detach()).square().mean())

    with pytest.raises(TrainingError, match=r"method 'tried': its loss does not depend on the encoder"):
        trained(changed_loss(detached))
    assert len(seen) == 1


def test_a_loss_without_any_gradient_is_refused() -> None:
    method = changed_loss(lambda method, batch, losses: benchmark.Losses(total=losses.total.detach()))
    with pytest.raises(TrainingError, match=r"depends on no parameter"):
        trained(method)


def test_a_gradient_that_is_zero_everywhere_counts_as_none() -> None:
    method = changed_loss(lambda method, batch, losses: benchmark.Losses(total=losses.total * 0))
    with pytest.raises(TrainingError, match=r"does not depend on the encoder"):
        trained(method)


@pytest.mark.parametrize(
    "given",
    [
        lambda losses: losses.total,
        lambda losses: None,
        lambda losses: benchmark.Losses(total=losses.total.expand(2)),
        lambda losses: benchmark.Losses(total=1.0),  # type: ignore[arg-type]  # a stranger's mistake
    ],
    ids=["tensor", "none", "two numbers", "float"],
)
def test_a_loss_that_is_no_losses_is_told_what_to_be(given: Callable[[benchmark.Losses], Any]) -> None:
    method = changed_loss(lambda method, batch, losses: given(losses))
    with pytest.raises(PluginError, match=r"method 'tried': loss\(batch\) must return benchmark\.Losses"):
        trained(method)


@pytest.mark.parametrize("part", [0.5, None], ids=["float", "none"])
def test_a_part_that_is_no_scalar_tensor_is_named(part: Any) -> None:
    method = changed_loss(lambda method, batch, losses: benchmark.Losses(total=losses.total, parts={"prior": part}))
    with pytest.raises(PluginError, match=r"method 'tried': .*'prior'"):
        trained(method)


def test_parts_that_come_and_go_are_an_error_that_names_them() -> None:
    steps = iter(range(100))

    def sometimes(method: Colors, batch: benchmark.Batch, losses: benchmark.Losses) -> benchmark.Losses:
        parts = {"prior": losses.total.detach()} if next(steps) % 2 else {}
        return benchmark.Losses(total=losses.total, parts=parts)

    with pytest.raises(PluginError, match=r"method 'tried': .*prior"):
        trained(changed_loss(sometimes))


def test_a_method_without_loss_or_step_is_refused() -> None:
    with pytest.raises(PluginError, match=r"neither loss\(batch\) nor step"):
        trained(lambda context: nn.Identity())


def test_a_build_that_gives_no_module_is_refused() -> None:
    with pytest.raises(PluginError, match=r"build gave int"):
        trained(lambda context: 3)  # type: ignore[arg-type,return-value]  # a stranger's mistake


def test_a_method_that_hides_the_encoder_from_torch_is_refused() -> None:
    class Hidden(Colors):
        def __init__(self, context: MethodContext) -> None:
            super().__init__(context)
            del self.encoder
            self.__dict__["encoder"] = context.encoder

    with pytest.raises(PluginError, match=r"submodule"):
        trained(Hidden)


# --- what a method is given -------------------------------------------------------------------------------------------


class Watching(Colors):
    """Keeps what it was given."""

    batches: list[benchmark.Batch]
    contexts: list[MethodContext]

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        type(self).batches.append(batch)
        type(self).contexts.append(self.context)
        return super().loss(batch)


@pytest.fixture
def watching() -> type[Watching]:
    return type("Fresh", (Watching,), {"batches": [], "contexts": []})


def test_a_method_that_declares_no_labels_never_sees_one(watching: type[Watching]) -> None:
    trained(watching)
    assert len(watching.batches) == 6
    assert all(batch.labels is None for batch in watching.batches)
    assert {context.num_classes for context in watching.contexts} == {None}


def test_a_method_that_declares_labels_gets_those_of_its_images(watching: type[Watching]) -> None:
    trained(watching, labels="all")
    _, labels = small_images(IMAGES)
    for batch in watching.batches:
        assert batch.labels is not None
        assert torch.equal(batch.labels, labels[batch.index])
    assert watching.contexts[0].num_classes == 4


def test_a_batch_holds_the_images_of_its_index_before_and_after_the_one_crop(watching: type[Watching]) -> None:
    trained(watching)
    images, _ = small_images(IMAGES)
    batch = watching.batches[0]
    assert torch.equal(batch.raw, images[batch.index])
    assert batch.images.dtype == torch.float32
    assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1
    assert not torch.equal(batch.images, to_float(batch.raw))


def test_without_augmentation_images_are_raw_divided_by_255(watching: type[Watching]) -> None:
    trained(watching, recipe=dataclasses.replace(RECIPE, augment="none"))
    for batch in watching.batches:
        torch.testing.assert_close(batch.images, batch.raw / 255)


def test_every_epoch_goes_through_all_images_once_in_an_order_of_its_own(watching: type[Watching]) -> None:
    trained(watching, recipe=dataclasses.replace(RECIPE, drop_last=False))
    assert [len(batch.index) for batch in watching.batches] == [16, 16, 8] * 3
    epochs = [torch.cat([batch.index for batch in watching.batches[start : start + 3]]) for start in (0, 3, 6)]
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(IMAGES))
    assert not torch.equal(epochs[0], epochs[1])


def test_drop_last_leaves_the_smaller_batch_out_unless_it_is_the_only_one(watching: type[Watching]) -> None:
    trained(watching)
    assert {len(batch.index) for batch in watching.batches} == {16}
    watching.batches.clear()
    trained(watching, count=8)
    assert [len(batch.index) for batch in watching.batches] == [8, 8, 8]


def test_progress_rises_from_0_in_even_steps_below_1(watching: type[Watching]) -> None:
    trained(watching)
    assert [batch.progress for batch in watching.batches] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])


def test_the_context_tells_the_number_of_steps_and_the_normalization(watching: type[Watching]) -> None:
    trained(watching)
    context = watching.contexts[0]
    assert (context.total_steps, context.num_images, context.image_shape) == (6, IMAGES, (3, 16, 16))
    assert context.mean == pytest.approx((0.4, 0.4, 0.4))
    assert context.std == pytest.approx((0.3, 0.3, 0.3))


def test_what_a_method_does_to_its_batch_does_not_reach_the_dataset() -> None:
    seen = []

    def spoil(method: Colors, batch: benchmark.Batch, losses: benchmark.Losses) -> benchmark.Losses:
        seen.append(int(batch.raw.sum()))
        batch.raw.zero_()
        batch.images.zero_()
        return losses

    # The third and fourth step see the images of the first epoch again.
    method = changed_loss(lambda method, batch, losses: losses)
    recipe = dataclasses.replace(RECIPE, batch=IMAGES, augment="none")
    trained(changed_loss(spoil), recipe=recipe)
    assert len(set(seen)) == 1
    assert seen[0] > 0
    assert trained(method, recipe=recipe).images_seen == 3 * IMAGES


# --- optional hooks ---------------------------------------------------------------------------------------------------


class Hooked(Colors):
    calls: list[tuple[Any, ...]]

    def note(self, *what: Any) -> None:
        type(self).calls.append(what)

    def parameter_groups(self) -> list[dict[str, Any]]:
        self.note("parameter_groups")
        return [{"params": list(self.encoder.parameters())}, {"params": list(self.head.parameters()), "lr_factor": 0.0}]

    def before_training(self, batches: Iterable[Tensor]) -> None:
        self.note("before_training", torch.cat(list(batches)))

    def before_step(self, progress: float) -> None:
        self.note("before_step", progress)

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        self.note("loss", batch.progress)
        return super().loss(batch)

    def after_step(self, progress: float) -> None:
        self.note("after_step", progress)

    def after_epoch(self, progress: float, batches: Iterable[Tensor]) -> None:
        self.note("after_epoch", progress, torch.cat(list(batches)), self.head.weight.detach().clone())

    def trained_encoder(self) -> nn.Module:
        self.note("trained_encoder")
        return copy.deepcopy(self.encoder)

    def trivial_losses(self) -> dict[str, float]:
        self.note("trivial_losses")
        return {}


@pytest.fixture
def hooked() -> type[Hooked]:
    return type("Fresh", (Hooked,), {"calls": []})


def test_optional_hooks_are_called_in_order_with_the_progress_that_is_behind(hooked: type[Hooked]) -> None:
    trained(hooked, recipe=dataclasses.replace(RECIPE, epochs=2))
    steps = [[("before_step", i / 4), ("loss", i / 4), ("after_step", (i + 1) / 4)] for i in range(4)]
    words = [call[:2] if call[0].endswith(("step", "loss", "epoch")) else call[:1] for call in hooked.calls]
    assert words == [
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


def test_after_epoch_and_before_training_get_all_images_in_order_without_augmentation(hooked: type[Hooked]) -> None:
    images, _ = small_images(IMAGES)
    trained(hooked)
    walks = [call[1] for call in hooked.calls if call[0] == "before_training"]
    walks += [call[2] for call in hooked.calls if call[0] == "after_epoch"]
    assert len(walks) == 4
    for walk in walks:
        assert torch.equal(walk, to_float(images))


def test_a_walk_over_more_images_than_a_block_leaves_none_out(hooked: type[Hooked]) -> None:
    trained(hooked, count=300, recipe=dataclasses.replace(RECIPE, epochs=1))
    (walk,) = [call[1] for call in hooked.calls if call[0] == "before_training"]
    assert torch.equal(walk, to_float(small_images(300)[0]))


def test_a_group_moves_by_the_rate_times_its_own_factor(hooked: type[Hooked]) -> None:
    trained(hooked)
    heads = [call[3] for call in hooked.calls if call[0] == "after_epoch"]
    assert torch.equal(heads[0], heads[2])  # factor 0
    assert not same(trained(hooked), trained(Colors))


def test_the_encoder_that_a_method_hands_over_is_the_one_that_is_scored() -> None:
    class Teacher(Colors):
        def __init__(self, context: MethodContext) -> None:
            super().__init__(context)
            self.teacher = copy.deepcopy(context.encoder).requires_grad_(False)

        def trained_encoder(self) -> nn.Module:
            return self.teacher

    found = trained(Teacher)
    assert torch.equal(next(found.encoder.parameters()), next(encoder_of().parameters()))
    assert not found.encoder.training


def test_a_bare_network_cannot_be_handed_over() -> None:
    class Bare(Colors):
        def trained_encoder(self) -> nn.Module:
            return self.encoder.network

    with pytest.raises(PluginError, match=r"trained_encoder\(\) gave _Small"):
        trained(Bare)


def test_what_does_not_train_makes_no_step_but_is_prepared(hooked: type[Hooked]) -> None:
    found = trained(hooked, trains=False)
    assert [call[0] for call in hooked.calls] == ["before_training", "trained_encoder", "trivial_losses"]
    assert (found.curve, found.images_seen, found.learned) == ((), 0, None)


def test_step_does_the_optimizing_itself() -> None:
    class Twice(Colors):
        """Two updates a step: the kind of thing that is not one loss."""

        def step(self, batch: benchmark.Batch, optimizer: torch.optim.Optimizer) -> benchmark.Losses:
            for _ in range(2):
                losses = super().loss(batch)
                optimizer.zero_grad()
                losses.total.backward()
                optimizer.step()
            return losses

    found = trained(Twice)
    assert [row.epoch for row in found.curve] == [1, 2, 3]
    assert not same(found, trained(Colors))
    assert same(found, trained(Twice))


@pytest.mark.parametrize("given", [None, 0.5], ids=["none", "float"])
def test_a_step_that_gives_no_losses_is_told_what_to_give(given: Any) -> None:
    class Wordless(Colors):
        def step(self, batch: benchmark.Batch, optimizer: torch.optim.Optimizer) -> Any:
            return given

    with pytest.raises(PluginError, match=r"method 'tried': step\(batch, optimizer\) must return benchmark\.Losses"):
        trained(Wordless)


def test_clipping_bounds_the_norm_of_the_whole_gradient() -> None:
    norms = []

    class Measured(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            return benchmark.Losses(total=super().loss(batch).total * 1000)

        def after_step(self, progress: float) -> None:
            squares = [p.grad.square().sum() for p in self.parameters() if p.grad is not None]
            norms.append(float(torch.stack(squares).sum().sqrt()))

    trained(Measured, recipe=dataclasses.replace(RECIPE, clip=0.5))
    assert norms == pytest.approx([0.5] * 6, rel=1e-4)
    norms.clear()
    trained(Measured)
    assert min(norms) > 1


# --- chance -----------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    assert same(trained(), trained())
    assert trained().curve == trained().curve
    assert not same(trained(), trained(seed=1))


def test_what_was_drawn_before_plays_no_part_and_training_leaves_no_trace() -> None:
    first = trained()
    torch.manual_seed(123)
    torch.rand(7)
    before = torch.random.get_rng_state()
    second = trained()
    assert same(first, second)
    assert torch.equal(before, torch.random.get_rng_state())


def test_draws_of_the_global_generator_inside_a_method_repeat_too() -> None:
    class Dropping(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            features = nn.functional.dropout(self.encoder.vector(batch.images), 0.5)
            return benchmark.Losses(total=self.head(features).square().mean())

    assert same(trained(Dropping), trained(Dropping))
    assert not same(trained(Dropping), trained(Dropping, seed=1))


# --- stopping and going on --------------------------------------------------------------------------------------------


class StoppedError(Exception):
    pass


def stop_after(epoch: int) -> Callable[[Event], None]:
    """A reporter that ends the training when an epoch begins to be saved: after the checkpoint of the one before."""

    def report(event: Event) -> None:
        if event.kind == "epoch" and event.done == epoch:
            raise StoppedError

    return report


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def stopped(
    checkpoint: Path, build: Callable[[MethodContext], nn.Module] = Colors, epoch: int = 3, **given: Any
) -> None:
    """Leaves a checkpoint of `epoch - 1` epochs."""
    with pytest.raises(StoppedError):
        trained(
            build,
            checkpoint=checkpoint,
            checkpoint_seconds=1000,
            checkpoint_epochs=1,
            reporter=stop_after(epoch),
            **given,
        )
    assert checkpoint.exists()


class WithDropout(Colors):
    """Draws in the loss and keeps a running mean: all that a resume may get wrong."""

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        self.register_buffer("mean", torch.zeros(12))

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        features = nn.functional.dropout(self.encoder.vector(batch.images), 0.5) - self.mean
        self.mean.lerp_(features.detach().mean(dim=0), 0.1)
        noise = torch.randn(3, generator=batch.generator)
        return benchmark.Losses(total=(self.head(features) - noise).square().mean())


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["cosine", "milestones"])
def test_a_resumed_training_is_bit_for_bit_an_uninterrupted_one(
    checkpoint: Path, optimizer: Any, schedule: Any
) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, schedule=schedule, milestones=(1, 2), epochs=4)
    whole = trained(WithDropout, recipe=recipe)
    stopped(checkpoint, WithDropout, recipe=recipe)
    resumed = trained(WithDropout, recipe=recipe, checkpoint=checkpoint)
    assert resumed.resumed_from == TrainingPosition(epoch=2)
    assert same(whole, resumed)
    assert resumed.curve == whole.curve
    assert resumed.images_seen == whole.images_seen == 4 * 32


class StopAt(WithDropout):
    """Asks for a stop in one of its steps, or stands for a method that nobody stops."""

    stop: StopRequest | None = None
    at = 0

    def __init__(self, context: MethodContext) -> None:
        super().__init__(context)
        self.steps = 0

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        self.steps += 1
        if self.stop is not None and self.steps == self.at:
            self.stop.ask()
        return super().loss(batch)


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("augment", ["crop", "crop-flip"])
def test_a_training_that_is_asked_to_stop_writes_where_it_is_and_goes_on_to_the_same_bits(
    checkpoint: Path, at: int, augment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is: in the middle of an epoch of two steps, at its end, in the very last step."""
    recipe = dataclasses.replace(RECIPE, augment=augment)
    whole = trained(StopAt, recipe=recipe)
    stop = StopRequest()
    monkeypatch.setattr(StopAt, "stop", stop)
    monkeypatch.setattr(StopAt, "at", at)
    with pytest.raises(KeyboardInterrupt):
        trained(StopAt, recipe=recipe, checkpoint=checkpoint, stop=stop, checkpoint_seconds=1000)
    monkeypatch.setattr(StopAt, "stop", None)
    resumed = trained(StopAt, recipe=recipe, checkpoint=checkpoint)
    assert resumed.resumed_from == TrainingPosition(epoch=(at - 1) // 2, step=(at - 1) % 2 + 1)
    assert same(whole, resumed)
    assert resumed.curve == whole.curve
    assert resumed.images_seen == whole.images_seen
    assert not stop.patient


def test_every_step_can_be_written_down_and_gone_on_from(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after each single step, six times over."""
    whole = trained(WithDropout)
    for number in range(6):
        stop = StopRequest()

        class StopsNext(WithDropout):
            asked = stop

            def after_step(self, progress: float) -> None:
                self.asked.ask()

        with pytest.raises(KeyboardInterrupt):
            trained(StopsNext, checkpoint=checkpoint, stop=stop)
        state = torch.load(checkpoint, weights_only=True)
        assert (state["epoch"], state["step"]) == (number // 2, number % 2 + 1)
    assert same(trained(WithDropout, checkpoint=checkpoint), whole)


def test_a_loss_that_was_bad_before_the_stop_is_told_after_it(checkpoint: Path) -> None:
    stop = StopRequest()

    class Bad(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            stop.ask()
            losses = super().loss(batch)
            return benchmark.Losses(total=losses.total * float("nan"), parts=losses.parts)

    with pytest.raises(KeyboardInterrupt):
        trained(Bad, checkpoint=checkpoint, stop=stop)
    with pytest.raises(TrainingError, match="not finite in step 1 "):
        trained(Colors, checkpoint=checkpoint)


def test_who_asks_twice_or_where_nobody_looks_ends_it_at_once() -> None:
    stop = StopRequest()
    with pytest.raises(KeyboardInterrupt):
        stop.ask()
    assert not stop.asked
    stop.patient = True
    stop.ask()
    assert stop.asked
    with pytest.raises(KeyboardInterrupt):
        stop.ask()


def test_without_a_checkpoint_nobody_is_made_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopRequest()
    monkeypatch.setattr(StopAt, "stop", stop)
    monkeypatch.setattr(StopAt, "at", 2)
    with pytest.raises(KeyboardInterrupt):
        trained(StopAt, stop=stop)
    assert not stop.asked


def test_the_number_of_threads_stands_in_the_checkpoint(checkpoint: Path) -> None:
    stopped(checkpoint, checkpoint_key="mine")
    assert threads_of(checkpoint, "mine") == torch.get_num_threads()
    assert threads_of(checkpoint, "another's") is None
    checkpoint.write_bytes(b"broken")
    assert threads_of(checkpoint, "mine") is None
    assert threads_of(checkpoint.with_name("none"), "mine") is None


def test_checkpoints_are_due_by_time_and_by_epochs() -> None:
    now = [100.0]
    pace = CheckpointInterval(60.0, None, clock=lambda: now[0])
    assert not pace.is_due(TrainingPosition(epoch=0, step=5))
    now[0] += 60
    assert pace.is_due(TrainingPosition(epoch=0, step=6))
    pace.written()
    assert not pace.is_due(TrainingPosition(epoch=3))
    pace = CheckpointInterval(60.0, 2, clock=lambda: now[0])
    assert [pace.is_due(TrainingPosition(epoch=epoch)) for epoch in (1, 2, 3, 4)] == [False, True, False, True]
    assert not pace.is_due(TrainingPosition(epoch=2, step=1))
    now[0] -= 1000  # a clock that goes back makes nothing due, and nothing due for ever
    assert not pace.is_due(TrainingPosition(epoch=1, step=1))


def test_steps_are_told_of_but_not_each(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    monkeypatch.setattr(train_room, "STEP_EVENT_SECONDS", 0.0)
    trained(reporter=events.append)
    told = [(event.done, event.values["part"]) for event in events if event.kind == "step"]
    assert told == [(epoch, part) for epoch in range(3) for part in (0.5, 1.0)]
    events.clear()
    monkeypatch.setattr(train_room, "STEP_EVENT_SECONDS", 1000.0)
    trained(reporter=events.append)
    assert sum(event.kind == "step" for event in events) <= 1


def test_time_before_the_interruption_counts(checkpoint: Path) -> None:
    stopped(checkpoint)
    state = torch.load(checkpoint, weights_only=True)
    state["seconds"] = 1000.0
    torch.save(state, checkpoint)
    assert 1000 < trained(checkpoint=checkpoint).seconds < 1060


def test_a_checkpoint_of_another_key_is_ignored_with_a_note(checkpoint: Path) -> None:
    stopped(checkpoint, checkpoint_key="version 1")
    notes: list[Event] = []
    found = trained(checkpoint=checkpoint, checkpoint_key="version 2", reporter=notes.append)
    assert found.resumed_from == TrainingPosition()
    assert same(found, trained())
    (note,) = [event.text for event in notes if event.kind == "note"]
    assert "checkpoint.pt is of another version of this cell" in note


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "another file"])
def test_a_damaged_checkpoint_is_told_of_and_training_starts_again(checkpoint: Path, damage: str) -> None:
    stopped(checkpoint)
    whole = checkpoint.read_bytes()
    if damage == "another file":
        torch.save({"weights": torch.zeros(3)}, checkpoint)
    else:
        checkpoint.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage])
    notes: list[Event] = []
    found = trained(checkpoint=checkpoint, reporter=notes.append)
    assert found.resumed_from == TrainingPosition()
    assert same(found, trained())
    assert any(
        "checkpoint.pt" in event.text and "starts again" in event.text for event in notes if event.kind == "note"
    )


def test_a_checkpoint_of_a_method_that_has_changed_since_does_not_stop_the_cell(checkpoint: Path) -> None:
    """The same key, other weights: a plugin's author edits the method between two runs."""
    stopped(checkpoint)

    class Wider(Colors):
        def __init__(self, context: MethodContext) -> None:
            super().__init__(context)
            self.head = nn.Sequential(nn.Linear(12, 5), nn.Linear(5, 3))

    notes: list[Event] = []
    found = trained(Wider, checkpoint=checkpoint, reporter=notes.append)
    assert found.resumed_from == TrainingPosition()
    assert same(found, trained(Wider))
    assert any("starts again" in event.text for event in notes if event.kind == "note")


def test_no_checkpoint_is_written_before_its_time(checkpoint: Path) -> None:
    trained(checkpoint=checkpoint, checkpoint_seconds=1000)
    assert not checkpoint.exists()


def test_so_many_steps_means_so_many_steps() -> None:
    class Counting(Colors):
        steps = 0

        def after_step(self, progress: float) -> None:
            Counting.steps += 1

    for wanted, steps in ((1, 1), (3, 3), (4, 4), (100, 6)):
        Counting.steps = 0
        found = trained(Counting, steps=wanted)
        assert Counting.steps == steps
        assert found.images_seen == 16 * steps


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trivial", "learned"),
    [({}, None), ({"error": 1e9}, True), ({"total": 1e9, "error": 1e9}, True), ({"total": 1e9, "error": 0.0}, False)],
)
def test_a_cell_has_learned_if_every_declared_part_ended_below_its_trivial_loss(
    trivial: dict[str, float], learned: bool | None
) -> None:
    class Declaring(Colors):
        def trivial_losses(self) -> dict[str, float]:
            return trivial

    found = trained(Declaring)
    assert found.learned is learned
    assert found.trivial == trivial


def test_a_trivial_loss_of_an_unknown_part_is_refused() -> None:
    class Declaring(Colors):
        def trivial_losses(self) -> dict[str, float]:
            return {"errror": 1.0}

    with pytest.raises(PluginError, match=r"'errror', but the parts are total, error"):
        trained(Declaring)


def test_the_curve_has_the_mean_of_each_part_and_the_last_rate_of_each_epoch() -> None:
    values: list[float] = []

    class Noting(Colors):
        def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
            losses = super().loss(batch)
            values.append(losses.total.item())
            return losses

    found = trained(Noting)
    assert [row.losses["total"] for row in found.curve] == pytest.approx(
        [sum(values[i : i + 2]) / 2 for i in (0, 2, 4)]
    )
    assert [row.learning_rate for row in found.curve] == [learning_rate(RECIPE, step, 2) for step in (1, 3, 5)]
