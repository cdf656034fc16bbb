"""The one training loop: a method, its recipe and images on the device become a trained encoder.

A method never meets a label unless its spec declares `labels="all"`. Nothing is read back from the device inside an
epoch: losses are summed there, and the first step that was not finite is remembered there. How a step is made fast is
in `acceleration`, where batches come from in `feed`; neither changes what a step means.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmark import images as image_functions
from benchmark.api.cells import Accelerate
from benchmark.api.methods import Batch, Losses, MethodContext, MethodSpec
from benchmark.api.recipes import Recipe
from benchmark.encoder import NormalizedEncoder
from benchmark.errors import PluginError, TrainingError
from benchmark.progress import Event, Reporter
from benchmark.seeding import derived_seed
from benchmark.training import checkpoints
from benchmark.training.acceleration import Accelerator
from benchmark.training.batches import batch_source_for
from benchmark.training.checkpoints import CheckpointInterval, StopRequest, TrainingPosition
from benchmark.training.losses import LossSums
from benchmark.training.optimizer import keep_rates_on, learning_rate, optimizer_for, set_rate

STEP_EVENT_SECONDS = 1.0
"""Least time between two events that say that steps are made."""
STATISTICS_BATCH = 256
"""Images a block when a method walks over the training images without training."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What is trained on."""

    images: Tensor
    """(N, C, H, W) uint8: on the device, or on the CPU, memory-mapped perhaps, and streamed from there."""
    labels: Tensor | None
    """(N,) int64 on the device; handed to the method only if its spec declares it."""
    num_classes: int
    device: torch.device | None = None
    """Where to train; None: where the images are."""
    streamed: bool = False
    """Gather batches ahead in a thread although the images are where the training is: they are mapped from a file."""


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """One cell's training."""

    spec: MethodSpec
    params: Any
    recipe: Recipe
    seed: int | None
    title: str
    """For progress and messages."""
    checkpoint: Path | None = None
    """Where to keep the state; None: nowhere."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints, in seconds."""
    checkpoint_epochs: int | None = None
    """Also after every so many epochs; None: by time alone."""
    checkpoint_key: str = ""
    """A checkpoint of another key is not resumed: cell id and versions."""
    stop: StopRequest | None = None
    """Who may ask the training to write a checkpoint and stop; None: nobody."""
    steps: int | None = None
    """Stop after so many steps (--smoke); None: all."""
    accelerate: Accelerate = "auto"
    """`auto`: what pays on the device; `off`: the plain step; `compile`: compile the network in any case."""


@dataclass(frozen=True, kw_only=True)
class EpochLosses:
    """Means over one epoch."""

    epoch: int
    """1 for the first."""
    learning_rate: float
    """In its last step."""
    losses: Mapping[str, float]
    """`total` and the method's parts."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training leaves."""

    encoder: NormalizedEncoder
    """To be scored, in eval mode."""
    curve: tuple[EpochLosses, ...]
    seconds: float
    """Wall clock, the part before a resume included."""
    images_seen: int
    learned: bool | None
    """Whether every declared part of the loss ended below its trivial predictor; None: nothing declared."""
    trivial: Mapping[str, float]
    labels_given: bool = False
    """Whether any batch held labels."""
    resumed_from: TrainingPosition = field(default_factory=TrainingPosition)
    """What a checkpoint already had."""
    acceleration: Mapping[str, str] = field(default_factory=dict)
    """What made the steps faster, or why it did not: `memory`, `compile`, `graph`."""


class _SupportsHooks(Protocol):
    """The optional methods of a method, looked up by name."""

    def __getattr__(self, name: str) -> Callable[..., Any]: ...


def train(task: TrainingTask, data: TrainingData, encoder: NormalizedEncoder, reporter: Reporter) -> Trained:
    """Trains the encoder by the recipe and returns the module that is to be scored.

    The global torch seed is set inside and put back afterwards.

    Raises:
        TrainingError: a loss that is not finite, or that does not depend on the encoder.
        PluginError: the method does not keep its contract.
        KeyboardInterrupt: `task.stop` was asked; the checkpoint is written.
    """
    device = data.device or data.images.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(derived_seed(task.seed, "method"))
        loop = Loop(task, data, encoder, reporter)
        return loop.run()


class Loop:
    """The state of one training: what is built once, and what moves."""

    def __init__(self, task: TrainingTask, data: TrainingData, encoder: NormalizedEncoder, reporter: Reporter) -> None:
        self.task = task
        self.data = data
        self.recipe = task.recipe
        self.reporter = reporter
        self.device = data.device or data.images.device
        self.feed = batch_source_for(data.images, self.device, streamed=data.streamed)
        self.encoder = encoder
        count = len(data.images)
        self.batch = min(self.recipe.batch, count)
        self.steps_per_epoch = max(1, count // self.batch if self.recipe.drop_last else math.ceil(count / self.batch))
        self.total_steps = self.recipe.epochs * self.steps_per_epoch
        self.method = self._build()
        self.hooks = cast(_SupportsHooks, self.method)
        self.labels = data.labels if task.spec.labels == "all" else None
        self.parts: tuple[str, ...] | None = None
        self.sums = LossSums(self.device)
        self.seen_gradient = False
        self.draws = torch.Generator(self.device)
        self.accelerator = Accelerator(self)
        self.curve: list[EpochLosses] = []
        self.seconds = 0.0
        self.began = 0.0
        """When it would have begun, had it been in one go, by the monotonic clock."""
        self.pace = CheckpointInterval(task.checkpoint_seconds, task.checkpoint_epochs)
        self.labels_given = False
        self.told = 0.0
        """When the reporter last heard of a step."""
        self.middle: Mapping[str, Any] = {}
        """Of a checkpoint from the middle of an epoch: where chance and sums were."""

    def run(self) -> Trained:
        """Resumes or prepares, trains what is left, and hands over the encoder to be scored."""
        start = time.monotonic()
        optimizer = self.optimizer() if self.task.spec.trains else None
        first = self._resume(optimizer) if optimizer else TrainingPosition()
        if first == TrainingPosition() and self.has("before_training"):
            self.hooks.before_training(self._walk())
        self.began = start - self.seconds
        if optimizer is not None:
            with self.accelerator.running(), self.accelerator.setting(), self._patiently():
                self._train(optimizer, first)
        self.seconds = time.monotonic() - self.began
        return self._trained(first)

    @contextlib.contextmanager
    def _patiently(self) -> Iterator[None]:
        """Within it, `task.stop` is looked at after each step, if there is a checkpoint to write."""
        stop = self.task.stop
        if stop is None or self.task.checkpoint is None:
            yield
            return
        stop.patient = True
        try:
            yield
        finally:
            stop.patient = False
        if stop.asked:
            raise KeyboardInterrupt

    # --- what is accelerated (see `acceleration.Trainable`) -----------------------------------------------------------

    @property
    def network(self) -> nn.Module:
        """The encoder's network, which is compiled."""
        return self.encoder.network

    @property
    def accelerate(self) -> Accelerate:
        """What the user asked for."""
        return self.task.accelerate

    def cannot_capture(self) -> str | None:
        """Why the step may not be captured, as far as the method's declarations say."""
        if self.has("step"):
            return "the method has a step of its own"
        return None if self.task.spec.capturable else "the method does not declare that its step may be captured"

    # --- building -----------------------------------------------------------------------------------------------------

    def _build(self) -> nn.Module:
        spec = self.task.spec
        channels = self.data.images.shape[1]
        context = MethodContext(
            params=self.task.params,
            encoder=self.encoder,
            layout=self.encoder.layout,
            image_shape=(channels, self.data.images.shape[2], self.data.images.shape[3]),
            num_images=len(self.data.images),
            num_classes=self.data.num_classes if spec.labels == "all" else None,
            total_steps=self.total_steps,
            mean=tuple(self.encoder.mean.flatten().tolist()),
            std=tuple(self.encoder.std.flatten().tolist()),
            generator=torch.Generator().manual_seed(derived_seed(self.task.seed, "build")),
        )
        method = spec.build(context)
        if not isinstance(method, nn.Module):
            raise PluginError(
                f"method '{spec.name}': build gave {type(method).__name__}, but must give a torch.nn.Module"
            )
        if spec.trains and not callable(getattr(method, "loss", None)) and not callable(getattr(method, "step", None)):
            raise PluginError(f"method '{spec.name}': the module has neither loss(batch) nor step(batch, optimizer)")
        if spec.trains and not any(module is self.encoder for module in method.modules()):
            raise PluginError(
                f"method '{spec.name}': context.encoder is no submodule, so it would be neither trained nor saved; "
                "keep it as an attribute of the module (self.encoder = context.encoder)"
            )
        return method.to(self.device)

    def optimizer(self) -> Optimizer:
        """The recipe's, over the method's own groups of parameters or all that want a gradient."""
        if self.has("parameter_groups"):
            groups: list[dict[str, Any]] = self.hooks.parameter_groups()
        else:
            groups = [{"params": [p for p in self.method.parameters() if p.requires_grad]}]
        for group in groups:
            group.setdefault("lr_factor", 1.0)
        return optimizer_for(groups, self.recipe, self.device)

    def has(self, name: str) -> bool:
        """Whether the method has this optional part of its contract."""
        return callable(getattr(self.method, name, None))

    # --- epochs -------------------------------------------------------------------------------------------------------

    def _train(self, optimizer: Optimizer, first: TrainingPosition) -> None:
        limit = self.task.steps
        epochs = self.recipe.epochs if limit is None else math.ceil(limit / self.steps_per_epoch)
        self.pace.written()
        for epoch in range(first.epoch, min(epochs, self.recipe.epochs)):
            started = time.monotonic()
            left = self.steps_per_epoch if limit is None else limit - epoch * self.steps_per_epoch
            steps = min(self.steps_per_epoch, left)
            behind = first.step if epoch == first.epoch else 0
            row = self._epoch(optimizer, epoch, behind, steps)
            self.curve.append(row)
            if self.has("after_epoch"):
                self.hooks.after_epoch((epoch + 1) / self.recipe.epochs, self._walk())
            speed = (steps - behind) * self.batch / max(1e-9, time.monotonic() - started)
            self._report(epoch + 1, epochs, {"loss": row.losses["total"], "images/s": speed})
            spot = TrainingPosition(epoch=epoch + 1)
            if self.pace.is_due(spot) and spot.epoch < self.recipe.epochs:
                self._save(optimizer, spot)

    def _report(self, done: int, total: int, values: Mapping[str, float]) -> None:
        self.reporter(Event(kind="epoch", cell=self.task.title, stage="train", done=done, total=total, values=values))

    def _epoch(self, optimizer: Optimizer, epoch: int, behind: int, steps: int) -> EpochLosses:
        """All steps of an epoch but those that a checkpoint has behind it."""
        self.method.train()
        torch.manual_seed(derived_seed(self.task.seed, "layers", epoch))
        order = torch.Generator().manual_seed(derived_seed(self.task.seed, "order", epoch))
        self.draws.manual_seed(derived_seed(self.task.seed, "draws", epoch))
        permutation = torch.randperm(len(self.data.images), generator=order)
        self.sums.reset()
        if behind:
            checkpoints.set_rng_state(self.middle["chance"], self.draws, self.device)
            self.sums.load(self.middle["sums"])
        rate = learning_rate(self.recipe, max(0, epoch * self.steps_per_epoch + behind - 1), self.steps_per_epoch)
        ahead = permutation[behind * self.batch :]
        for number, (raw, index) in enumerate(self.feed.batches(ahead, self.batch, steps - behind), behind):
            step = epoch * self.steps_per_epoch + number
            rate = learning_rate(self.recipe, step, self.steps_per_epoch)
            for group in optimizer.param_groups:
                set_rate(group, rate * group["lr_factor"])
            if self.has("before_step"):
                self.hooks.before_step(step / self.total_steps)
            self.accelerator.step(optimizer, raw, index, step / self.total_steps)
            if self.has("after_step"):
                self.hooks.after_step((step + 1) / self.total_steps)
            self._between_steps(optimizer, TrainingPosition(epoch=epoch, step=number + 1), steps)
        means = self.sums.means(steps, self.task.title, epoch, self.steps_per_epoch)
        return EpochLosses(epoch=epoch + 1, learning_rate=rate, losses=means)

    def _between_steps(self, optimizer: Optimizer, spot: TrainingPosition, steps: int) -> None:
        """Says that things move, and writes down where they are when that is due or somebody wants to stop."""
        now = time.monotonic()
        if now - self.told >= STEP_EVENT_SECONDS:
            self.told = now
            values = {"part": spot.step / steps}
            event = Event(
                kind="step",
                cell=self.task.title,
                stage="train",
                done=spot.epoch,
                total=self.recipe.epochs,
                values=values,
            )
            self.reporter(event)
        stopping = self.task.stop is not None and self.task.stop.asked
        # At an epoch's last step what follows it (its losses, the method's own end) comes first, unless we must stop.
        if stopping or (spot.step < steps and self.pace.is_due(spot)):
            self._save(optimizer, spot)
        if stopping:
            raise KeyboardInterrupt

    def plain_step(self, optimizer: Optimizer, batch: Batch) -> None:
        """Forward, backward, the optimizer's step, and the losses added up."""
        self.labels_given |= batch.labels is not None
        if self.has("step"):
            losses = cast(Losses, self.hooks.step(batch, optimizer))
            self._check_losses(losses, "step(batch, optimizer)")
        else:
            losses = cast(Losses, self.hooks.loss(batch))
            self._check_losses(losses, "loss(batch)")
            self.descend(optimizer, losses)
        self.sums.add(losses)

    def prepared(self, raw: Tensor, index: Tensor, progress: float) -> Batch:
        """The batch as the method sees it: cropped, flipped, as floats."""
        augmented = image_functions.augment(raw, self.recipe.augment, self.recipe.pad, self.draws)
        return Batch(
            images=image_functions.to_float(augmented),
            raw=raw,
            index=index,
            progress=progress,
            generator=self.draws,
            labels=None if self.labels is None else self.labels.index_select(0, index),
        )

    def descend(self, optimizer: Optimizer, losses: Losses) -> None:
        """Backward and the optimizer's step."""
        if not losses.total.requires_grad:
            name = self.task.spec.name
            raise TrainingError(f"method '{name}': its loss depends on no parameter, so nothing can be trained")
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.method.parameters(), self.recipe.clip)
        if not self.seen_gradient:
            self._check_gradient()
            self.seen_gradient = True
        optimizer.step()

    def _walk(self) -> Iterator[Tensor]:
        """All training images once, in order, float32 in [0, 1], not augmented."""
        for block in image_functions.blocks(self.data.images, STATISTICS_BATCH):
            yield image_functions.to_float(block.to(self.device))

    def _check_losses(self, losses: object, giver: str) -> None:
        name = self.task.spec.name
        if not isinstance(losses, Losses) or not _is_scalar(losses.total):
            raise PluginError(f"method '{name}': {giver} must return benchmark.Losses with a scalar tensor as total")
        wrong = [part for part, value in losses.parts.items() if not _is_scalar(value)]
        if wrong:
            raise PluginError(f"method '{name}': {giver} gave a part '{wrong[0]}' that is no scalar tensor")
        parts = tuple(losses.parts)
        if self.parts is None:
            self.parts = parts
        elif set(parts) != set(self.parts):
            one, other = (", ".join(names) or "none" for names in (self.parts, parts))
            raise PluginError(f"method '{name}': its parts were {one} and now are {other}; give the same in every step")

    def _check_gradient(self) -> None:
        gradients = [p.grad for p in self.encoder.parameters() if p.grad is not None]
        if not any(bool((gradient != 0).any()) for gradient in gradients):
            raise TrainingError(
                f"method '{self.task.spec.name}': its loss does not depend on the encoder (no gradient reaches it in the "
                "first step); compute the loss from context.encoder(...) without detach or no_grad"
            )

    # --- the end ------------------------------------------------------------------------------------------------------

    def _trained(self, first: TrainingPosition) -> Trained:
        encoder: object = self.hooks.trained_encoder() if self.has("trained_encoder") else self.encoder
        if not isinstance(encoder, NormalizedEncoder):
            raise PluginError(
                f"method '{self.task.spec.name}': trained_encoder() gave {type(encoder).__name__}, but must give "
                "context.encoder or a copy of it (copy.deepcopy), so that it can be saved and loaded"
            )
        self._check_weights(encoder)
        trivial: Mapping[str, float] = self.hooks.trivial_losses() if self.has("trivial_losses") else {}
        return Trained(
            encoder=encoder.eval(),
            curve=tuple(self.curve),
            seconds=self.seconds,
            images_seen=self._images_seen(),
            learned=self._learned(trivial),
            labels_given=self.labels_given,
            trivial=dict(trivial),
            resumed_from=first,
            acceleration=dict(self.accelerator.report),
        )

    def _check_weights(self, encoder: NormalizedEncoder) -> None:
        """The last step's gradient is in no loss, so a loss that was always finite does not tell."""
        for name, tensor in encoder.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise TrainingError(
                    f"{self.task.title}: after training, the encoder's '{name}' is not finite. "
                    "Try a smaller rate: --set lr=..."
                )

    def _images_seen(self) -> int:
        steps = len(self.curve) * self.steps_per_epoch
        epochs, rest = divmod(min(steps, self.task.steps or steps), self.steps_per_epoch)
        return epochs * min(self.steps_per_epoch * self.batch, len(self.data.images)) + rest * self.batch

    def _learned(self, trivial: Mapping[str, float]) -> bool | None:
        if not trivial or not self.curve:
            return None
        last = self.curve[-1].losses
        unknown = sorted(set(trivial) - set(last))
        if unknown:
            raise PluginError(
                f"method '{self.task.spec.name}': trivial_losses names '{unknown[0]}', but the parts are {', '.join(last)}"
            )
        return all(last[part] < value for part, value in trivial.items())

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def _save(self, optimizer: Optimizer, spot: TrainingPosition) -> None:
        path = self.task.checkpoint
        if path is None:
            return
        state: dict[str, Any] = {
            "key": self.task.checkpoint_key,
            "epoch": spot.epoch,
            "step": spot.step,
            "seconds": time.monotonic() - self.began,
            "method": self.method.state_dict(),
            "optimizer": optimizer.state_dict(),
            "curve": [(row.epoch, row.learning_rate, dict(row.losses)) for row in self.curve],
        }
        if spot.step:
            state |= {"chance": checkpoints.rng_state(self.draws, self.device), "sums": self.sums.state()}
        checkpoints.write(path, state)
        self.pace.written()

    def _resume(self, optimizer: Optimizer) -> TrainingPosition:
        """What the checkpoint has behind it; nothing where there is none that fits."""
        path = self.task.checkpoint
        if path is None or not path.is_file():
            return TrainingPosition()
        try:
            state = checkpoints.read(path, self.device)
            if state["key"] == self.task.checkpoint_key:
                return self._restore(state, optimizer)
            problem = "is of another version of this cell"
        except Exception as error:  # torch raises whatever a damaged file makes it raise
            problem = f"is damaged or does not fit the method ({type(error).__name__})"
        self.note(f"{path.name} {problem}; training starts again")
        return TrainingPosition()

    def _restore(self, state: Mapping[str, Any], optimizer: Optimizer) -> TrainingPosition:
        """Takes over all of a checkpoint, or raises with nothing changed."""
        spot = TrainingPosition(epoch=int(state["epoch"]), step=int(state["step"]))
        middle = {key: state[key] for key in ("chance", "sums")} if spot.step else {}
        seconds = float(state["seconds"])
        curve = [EpochLosses(epoch=e, learning_rate=rate, losses=losses) for e, rate, losses in state["curve"]]
        if _shapes(state["method"]) != _shapes(self.method.state_dict()):
            raise ValueError("other weights")
        optimizer.load_state_dict(state["optimizer"])
        if self.device.type == "cuda":
            keep_rates_on(optimizer, self.device)  # of an earlier version, they are numbers
        self.method.load_state_dict(state["method"])
        self.seconds, self.curve, self.middle = seconds, curve, middle
        return spot

    def note(self, text: str) -> None:
        """Tells the reporter something worth knowing."""
        self.reporter(Event(kind="note", cell=self.task.title, text=f"{self.task.title}: {text}"))


def _is_scalar(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1


def _shapes(state: Mapping[str, Any]) -> dict[str, object]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}
