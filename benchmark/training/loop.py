"""The training loop: it trains an encoder with a method and a recipe, in epochs, with checkpoints.

Losses are read back from the device once per epoch. Acceleration (`acceleration`) and streaming (`batches`) change speed
only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from benchmark.encoder import NormalizedEncoder
from benchmark.progress import Event, Reporter
from benchmark.seeding import derived_seed
from benchmark.training import checkpoints
from benchmark.training.acceleration import Accelerator
from benchmark.training.batches import BatchSource, batch_source_for
from benchmark.training.checkpoints import Checkpoint, CheckpointError, CheckpointInterval
from benchmark.training.generators import generator_states, set_generator_states
from benchmark.training.optimizer import learning_rate, set_learning_rate
from benchmark.training.result import result_of
from benchmark.training.step import TrainingStep
from benchmark.training.stop import checked_after_each_step
from benchmark.training.task import EpochLosses, Trained, TrainingData, TrainingPosition, TrainingTask


def train(task: TrainingTask, data: TrainingData, encoder: NormalizedEncoder, reporter: Reporter) -> Trained:
    """Trains an encoder. The global random state of torch is the same afterwards as before.

    Args:
        task: the method, the recipe and the checkpoint.
        data: the images.
        encoder: trained in place.
        reporter: receives steps, epochs and notes.

    Raises:
        TrainingError: a loss is not finite or does not depend on the encoder.
        PluginError: the method violates its contract.
        KeyboardInterrupt: `task.stop` was requested; the checkpoint is written.
    """
    device = data.device or data.images.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(derived_seed(task.seed, "method"))
        return Loop(task, data, encoder, reporter).run()


class Loop:
    """The epochs of one training, with reports and checkpoints.

    Args:
        task: the method, the recipe and the checkpoint.
        data: the images.
        encoder: trained in place.
        reporter: receives steps, epochs and notes.
        source: provides the batches; default: chosen by where the images are.
    """

    def __init__(
        self,
        task: TrainingTask,
        data: TrainingData,
        encoder: NormalizedEncoder,
        reporter: Reporter,
        source: BatchSource | None = None,
    ) -> None:
        self.task = task
        self.step = TrainingStep(task, data, encoder, reporter)
        self.accelerator = Accelerator(self.step)
        self._source = source or batch_source_for(data.images, self.step.device, streamed=data.streamed)
        self._reporter = reporter
        self._interval = CheckpointInterval(task.checkpoint_seconds, task.checkpoint_epochs)
        self._resumed = Checkpoint()
        self._curve: list[EpochLosses] = []
        self._began = 0.0
        """Start of the training on the monotonic clock, moved back by the time before a resume."""
        self._reported = 0.0
        """When a step was last reported."""

    def run(self) -> Trained:
        """Resumes or prepares the training, runs the remaining steps, and returns the result."""
        started, step = time.monotonic(), self.step
        optimizer = step.optimizer() if self.task.spec.trains else None
        if optimizer is not None:
            self._resumed = self._resume(optimizer)
        self._curve = list(self._resumed.curve)
        if self._resumed.position == TrainingPosition() and step.has("before_training"):
            step.hooks.before_training(step.training_images())
        self._began = started - self._resumed.seconds
        if optimizer is not None:
            stop = self.task.stop if self.task.checkpoint is not None else None
            with self.accelerator.running(), self.accelerator.setting(), checked_after_each_step(stop):
                self._train(optimizer)
        return result_of(
            step,
            tuple(self._curve),
            seconds=time.monotonic() - self._began,
            resumed_from=self._resumed.position,
            acceleration=self.accelerator.report,
        )

    # --- epochs and steps ---------------------------------------------------------------------------------------------

    def _train(self, optimizer: Optimizer) -> None:
        """The remaining epochs."""
        recipe, limit, steps_per_epoch = self.task.recipe, self.task.steps, self.step.length.steps_per_epoch
        epochs = recipe.epochs if limit is None else min(recipe.epochs, math.ceil(limit / steps_per_epoch))
        first = self._resumed.position
        self._interval.restart()
        for epoch in range(first.epoch, epochs):
            started = time.monotonic()
            steps = steps_per_epoch if limit is None else min(steps_per_epoch, limit - epoch * steps_per_epoch)
            finished = first.step if epoch == first.epoch else 0
            losses = self._train_epoch(optimizer, epoch, finished, steps)
            self._curve.append(losses)
            if self.step.has("after_epoch"):
                self.step.hooks.after_epoch((epoch + 1) / recipe.epochs, self.step.training_images())
            self._report_epoch(losses, epochs, (steps - finished) / max(1e-9, time.monotonic() - started))
            position = TrainingPosition(epoch=epoch + 1)
            if self._interval.is_due(position) and position.epoch < recipe.epochs:
                self._save(optimizer, position)

    def _train_epoch(self, optimizer: Optimizer, epoch: int, finished: int, steps: int) -> EpochLosses:
        """The steps of an epoch, except those that were finished before a resume."""
        step, length = self.step, self.step.length
        order = self._start_epoch(epoch)
        if finished:
            self._restore_generators_and_sums()
        rate = learning_rate(self.task.recipe, max(0, self._number(epoch, finished) - 1), length.steps_per_epoch)
        batches = self._source.batches(order[finished * length.batch :], length.batch, steps - finished)
        for index_in_epoch, (raw, index) in enumerate(batches, finished):
            number = self._number(epoch, index_in_epoch)
            rate = learning_rate(self.task.recipe, number, length.steps_per_epoch)
            set_learning_rate(optimizer, rate)
            self._train_step(optimizer, number, raw, index)
            self._after_step(optimizer, TrainingPosition(epoch=epoch, step=index_in_epoch + 1), steps)
        means = step.sums.means(steps, self.task.title, epoch, length.steps_per_epoch)
        return EpochLosses(epoch=epoch + 1, learning_rate=rate, losses=means)

    def _number(self, epoch: int, index: int) -> int:
        """Number of a step in the whole training, 0 for the first."""
        return epoch * self.step.length.steps_per_epoch + index

    def _start_epoch(self, epoch: int) -> Tensor:
        """Seeds all generators for an epoch. Returns (N,) int64, the order of the images."""
        step, seed = self.step, self.task.seed
        step.method.train()
        torch.manual_seed(derived_seed(seed, "layers", epoch))
        order = torch.Generator().manual_seed(derived_seed(seed, "order", epoch))
        step.generator.manual_seed(derived_seed(seed, "draws", epoch))
        permutation = torch.randperm(step.length.num_images, generator=order)
        step.sums.reset()
        return permutation

    def _restore_generators_and_sums(self) -> None:
        """Continues an epoch in its middle, where the checkpoint was written."""
        step, resumed = self.step, self._resumed
        if resumed.generators is not None and resumed.sums is not None:
            set_generator_states(resumed.generators, step.generator, step.device)
            step.sums.load(resumed.sums)

    def _train_step(self, optimizer: Optimizer, number: int, raw: Tensor, index: Tensor) -> None:
        step, total = self.step, self.step.length.total_steps
        if step.has("before_step"):
            step.hooks.before_step(number / total)
        self.accelerator.step(optimizer, raw, index, number / total)
        if step.has("after_step"):
            step.hooks.after_step((number + 1) / total)

    def _after_step(self, optimizer: Optimizer, position: TrainingPosition, steps: int) -> None:
        """Reports a step from time to time, and writes a checkpoint if one is due or a stop was requested."""
        self._report_step(position, steps)
        stopping = self.task.stop is not None and self.task.stop.requested
        # After the last step of an epoch, its losses and after_epoch come before the checkpoint, except for a stop.
        if stopping or (position.step < steps and self._interval.is_due(position)):
            self._save(optimizer, position)
        if stopping:
            raise KeyboardInterrupt

    # --- reports ------------------------------------------------------------------------------------------------------

    def _report_step(self, position: TrainingPosition, steps: int) -> None:
        now = time.monotonic()
        if now - self._reported < self.task.report_seconds:
            return
        self._reported = now
        self._report("step", position.epoch, self.task.recipe.epochs, {"part": position.step / steps})

    def _report_epoch(self, losses: EpochLosses, epochs: int, steps_per_second: float) -> None:
        values = {"loss": losses.losses["total"], "images/s": steps_per_second * self.step.length.batch}
        self._report("epoch", losses.epoch, epochs, values)

    def _report(self, kind: Any, done: int, total: int, values: Mapping[str, float]) -> None:
        self._reporter(Event(kind=kind, cell=self.task.title, stage="train", done=done, total=total, values=values))

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _save(self, optimizer: Optimizer, position: TrainingPosition) -> None:
        step = self.step
        middle = position.step > 0
        checkpoint = Checkpoint(
            position=position,
            seconds=time.monotonic() - self._began,
            curve=tuple(self._curve),
            generators=generator_states(step.generator, step.device) if middle else None,
            sums=step.sums.state() if middle else None,
        )
        checkpoints.save(checkpoint, step, optimizer)
        self._interval.restart()

    def _resume(self, optimizer: Optimizer) -> Checkpoint:
        """The restored checkpoint; an empty one if there is none that fits."""
        path = self.task.checkpoint
        if path is None or not path.is_file():
            return Checkpoint()
        try:
            return checkpoints.restore(path, self.task.checkpoint_key, self.step, optimizer)
        except CheckpointError as error:
            self.step.note(f"{path.name} {error}; training starts again")
            return Checkpoint()
