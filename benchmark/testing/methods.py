"""Checks that a plugin's author runs in the plugin's own tests: does it keep the contract that the harness relies on?

    from benchmark.testing import check_method
    def test_mine_keeps_the_contract() -> None:
        check_method(MINE)

Each check raises ConformanceError with a sentence that says what is wrong and what would be right. They run on a CPU, on
a few small images, in about a second.
"""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.api.encoders import EncoderSpec, ImageShape
from benchmark.api.methods import MethodSpec, Setting
from benchmark.api.recipes import Recipe
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import UnsupportedError
from benchmark.evaluation.features import state_checksum
from benchmark.images import to_float
from benchmark.progress import silent
from benchmark.testing.conformance import ConformanceError, NoTrace, require
from benchmark.testing.miniature import BATCH, CLASSES, SMALL_ENCODER, STEPS_PER_EPOCH, small_images
from benchmark.training.captured_step import CaptureError, without_progress
from benchmark.training.loop import train
from benchmark.training.step import TrainingStep
from benchmark.training.task import Trained, TrainingData, TrainingPosition, TrainingTask


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """One short training of a method."""

    spec: MethodSpec
    params: Any
    encoder: EncoderSpec
    encoder_params: Any
    image_shape: ImageShape
    recipe: Recipe

    def fresh_encoder(self) -> NormalizedEncoder:
        channels = self.image_shape[0]
        return build_encoder(
            self.encoder,
            self.encoder_params,
            self.image_shape,
            num_images=BATCH * STEPS_PER_EPOCH,
            seed=0,
            mean=[0.4] * channels,
            std=[0.3] * channels,
        )

    def run(self, labels: Tensor, checkpoint: Path | None = None, steps: int | None = None) -> Trained:
        images, _ = small_images(BATCH * STEPS_PER_EPOCH, self.image_shape)
        task = TrainingTask(
            spec=self.spec,
            params=self.params,
            recipe=self.recipe,
            seed=0,
            title=self.spec.name,
            checkpoint=checkpoint,
            checkpoint_seconds=0.0,
            steps=steps,
        )
        data = TrainingData(images=images, labels=labels, num_classes=CLASSES)
        return train(task, data, self.fresh_encoder(), silent)

    def training_step(self, labels: Tensor) -> TrainingStep:
        """The training step, before it runs."""
        images, _ = small_images(BATCH * STEPS_PER_EPOCH, self.image_shape)
        task = TrainingTask(spec=self.spec, params=self.params, recipe=self.recipe, seed=0, title=self.spec.name)
        data = TrainingData(images=images, labels=labels, num_classes=CLASSES)
        return TrainingStep(task, data, self.fresh_encoder(), silent)


def check_method(
    spec: MethodSpec,
    params: Any = None,
    encoder: EncoderSpec = SMALL_ENCODER,
    image_shape: ImageShape = (3, 16, 16),
) -> None:
    """A method trains, sees no label that it did not declare, resumes exactly and leaves no trace.

    Args:
        spec: the method.
        params: an instance of `spec.params`; default: its defaults.
        encoder: what to train; default: two convolutions with taps `conv1` (local) and `conv2` (output).
        image_shape: of the random images.

    Raises:
        ConformanceError: with what is wrong.
        TrainingError: no gradient reaches the encoder, or the loss is not finite.
    """
    trial = _trial(spec, spec.params() if params is None else params, spec.own_encoder or encoder, image_shape)
    _, labels = small_images(BATCH * STEPS_PER_EPOCH, image_shape)
    with NoTrace(f"method '{spec.name}'"):
        first = trial.run(labels)
    _check_trained(spec, trial, first)
    require(
        _same(first, trial.run(labels)),
        f"method '{spec.name}': the same seed gave other weights; draw from batch.generator or context.generator",
    )
    if spec.labels == "none":
        require(
            _same(first, trial.run(labels.flip(0))),
            f"method '{spec.name}': other labels gave other weights, but its spec declares labels='none'",
        )
    if spec.trains:
        _check_resume(spec, trial, labels, first)
        _check_declared(spec, trial.training_step(labels))


def _trial(spec: MethodSpec, params: Any, encoder: EncoderSpec, image_shape: ImageShape) -> _Trial:
    encoder_params = encoder.params()
    setting = Setting(
        method_params=params,
        encoder=encoder.name,
        encoder_params=encoder_params,
        layout=encoder.layout(encoder_params, image_shape),
        dataset="small",
        image_shape=image_shape,
        num_images=BATCH * STEPS_PER_EPOCH,
        num_classes=CLASSES,
        budget="quick",
    )
    reason = spec.supports(setting)
    require(reason is None, f"method '{spec.name}' refuses the images or the encoder of the check: {reason}")
    try:
        recipe = spec.recipe(setting) if spec.trains else Recipe(epochs=0)
    except UnsupportedError as error:
        raise ConformanceError(
            f"method '{spec.name}' has no quick recipe for the encoder of the check: {error}"
        ) from error
    short = dataclasses.replace(recipe, epochs=2 if spec.trains else 0, batch=BATCH, drop_last=True, warmup=0)
    return _Trial(
        spec=spec,
        params=params,
        encoder=encoder,
        encoder_params=encoder_params,
        image_shape=image_shape,
        recipe=short,
    )


def _check_trained(spec: MethodSpec, trial: _Trial, trained: Trained) -> None:
    name = f"method '{spec.name}'"
    images, _ = small_images(8, trial.image_shape)
    layout = trained.encoder.layout
    with torch.no_grad():
        output = trained.encoder(to_float(images), [layout.output])[layout.output]
    require(bool(torch.isfinite(output).all()), f"{name}: the trained encoder gives features that are not finite")
    if spec.trains:
        changed = state_checksum(trained.encoder) != state_checksum(trial.fresh_encoder())
        require(changed, f"{name}: four steps left the encoder that is to be scored as it was")
        require(len(trained.curve) == trial.recipe.epochs, f"{name}: training ended early")


def _check_resume(spec: MethodSpec, trial: _Trial, labels: Tensor, whole: Trained) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        trial.run(labels, checkpoint, steps=STEPS_PER_EPOCH)
        require(checkpoint.exists(), f"method '{spec.name}': its state could not be saved")
        resumed = trial.run(labels, checkpoint)
    require(resumed.resumed_from == TrainingPosition(epoch=1), f"method '{spec.name}': the checkpoint was not resumed")
    require(
        _same(whole, resumed),
        f"method '{spec.name}': two steps, save, load and two steps gave other weights than four steps; everything that "
        "moves must be a parameter or buffer in state_dict()",
    )


def _check_declared(spec: MethodSpec, step: TrainingStep) -> None:
    """What a method says of its loss: that it comes in two halves, that a step of it may be captured."""
    with torch.random.fork_rng(devices=[]):
        step.method.train()
        batch = step.make_batch(step.data.images[:BATCH], torch.arange(BATCH), 0.0)
        if step.has("views") and step.has("loss_of"):
            before = step.generator.get_state()
            torch.manual_seed(0)
            whole = step.hooks.loss(batch)
            step.generator.set_state(before)
            torch.manual_seed(0)
            halves = step.hooks.loss_of(batch, step.hooks.views(batch))
            totals = [float(losses.total.detach()) for losses in (whole, halves)]
            require(
                totals[0] == totals[1],
                f"method '{spec.name}': loss(batch) is {totals[0]:g}, but loss_of(batch, views(batch)) is {totals[1]:g}; "
                "let loss be made of these two, or leave them out",
            )
        if spec.capturable and step.has("loss"):
            try:
                step.hooks.loss(batch)  # what is made in the first step only may be waited for
                with _NothingReadBack():  # type: ignore[no-untyped-call]  # torch leaves it untyped
                    step.hooks.loss(without_progress(batch))
            except CaptureError as error:
                raise ConformanceError(f"method '{spec.name}' declares capturable=True, but {error}") from error


class _NothingReadBack(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Raises where a tensor's value is read on the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise CaptureError(
                "its loss reads a tensor's value (item, float, bool or an if), which waits for the device"
            )
        return func(*args, **(kwargs or {}))


def _same(a: Trained, b: Trained) -> bool:
    return state_checksum(a.encoder) == state_checksum(b.encoder)
