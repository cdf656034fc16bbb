"""One training step: make a batch, compute the losses, update the weights, sum the losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark import images as image_functions
from benchmark.api.cells import Accelerate
from benchmark.api.methods import Batch, Losses
from benchmark.encoder import NormalizedEncoder
from benchmark.errors import TrainingError
from benchmark.progress import Event, Reporter
from benchmark.training.losses import LossChecker, LossSums
from benchmark.training.method import Hooks, build_method, has_hook, parameter_groups
from benchmark.training.optimizer import optimizer_for
from benchmark.training.task import TrainingData, TrainingTask, training_length

STATISTICS_BATCH = 256
"""Number of images in a block when a method reads the training images without training."""


class TrainingStep:
    """Everything that a training step reads and changes, except the optimizer.

    Args:
        task: the settings.
        data: the images to train on.
        encoder: what is trained.
        reporter: receives notes.

    Raises:
        PluginError: the method violates its contract.
    """

    def __init__(self, task: TrainingTask, data: TrainingData, encoder: NormalizedEncoder, reporter: Reporter) -> None:
        self.task = task
        self.data = data
        self.encoder = encoder
        self.reporter = reporter
        self.device = data.device or data.images.device
        self.length = training_length(task.recipe, len(data.images))
        self.method = build_method(task, data, encoder, self.length.total_steps).to(self.device)
        self.hooks = cast(Hooks, self.method)
        self.labels = data.labels if task.spec.labels == "all" else None
        """Labels of the training images; None unless the method declares them."""
        self.generator = torch.Generator(self.device)
        """Source of every random draw of a step."""
        self.sums = LossSums(self.device)
        self.saw_labels = False
        """Whether a batch held labels."""
        self._checker = LossChecker(task.spec.name)
        self._gradient_checked = False

    # --- what the accelerator reads -----------------------------------------------------------------------------------

    @property
    def network(self) -> nn.Module:
        """The network of the encoder, which may be compiled."""
        return self.encoder.network

    @property
    def accelerate(self) -> Accelerate:
        """The requested acceleration."""
        return self.task.accelerate

    def why_not_capturable(self) -> str | None:
        """Why the step may not be captured, according to the method's declarations; None if it may."""
        if self.has("step"):
            return "the method defines its own step"
        return None if self.task.spec.capturable else "the method does not declare capturable=True"

    def note(self, text: str) -> None:
        """Reports something that the user should know."""
        self.reporter(Event(kind="note", cell=self.task.title, text=f"{self.task.title}: {text}"))

    # --- the method ---------------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        """Whether the method has an optional function of this name."""
        return has_hook(self.method, name)

    def optimizer(self) -> Optimizer:
        """The recipe's optimizer over the method's parameters."""
        return optimizer_for(parameter_groups(self.method, self.hooks), self.task.recipe, self.device)

    def training_images(self) -> Iterator[Tensor]:
        """All training images once, in order and in blocks: float32 in [0, 1], without augmentation."""
        for block in image_functions.blocks(self.data.images, STATISTICS_BATCH):
            yield image_functions.to_float(block.to(self.device))

    # --- one step -----------------------------------------------------------------------------------------------------

    def make_batch(self, raw: Tensor, index: Tensor, progress: float) -> Batch:
        """The batch that the method receives: augmented, as float32.

        Args:
            raw: (N, C, H, W) uint8.
            index: (N,) int64, the positions of the images in the training images.
            progress: finished fraction of the training, in [0, 1).
        """
        recipe = self.task.recipe
        augmented = image_functions.augment(raw, recipe.augment, recipe.pad, self.generator)
        return Batch(
            images=image_functions.to_float(augmented),
            raw=raw,
            index=index,
            progress=progress,
            generator=self.generator,
            labels=None if self.labels is None else self.labels.index_select(0, index),
        )

    def run(self, optimizer: Optimizer, batch: Batch) -> None:
        """Forward, backward, the optimizer's step, and the sums of the losses."""
        self.saw_labels |= batch.labels is not None
        if self.has("step"):
            losses = cast(Losses, self.hooks.step(batch, optimizer))
            self._checker.check(losses, "step(batch, optimizer)")
        else:
            losses = cast(Losses, self.hooks.loss(batch))
            self._checker.check(losses, "loss(batch)")
            self.update(optimizer, losses)
        self.sums.add(losses)

    def update(self, optimizer: Optimizer, losses: Losses) -> None:
        """Backward and the optimizer's step.

        Raises:
            TrainingError: in the first step, no gradient reaches the encoder.
        """
        if not losses.total.requires_grad:
            name = self.task.spec.name
            raise TrainingError(f"method '{name}': the loss depends on no parameter, so nothing can be trained")
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.task.recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), self.task.recipe.clip)
        if not self._gradient_checked:
            self._check_gradient()
            self._gradient_checked = True
        optimizer.step()

    def _check_gradient(self) -> None:
        gradients = [parameter.grad for parameter in self.encoder.parameters() if parameter.grad is not None]
        if not any(bool((gradient != 0).any()) for gradient in gradients):
            raise TrainingError(
                f"method '{self.task.spec.name}': the loss does not depend on the encoder (no gradient reaches it in the "
                "first step); compute the loss from context.encoder(...) without detach or no_grad"
            )
