"""Conformance check of methods."""

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
from benchmark.api.methods import Batch, MethodSpec, Setting
from benchmark.api.recipes import Recipe
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import UnsupportedError
from benchmark.evaluation.features import state_checksum
from benchmark.images import to_float
from benchmark.progress import silent
from benchmark.testing.conformance import ConformanceError, require, unchanged_global_state
from benchmark.testing.miniature import BATCH, CLASSES, SMALL_ENCODER, STEPS_PER_EPOCH, small_images
from benchmark.training.captured_step import CaptureError, without_progress
from benchmark.training.loop import train
from benchmark.training.step import TrainingStep
from benchmark.training.task import Trained, TrainingData, TrainingPosition, TrainingTask

IMAGES = BATCH * STEPS_PER_EPOCH


def check_method(
    spec: MethodSpec,
    params: Any = None,
    encoder: EncoderSpec = SMALL_ENCODER,
    image_shape: ImageShape = (3, 16, 16),
) -> None:
    """Checks that a method trains, sees no label that it does not declare, and resumes exactly.

    Args:
        spec: the method.
        params: instance of `spec.params`; default: its defaults.
        encoder: what it trains; default: two convolutions with the taps `conv1` (local) and `conv2` (output).
        image_shape: (C, H, W) of the images.

    Raises:
        ConformanceError: with what is wrong.
        TrainingError: no gradient reaches the encoder, or the loss is not finite.
    """
    name = f"method '{spec.name}'"
    trial = _trial(name, spec, spec.params() if params is None else params, spec.own_encoder or encoder, image_shape)
    _, labels = small_images(IMAGES, image_shape)
    with unchanged_global_state(name):
        trained = trial.run(labels)
    _check_trained(name, trial, trained)
    require(
        _same_weights(trained, trial.run(labels)),
        f"{name}: the same seed gave other weights; draw random numbers from batch.generator or context.generator",
    )
    if spec.labels == "none":
        require(
            _same_weights(trained, trial.run(labels.flip(0))),
            f"{name}: other labels gave other weights, but its spec declares labels='none'",
        )
    if spec.trains:
        _check_resume(name, trial, labels, trained)
        _check_halves(name, trial.step(labels))
        _check_capturable(name, trial.step(labels))


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A short training of a method: two epochs of two steps."""

    spec: MethodSpec
    params: Any
    encoder: EncoderSpec
    encoder_params: Any
    image_shape: ImageShape
    recipe: Recipe

    def new_encoder(self) -> NormalizedEncoder:
        """The encoder with its initial weights, the same in every call."""
        channels = self.image_shape[0]
        return build_encoder(
            self.encoder,
            self.encoder_params,
            self.image_shape,
            num_images=IMAGES,
            seed=0,
            mean=[0.4] * channels,
            std=[0.3] * channels,
        )

    def run(self, labels: Tensor, checkpoint: Path | None = None, steps: int | None = None) -> Trained:
        """Trains; with a checkpoint file, resumes from it and writes it; with `steps`, stops early."""
        task = dataclasses.replace(self.task(), checkpoint=checkpoint, checkpoint_seconds=0.0, steps=steps)
        return train(task, self.data(labels), self.new_encoder(), silent)

    def step(self, labels: Tensor) -> TrainingStep:
        """The training step, which has not run."""
        return TrainingStep(self.task(), self.data(labels), self.new_encoder(), silent)

    def task(self) -> TrainingTask:
        """The settings of the training."""
        return TrainingTask(spec=self.spec, params=self.params, recipe=self.recipe, seed=0, title=self.spec.name)

    def data(self, labels: Tensor) -> TrainingData:
        """The images with these labels."""
        images, _ = small_images(IMAGES, self.image_shape)
        return TrainingData(images=images, labels=labels, num_classes=CLASSES)


def _trial(name: str, spec: MethodSpec, params: Any, encoder: EncoderSpec, image_shape: ImageShape) -> _Trial:
    encoder_params = encoder.params()
    setting = Setting(
        method_params=params,
        encoder=encoder.name,
        encoder_params=encoder_params,
        layout=encoder.layout(encoder_params, image_shape),
        dataset="small",
        image_shape=image_shape,
        num_images=IMAGES,
        num_classes=CLASSES,
        budget="quick",
    )
    reason = spec.supports(setting)
    require(reason is None, f"{name} refuses the images or the encoder of this check: {reason}")
    try:
        recipe = spec.recipe(setting) if spec.trains else Recipe(epochs=0)
    except UnsupportedError as error:
        raise ConformanceError(f"{name} has no quick recipe for the encoder of this check: {error}") from error
    return _Trial(
        spec=spec,
        params=params,
        encoder=encoder,
        encoder_params=encoder_params,
        image_shape=image_shape,
        recipe=dataclasses.replace(recipe, epochs=2 if spec.trains else 0, batch=BATCH, drop_last=True, warmup=0),
    )


def _check_trained(name: str, trial: _Trial, trained: Trained) -> None:
    """Features are finite; training changed the encoder and ran to the end."""
    images, _ = small_images(8, trial.image_shape)
    output = trained.encoder.layout.output
    with torch.no_grad():
        features = trained.encoder(to_float(images), [output])[output]
    require(bool(torch.isfinite(features).all()), f"{name}: features of the trained encoder are not finite")
    if trial.spec.trains:
        changed = state_checksum(trained.encoder) != state_checksum(trial.new_encoder())
        require(changed, f"{name}: four steps did not change the encoder that is scored")
        require(len(trained.curve) == trial.recipe.epochs, f"{name}: training ended early")


def _check_resume(name: str, trial: _Trial, labels: Tensor, uninterrupted: Trained) -> None:
    """An interruption after two of four steps changes no weight."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        trial.run(labels, checkpoint, steps=STEPS_PER_EPOCH)
        require(checkpoint.exists(), f"{name}: its state could not be saved")
        resumed = trial.run(labels, checkpoint)
    require(resumed.resumed_from == TrainingPosition(epoch=1), f"{name}: training did not resume from its checkpoint")
    require(
        _same_weights(uninterrupted, resumed),
        f"{name}: two steps, save, load and two steps gave other weights than four steps; all state that changes must be "
        "parameters or buffers in state_dict()",
    )


def _check_halves(name: str, step: TrainingStep) -> None:
    """`loss_of(batch, views(batch))` equals `loss(batch)`, if the method has both halves."""
    if not (step.has("views") and step.has("loss_of")):
        return
    with torch.random.fork_rng(devices=[]):
        batch = _first_batch(step)
        state = step.generator.get_state()
        torch.manual_seed(0)
        whole = float(step.hooks.loss(batch).total.detach())
        step.generator.set_state(state)
        torch.manual_seed(0)
        halves = float(step.hooks.loss_of(batch, step.hooks.views(batch)).total.detach())
    require(
        whole == halves,
        f"{name}: loss(batch) is {whole:g}, but loss_of(batch, views(batch)) is {halves:g}; "
        "compute loss from these two, or remove them",
    )


def _check_capturable(name: str, step: TrainingStep) -> None:
    """A loss that may be captured reads neither the progress nor a value of a tensor."""
    if not (step.task.spec.capturable and step.has("loss")):
        return
    with torch.random.fork_rng(devices=[]):
        batch = _first_batch(step)
        try:
            step.hooks.loss(batch)  # the first call may read values, to create what later steps use
            with _NothingReadBack():  # type: ignore[no-untyped-call]  # torch leaves it untyped
                step.hooks.loss(without_progress(batch))
        except CaptureError as error:
            raise ConformanceError(f"{name} declares capturable=True, but {error}") from error


def _first_batch(step: TrainingStep) -> Batch:
    step.method.train()
    return step.make_batch(step.data.images[:BATCH], torch.arange(BATCH), 0.0)


class _NothingReadBack(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Raises CaptureError if the value of a tensor is read on the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise CaptureError(
                "its loss reads a tensor's value (item, float, bool or an if), which waits for the device"
            )
        return func(*args, **(kwargs or {}))


def _same_weights(one: Trained, other: Trained) -> bool:
    return state_checksum(one.encoder) == state_checksum(other.encoder)
