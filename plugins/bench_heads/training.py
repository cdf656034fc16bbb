"""Train one head on features of a frozen encoder. Test images are used only by `predict`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from bench_heads.draws import draw_seed
from bench_heads.recipes import BETAS, MOMENTUM, WEIGHT_DECAY, HeadRecipe
from benchmark.images import augment, blocks, to_float

BLOCK = 500
"""Images per block when features are encoded outside of training steps."""
MAX_FEATURE_BYTES = 4 * 2**30
"""Largest size of features that are kept in memory; larger ones are encoded again in every step."""
MAX_EPOCH_LENGTH = 50_000
"""Images per epoch of a head with few labels: the size of CIFAR-10's training set, on which they were published."""

FeatureReader = Callable[[Tensor], Tensor]
"""Indices (B,) int64 into the labeled images, on the probe's device -> features (B, *tap.shape), without a graph."""


@dataclass(frozen=True, kw_only=True)
class LabeledTask:
    """The training data of a head."""

    probe: benchmark.Probe
    positions: Tensor
    """(M,) int64 on the CPU: positions in train of the labeled images."""
    length: int
    """Images per epoch: M, or more if images are repeated."""
    augmented: bool
    """Whether every step encodes new random crops and flips."""


@contextlib.contextmanager
def seeded_globally(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's global generators inside the block and restores them afterwards.

    Initial weights and dropout can use only the global generators.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def epoch_length(num_train: int, num_labeled: int, per_class: int | None) -> int:
    """Number of images per epoch.

    With `per_class` an epoch is as long as one of all training images, as in RotNet's code, which takes an index modulo the
    number of labeled images; but at most `MAX_EPOCH_LENGTH`.
    """
    return num_labeled if per_class is None else max(num_labeled, min(num_train, MAX_EPOCH_LENGTH))


def train_head(
    head: nn.Module,
    task: LabeledTask,
    recipe: HeadRecipe,
    epochs: int,
    generator: torch.Generator,
    after_epoch: Callable[[], None] | None = None,
) -> tuple[float, int]:
    """Trains a head in place with cross-entropy. The loss is read from the device once per epoch.

    Args:
        head: on the probe's device; dropout uses torch's global generator of that device.
        task: images, labels and encoder.
        recipe: optimizer, batch size and learning rates.
        epochs: number of epochs.
        generator: on the CPU; draws the order of images, and the seed of crops and flips.
        after_epoch: called after each epoch. It may leave the head in eval mode and must not draw random numbers.

    Returns:
        Mean loss over the last epoch (nats), and the number of steps.

    Raises:
        TrainingError: the loss is not finite.
    """
    read = feature_reader(task, generator)
    labels = task.probe.train.labels[task.positions.to(task.probe.device)]
    optimizer = build_optimizer(head, recipe)
    loss, steps = math.nan, 0
    for epoch in range(epochs):
        head.train()
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch, epochs)
        total, count = torch.zeros((), device=labels.device), 0
        for index in batches(len(task.positions), task.length, recipe, generator, labels.device):
            step_loss = F.cross_entropy(head(read(index)), labels[index])
            optimizer.zero_grad()
            torch.autograd.backward(step_loss)
            optimizer.step()
            total += step_loss.detach() * len(index)
            count += len(index)
            steps += 1
        loss = float(total) / count
        if not math.isfinite(loss):
            raise benchmark.TrainingError(
                f"the training of the head at tap '{task.probe.tap}' diverged: loss {loss} in epoch {epoch} of {epochs}. "
                "Check that the tap's features are finite, or score another tap"
            )
        if after_epoch is not None:
            after_epoch()
    return loss, steps


def batches(
    count: int, length: int, recipe: HeadRecipe, generator: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """One epoch of batches: `length` indices in [0, count) in random order; how often indices occur differs by at most 1.

    The order is drawn on the CPU, so it is the same for every device, and copied to `device` at once.

    A last, smaller batch is left out if the recipe says so, and if it has a single image, because batch normalization needs
    a variance. It is kept if it is the only one.
    """
    order = (torch.randperm(length, generator=generator) % count).to(device)
    smallest = recipe.batch if recipe.drop_last else 2
    for number, index in enumerate(blocks(order, recipe.batch)):
        if number == 0 or len(index) >= smallest:
            yield index


def feature_reader(task: LabeledTask, generator: torch.Generator) -> FeatureReader:
    """The function that returns the features of a step: encoded from augmented images, kept in memory, or encoded again."""
    probe, images = task.probe, task.probe.train.images
    positions = task.positions.to(probe.device)

    def select(index: Tensor) -> Tensor:
        """Labeled images by their index, on the device. All images together may be in host memory."""
        return images.index_select(0, positions[index].to(images.device)).to(probe.device)

    if task.augmented:
        augmentation = torch.Generator(device=probe.device).manual_seed(draw_seed(generator))
        pad = min(images.shape[2:]) // 8

        def encode_augmented(index: Tensor) -> Tensor:
            return probe.encode(to_float(augment(select(index), "crop-flip", pad, augmentation)))

        return encode_augmented
    if len(positions) * probe.layout.tap(probe.tap).width("none") * 4 > MAX_FEATURE_BYTES:
        return lambda index: probe.encode(to_float(select(index)))
    if len(positions) == len(images):
        # One pass for all heads at this tap; `labeled_positions` returns all positions in ascending order.
        kept = probe.train.features(pool="none")
    else:
        kept = torch.cat(
            [probe.encode(to_float(images[block.to(images.device)])) for block in blocks(positions, BLOCK)]
        )
    return lambda index: kept[index]


@torch.no_grad()
def predict(head: nn.Module, probe: benchmark.Probe) -> Tensor:
    """(number of test images,) int32 on the CPU: the most likely class of each test image, in eval mode."""
    head.eval()
    images = probe.test.images
    if len(images) * probe.layout.tap(probe.tap).width("none") * 4 > MAX_FEATURE_BYTES:
        features = (probe.encode(to_float(block)) for block in blocks(images, BLOCK))
    else:
        features = (block for block in blocks(probe.test.features(pool="none"), BLOCK))
    return torch.cat([head(block).argmax(dim=1) for block in features]).int().cpu()


def build_optimizer(head: nn.Module, recipe: HeadRecipe) -> torch.optim.Optimizer:
    """The recipe's optimizer for the head's parameters, with the initial learning rate."""
    start = recipe.rates[0][1]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(head.parameters(), lr=start, betas=BETAS)
    return torch.optim.SGD(head.parameters(), lr=start, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
