"""A head's evaluation: for each draw labels, a fresh head, training, then test once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import benchmark
from bench_heads.draws import evaluation, generators, labeled, seed_from
from bench_heads.networks import build_head
from bench_heads.parameters import HeadParams
from bench_heads.recipes import RECIPES, HeadRecipe
from bench_heads.training import LabeledTask, epoch_length, own_chance, predict, train_head

BEST = "best_epoch_accuracy"


def evaluate_head(probe: benchmark.Probe, params: HeadParams, name: str) -> benchmark.Evaluation:
    """Protocols `fc1@1`, `fc2@1`, `fc3@1`, `conv@1`, `mlp@1`: accuracy on test after the last epoch.

    With `best` also `best_epoch_accuracy`, the mean over draws of the highest accuracy of any epoch. It was chosen on test,
    so that no interval of it would be right, and none is given.

    Args:
        probe: the frozen encoder at one tap, whose whole map the head is given.
        params: epochs, augmentation, number of labels and of draws.
        name: of the head.

    Raises:
        UnsupportedError: one class only, a class with fewer images than `per_class`, `conv` on what is no map.
        TrainingError: the loss is not finite.
    """
    tap, recipe = probe.layout.tap(probe.tap), RECIPES[name]
    results = [_trained_once(probe, params, name, generator) for generator in generators(probe, params.draws)]
    found = evaluation(
        probe,
        name,
        [result.predicted for result in results],
        {
            "epochs": params.epochs,
            "optimizer": recipe.described(),
            "rates": _rates(recipe, params.epochs),
            "batch": recipe.batch,
            "steps": results[0].steps,
            "augment": params.augmented,
            "input": list(tap.shape),
            "parameters": results[0].parameters,
            "labeled_images": results[0].labeled,
            "last_training_loss": sum(result.loss for result in results) / len(results),
        },
    )
    return _with_best(found, [result.by_epoch for result in results]) if params.best else found


def _with_best(found: benchmark.Evaluation, by_epoch: list[list[float]]) -> benchmark.Evaluation:
    best = sum(max(accuracies) for accuracies in by_epoch) / len(by_epoch)
    measurement = benchmark.Measurement(metric=BEST, value=best, n=found.measurements[0].n)
    return dataclasses.replace(
        found,
        measurements=(*found.measurements, measurement),
        details={**found.details, "epoch_accuracies": by_epoch},
    )


@dataclass(frozen=True, kw_only=True)
class _Result:
    """One draw."""

    predicted: NDArray[np.int32]
    loss: float
    steps: int
    labeled: int
    parameters: int
    by_epoch: list[float]
    """Accuracy on test after each epoch; empty unless asked for."""


def _trained_once(probe: benchmark.Probe, params: HeadParams, name: str, generator: torch.Generator) -> _Result:
    positions = labeled(probe, params.per_class, generator)
    task = LabeledTask(
        probe=probe,
        positions=positions,
        length=epoch_length(len(probe.train.labels), len(positions), params.per_class),
        augmented=params.augmented,
    )
    by_epoch: list[float] = []
    truth = probe.test.labels.cpu()
    with own_chance(seed_from(generator), probe.device):
        head = build_head(name, probe.layout.tap(probe.tap), len(probe.class_names)).to(probe.device)

        def score() -> None:
            by_epoch.append(float((predict(head, probe) == truth).double().mean()))

        after_epoch = score if params.best else None
        loss, steps = train_head(head, task, RECIPES[name], params.epochs, generator, after_epoch)
    return _Result(
        predicted=predict(head, probe).numpy(),
        loss=loss,
        steps=steps,
        labeled=len(positions),
        parameters=sum(parameter.numel() for parameter in head.parameters()),
        by_epoch=by_epoch,
    )


def _rates(recipe: HeadRecipe, epochs: int) -> dict[str, float]:
    """First epoch of each rate -> the rate."""
    found: dict[str, float] = {}
    for epoch in range(epochs):
        rate = recipe.rate(epoch, epochs)
        if rate not in found.values():
            found[str(epoch)] = rate
    return found
