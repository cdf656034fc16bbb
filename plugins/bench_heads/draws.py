"""Which training labels each draw is given, and how the draws become one evaluation.

Chance comes from `probe.generator` alone: the same dataset and protocol give the same draws, whatever is scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import benchmark


def generators(probe: benchmark.Probe, draws: int) -> Iterator[torch.Generator]:
    """One CPU generator for each draw; more draws change nothing about those before."""
    for _ in range(draws):
        yield torch.Generator().manual_seed(seed_from(probe.generator))


def seed_from(generator: torch.Generator) -> int:
    """A seed in [0, 2^62)."""
    return int(torch.randint(2**62, (), generator=generator))


def labeled(probe: benchmark.Probe, per_class: int | None, generator: torch.Generator) -> Tensor:
    """Positions in train of the images whose labels are given to a head.

    Args:
        probe: train labels and class names.
        per_class: images of each class; None: all of train, and nothing is drawn.
        generator: on the CPU. The same one draws larger sets that contain the smaller ones.

    Returns:
        (M,) int64, ascending, on the CPU.

    Raises:
        UnsupportedError: a class has fewer images, or all are of one class.
    """
    labels = probe.train.labels.cpu()
    if len(torch.unique(labels)) < 2:
        raise benchmark.UnsupportedError(
            "a head tells classes apart, but all training images are of one class; use another dataset or subset"
        )
    if per_class is None:
        return torch.arange(len(labels))
    chosen = []
    for label, name in enumerate(probe.class_names):
        members = torch.nonzero(labels == label).flatten()
        if len(members) < per_class:
            raise benchmark.UnsupportedError(
                f"per_class={per_class} labels of each class were asked for, but '{name}' has {len(members)} training "
                f"images; ask for no more than the smallest class has, or use more training images"
            )
        chosen.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    return torch.cat(chosen).sort().values


def evaluation(
    probe: benchmark.Probe, name: str, predicted: Sequence[NDArray[np.int32]], details: Mapping[str, object]
) -> benchmark.Evaluation:
    """Accuracy as the mean over draws.

    Args:
        probe: test labels.
        name: the evaluator's.
        predicted: for each draw (number of test images,) predicted classes.
        details: more to record.

    Returns:
        Outcomes are booleans for one draw; for several the part of them that is right about an image, float32.
    """
    truth = probe.test.labels.cpu().numpy()
    correct = np.stack([classes == truth for classes in predicted])
    outcomes = correct[0] if len(correct) == 1 else correct.mean(axis=0, dtype=np.float64).astype(np.float32)
    names = [name] if len(predicted) == 1 else [f"{name}@draw={draw}" for draw in range(1, len(predicted) + 1)]
    measurement = benchmark.Measurement(metric="accuracy", value=float(correct.mean()), n=len(truth), outcomes=outcomes)
    return benchmark.Evaluation(
        measurements=(measurement,),
        predictions=dict(zip(names, predicted, strict=True)),
        details={**details, "draw_accuracies": [float(each.mean()) for each in correct]},
    )
