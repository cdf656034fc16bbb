"""The training labels of each draw, and the evaluation of several draws.

All random numbers come from `probe.generator`: the same dataset and protocol give the same draws for every encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import benchmark


def generators(probe: benchmark.Probe, draws: int) -> Iterator[torch.Generator]:
    """One CPU generator per draw. More draws do not change earlier ones."""
    for _ in range(draws):
        yield torch.Generator().manual_seed(draw_seed(probe.generator))


def draw_seed(generator: torch.Generator) -> int:
    """A seed in [0, 2^62)."""
    return int(torch.randint(2**62, (), generator=generator))


def labeled_positions(probe: benchmark.Probe, per_class: int | None, generator: torch.Generator) -> Tensor:
    """Positions in train of the labeled images.

    Args:
        probe: train labels and class names.
        per_class: images per class; None: all of train, without a draw.
        generator: on the CPU. With the same generator, larger sets contain the smaller ones.

    Returns:
        (M,) int64, ascending, on the CPU.

    Raises:
        UnsupportedError: a class has fewer images, or there is only one class.
    """
    labels = probe.train.labels.cpu()
    if len(torch.unique(labels)) < 2:
        raise benchmark.UnsupportedError(
            "a head needs at least two classes, but all training images have the same class; use another dataset or subset"
        )
    if per_class is None:
        return torch.arange(len(labels))
    chosen = []
    for label, name in enumerate(probe.class_names):
        members = torch.nonzero(labels == label).flatten()
        if len(members) < per_class:
            raise benchmark.UnsupportedError(
                f"per_class={per_class} is too large: class '{name}' has {len(members)} training images. Use at most the size "
                f"of the smallest class, or more training images"
            )
        chosen.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    return torch.cat(chosen).sort().values


def evaluation(
    probe: benchmark.Probe, name: str, predicted: Sequence[NDArray[np.int32]], details: Mapping[str, object]
) -> benchmark.Evaluation:
    """Accuracy as the mean over draws.

    Args:
        probe: test labels.
        name: name of the evaluator.
        predicted: for each draw, predicted classes (number of test images,).
        details: further details to record.

    Returns:
        Outcomes are booleans for one draw; for several, the fraction of draws that classify an image correctly, float32.
    """
    truth = probe.test.labels.cpu().numpy()
    correct = np.stack([classes == truth for classes in predicted])
    outcomes = correct[0] if len(correct) == 1 else correct.mean(axis=0, dtype=np.float64).astype(np.float32)
    names = [name] if len(predicted) == 1 else [f"{name}@draw={draw}" for draw in range(1, len(predicted) + 1)]
    measurement = benchmark.Measurement(metric="accuracy", value=float(correct.mean()), n=len(truth), outcomes=outcomes)
    return benchmark.Evaluation(
        measurements=(measurement,),
        predictions=dict(zip(names, predicted, strict=True)),
        details={**details, "draw_accuracies": [float(draw.mean()) for draw in correct]},
    )
