"""Evaluate a head: for each draw, choose labels, train a new head, and score it on test."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import benchmark
from bench_heads.draws import draw_seed, evaluation, generators, labeled_positions
from bench_heads.networks import build_head
from bench_heads.parameters import HeadParams
from bench_heads.recipes import RECIPES, HeadRecipe
from bench_heads.training import LabeledTask, epoch_length, predict, seeded_globally, train_head

BEST = "best_epoch_accuracy"


def evaluate_head(probe: benchmark.Probe, params: HeadParams, name: str) -> benchmark.Evaluation:
    """Protocols `fc1@1`, `fc2@1`, `fc3@1`, `conv@1`, `mlp@1`: accuracy on test after the last epoch.

    With `best` also `best_epoch_accuracy`, the mean over draws of the highest accuracy of any epoch. It has no interval,
    because it is chosen on test.

    Args:
        probe: the frozen encoder at one tap; the head takes its whole map.
        params: epochs, augmentation, number of labels and of draws.
        name: name of the head.

    Raises:
        UnsupportedError: only one class, a class with fewer images than `per_class`, or `conv` on a tap that is not a map.
        TrainingError: the loss is not finite.
    """
    tap, recipe = probe.layout.tap(probe.tap), RECIPES[name]
    draws = [_run_draw(probe, params, name, generator) for generator in generators(probe, params.draws)]
    result = evaluation(
        probe,
        name,
        [draw.predicted for draw in draws],
        {
            "epochs": params.epochs,
            "optimizer": recipe.description(),
            "rates": _rates(recipe, params.epochs),
            "batch": recipe.batch,
            "steps": draws[0].steps,
            "augment": params.augmented,
            "input": list(tap.shape),
            "parameters": draws[0].parameters,
            "labeled_images": draws[0].labeled,
            "last_training_loss": sum(draw.loss for draw in draws) / len(draws),
        },
    )
    return _with_best(result, [draw.by_epoch for draw in draws]) if params.best else result


def _with_best(evaluation_of_last: benchmark.Evaluation, by_epoch: list[list[float]]) -> benchmark.Evaluation:
    best = sum(max(accuracies) for accuracies in by_epoch) / len(by_epoch)
    measurement = benchmark.Measurement(metric=BEST, value=best, n=evaluation_of_last.measurements[0].n)
    return dataclasses.replace(
        evaluation_of_last,
        measurements=(*evaluation_of_last.measurements, measurement),
        details={**evaluation_of_last.details, "epoch_accuracies": by_epoch},
    )


@dataclass(frozen=True, kw_only=True)
class _Draw:
    """The result of one draw."""

    predicted: NDArray[np.int32]
    loss: float
    steps: int
    labeled: int
    parameters: int
    by_epoch: list[float]
    """Accuracy on test after each epoch; empty without `best`."""


def _run_draw(probe: benchmark.Probe, params: HeadParams, name: str, generator: torch.Generator) -> _Draw:
    positions = labeled_positions(probe, params.per_class, generator)
    task = LabeledTask(
        probe=probe,
        positions=positions,
        length=epoch_length(len(probe.train.labels), len(positions), params.per_class),
        augmented=params.augmented,
    )
    by_epoch: list[float] = []
    truth = probe.test.labels.cpu()
    with seeded_globally(draw_seed(generator), probe.device):
        head = build_head(name, probe.layout.tap(probe.tap), len(probe.class_names)).to(probe.device)

        def score() -> None:
            by_epoch.append(float((predict(head, probe) == truth).double().mean()))

        after_epoch = score if params.best else None
        loss, steps = train_head(head, task, RECIPES[name], params.epochs, generator, after_epoch)
    return _Draw(
        predicted=predict(head, probe).numpy(),
        loss=loss,
        steps=steps,
        labeled=len(positions),
        parameters=sum(parameter.numel() for parameter in head.parameters()),
        by_epoch=by_epoch,
    )


def _rates(recipe: HeadRecipe, epochs: int) -> dict[str, float]:
    """First epoch of each learning rate -> the rate."""
    rates: dict[str, float] = {}
    for epoch in range(epochs):
        rate = recipe.rate(epoch, epochs)
        if rate not in rates.values():
            rates[str(epoch)] = rate
    return rates
