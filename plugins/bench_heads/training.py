"""One head, trained on features of a frozen encoder for all its epochs. Nothing of test is seen here."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from bench_heads.draws import seed_from
from bench_heads.recipes import BETAS, MOMENTUM, WEIGHT_DECAY, HeadRecipe
from benchmark.images import augment, blocks, to_float

BLOCK = 500
"""Images encoded at once where nothing is trained."""
LARGEST_KEPT = 4 * 2**30
"""Bytes of features that are kept; more are encoded again at every step."""
LONGEST_EPOCH = 50_000
"""Images in an epoch of a head with few labels: the size of CIFAR-10's training set, in which they were published."""

FeatureReader = Callable[[Tensor], Tensor]
"""Places (B,) int64 among the labeled images, on the probe's device -> features (B, *tap.shape), without a graph."""


@dataclass(frozen=True, kw_only=True)
class LabeledTask:
    """What a head is trained on."""

    probe: benchmark.Probe
    positions: Tensor
    """(M,) int64 on the CPU: images of train whose labels are given."""
    length: int
    """Images in an epoch: M, or more if they are repeated."""
    augmented: bool
    """New crops and flips at every step."""


@contextlib.contextmanager
def own_chance(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators start from `seed` inside and are afterwards what they were before.

    Initial weights and dropout know no other generator.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def epoch_length(num_train: int, num_labeled: int, per_class: int | None) -> int:
    """Images in an epoch.

    With `per_class` an epoch stays as long as one of all training images, as in RotNet's code, where an image is taken
    by its number modulo the number of labeled ones; but at most `LONGEST_EPOCH`.
    """
    return num_labeled if per_class is None else max(num_labeled, min(num_train, LONGEST_EPOCH))


def train_head(
    head: nn.Module,
    task: LabeledTask,
    recipe: HeadRecipe,
    epochs: int,
    generator: torch.Generator,
    after_epoch: Callable[[], None] | None = None,
) -> tuple[float, int]:
    """Trains in place with cross-entropy. The host reads one number of the device an epoch: its loss.

    Args:
        head: on the probe's device; dropout draws from torch's global generator there.
        task: images, labels and encoder.
        recipe: optimizer, batch, rates.
        epochs: how many.
        generator: on the CPU: the order of images, and the seed of crops and flips.
        after_epoch: called after each; may leave the head in eval mode, and draws no random number.

    Returns:
        Mean loss over the last epoch (nats), and the number of steps.

    Raises:
        TrainingError: the loss is not finite.
    """
    read = feature_reader(task, generator)
    labels = task.probe.train.labels[task.positions.to(task.probe.device)]
    optimizer = _optimizer(head, recipe)
    loss, steps = math.nan, 0
    for epoch in range(epochs):
        head.train()
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch, epochs)
        total, count = torch.zeros((), device=labels.device), 0
        for places in batches(len(task.positions), task.length, recipe, generator, labels.device):
            step_loss = F.cross_entropy(head(read(places)), labels[places])
            optimizer.zero_grad()
            torch.autograd.backward(step_loss)
            optimizer.step()
            total += step_loss.detach() * len(places)
            count += len(places)
            steps += 1
        loss = float(total) / count
        if not math.isfinite(loss):
            raise benchmark.TrainingError(
                f"the head at tap '{task.probe.tap}' lost its way: its loss is {loss} in epoch {epoch} of {epochs}; "
                "look whether the tap's features are finite, or score another tap"
            )
        if after_epoch is not None:
            after_epoch()
    return loss, steps


def batches(
    count: int, length: int, recipe: HeadRecipe, generator: torch.Generator, device: torch.device
) -> Iterator[Tensor]:
    """One epoch: batches of places in [0, count) in random order, `length` in all, each place as often as another (+1).

    The order is drawn on the CPU, so that it is the same for every device, and goes to `device` in one piece.

    The last, smaller batch is left out if the recipe says so, and always if it is a single image, whose batch has no
    variance to normalize by; unless it is the only one.
    """
    order = (torch.randperm(length, generator=generator) % count).to(device)
    smallest = recipe.batch if recipe.drop_last else 2
    for number, places in enumerate(blocks(order, recipe.batch)):
        if number == 0 or len(places) >= smallest:
            yield places


def feature_reader(task: LabeledTask, generator: torch.Generator) -> FeatureReader:
    """How a step gets its features: encoded from new crops and flips, or kept from one pass, or encoded as they are."""
    probe, images = task.probe, task.probe.train.images
    positions = task.positions.to(probe.device)

    def chosen(places: Tensor) -> Tensor:
        """Images by their place among the labeled ones, on the device; they may lie on the CPU if they are too many."""
        index = positions[places]
        return images.index_select(0, index.to(images.device)).to(probe.device)

    if task.augmented:
        chance = torch.Generator(device=probe.device).manual_seed(seed_from(generator))
        pad = min(images.shape[2:]) // 8

        def encode_augmented(places: Tensor) -> Tensor:
            return probe.encode(to_float(augment(chosen(places), "crop-flip", pad, chance)))

        return encode_augmented
    if len(positions) * probe.layout.tap(probe.tap).width("none") * 4 > LARGEST_KEPT:
        return lambda places: probe.encode(to_float(chosen(places)))
    if len(positions) == len(images):
        # One pass for all heads at this tap; `labeled` gives all positions in ascending order.
        kept = probe.train.features(pool="none")
    else:
        kept = torch.cat(
            [probe.encode(to_float(images[block.to(images.device)])) for block in blocks(positions, BLOCK)]
        )
    return lambda places: kept[places]


@torch.no_grad()
def predict(head: nn.Module, probe: benchmark.Probe) -> Tensor:
    """(number of test images,) int32 on the CPU: the most likely class of each, the head in eval mode."""
    head.eval()
    images = probe.test.images
    if len(images) * probe.layout.tap(probe.tap).width("none") * 4 > LARGEST_KEPT:
        features = (probe.encode(to_float(block)) for block in blocks(images, BLOCK))
    else:
        features = (block for block in blocks(probe.test.features(pool="none"), BLOCK))
    return torch.cat([head(block).argmax(dim=1) for block in features]).int().cpu()


def _optimizer(head: nn.Module, recipe: HeadRecipe) -> torch.optim.Optimizer:
    start = recipe.rates[0][1]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(head.parameters(), lr=start, betas=BETAS)
    return torch.optim.SGD(head.parameters(), lr=start, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
