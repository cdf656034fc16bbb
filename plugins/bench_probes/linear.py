"""A linear classifier on frozen features: multinomial logistic regression, L2 chosen on a hold-out of train."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import benchmark
from bench_probes.params import LinearParams
from bench_probes.regression import Curvature, Problem, curvature, solve, standardize

SPLIT_SEED = 0
"""Of the hold-out: with the training labels it fixes which images are held out, whatever the cell's seed."""
HELD_OUT = 0.1
"""Part of each class that is held out."""


def evaluate_linear(probe: benchmark.Probe, params: LinearParams) -> benchmark.Evaluation:
    """Protocol `linear@1`: standardized features, L2 from a grid by accuracy on a tenth of train, refit on all of train.

    Strengths are tried from strong to weak, each fit starting where the last one ended, and the refit where the chosen
    one ended; of equally accurate strengths the stronger is chosen. Features are standardized with the mean and
    deviation of what is fitted on. A fit is over when its objective is within 1e-6 nats of the smallest.

    Raises:
        UnsupportedError: fewer than two classes in train.
        TrainingError: features that are not finite.
    """
    train, test = _numbers(probe, "train"), _numbers(probe, "test")
    classes, labels = torch.unique(probe.train.labels.to(train.device), return_inverse=True)
    if len(classes) < 2:
        raise benchmark.UnsupportedError(
            "a linear probe tells classes apart, but all training images are of one class; use another dataset or subset"
        )
    guide = curvature(train)
    choice = choose_strength(train, labels, guide, params)
    everything = torch.ones(len(labels), dtype=torch.bool, device=train.device)
    problem = problem_of(train, labels, everything, guide)
    final = solve(problem, choice.strength, choice.point, params.iterations)
    logits = problem.data.of_others(test).logits(final.point[:, :-1], final.point[:, -1])
    predicted = classes[logits.argmax(dim=0)].cpu().numpy()
    correct = predicted == probe.test.labels.cpu().numpy()
    return benchmark.Evaluation(
        measurements=(
            benchmark.Measurement(metric="accuracy", value=float(correct.mean()), n=len(correct), outcomes=correct),
        ),
        predictions={"linear": predicted.astype(np.int32)},
        details={
            "strength": choice.strength,
            "at_edge": choice.at_edge,
            "held_out": choice.held_out,
            "hold_out_accuracy": {f"{strength:g}": value for strength, value in choice.accuracies.items()},
            "converged": final.converged,
            "all_converged": final.converged and choice.converged,
            "iterations": final.iterations,
            "gap": final.gap,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The L2 strength that was chosen."""

    strength: float
    """lambda in mean cross-entropy + lambda / 2 * |weights|^2."""
    point: Tensor
    """(K, D + 1): where the refit starts."""
    accuracies: dict[float, float] = field(default_factory=dict)
    """Strength -> accuracy on the hold-out; empty where there was nothing to choose from or by."""
    held_out: int = 0
    """Number of training images held out."""
    converged: bool = True
    """Whether every fit on the way converged."""

    @property
    def at_edge(self) -> bool:
        """Whether it is the largest or smallest of those tried, so that one beyond the grid may be better."""
        return bool(self.accuracies) and self.strength in (min(self.accuracies), max(self.accuracies))


def choose_strength(features: Tensor, labels: Tensor, guide: Curvature, params: LinearParams) -> Choice:
    """The strength that is most accurate on a hold-out of train; the strongest where nothing can be held out."""
    strengths = sorted(set(params.strengths), reverse=True)
    point = features.new_zeros(int(labels.max()) + 1, features.shape[1] + 1)
    held_out = torch.from_numpy(hold_out(labels.cpu().numpy())).to(features.device)
    if len(strengths) == 1 or not held_out.any():
        return Choice(strength=strengths[0], point=point)
    problem = problem_of(features, labels, ~held_out, guide)
    points: dict[float, Tensor] = {}
    accuracies: dict[float, float] = {}
    converged = True
    for strength in strengths:
        fit = solve(problem, strength, point, params.iterations)
        points[strength] = point = fit.point
        converged &= fit.converged
        right = fit.logits.argmax(dim=0) == labels
        accuracies[strength] = float(right[held_out].double().mean())
    # The first of equals: the strongest, since the strongest was tried first.
    chosen = max(strengths, key=accuracies.__getitem__)
    return Choice(
        strength=chosen,
        point=points[chosen],
        accuracies=accuracies,
        held_out=int(held_out.sum()),
        converged=converged,
    )


def hold_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) which training images are held out: a tenth of each class, at least one, none of a class with one image."""
    generator = np.random.default_rng(SPLIT_SEED)
    held_out = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) > 1:
            held_out[members[: max(1, round(HELD_OUT * len(members)))]] = True
    return held_out


def problem_of(features: Tensor, labels: Tensor, rows: Tensor, guide: Curvature) -> Problem:
    """What is solved to fit some rows.

    Nothing is copied to leave the others out: they have no share in the objective, and their logits come for nothing.

    Args:
        features: (N, D) float32.
        labels: (N,) int64, from 0 to K - 1.
        rows: (N,) bool.
        guide: the curvature of these features.
    """
    return Problem(
        data=standardize(features, rows),
        labels=labels,
        shares=rows.float() / rows.sum(),
        num_classes=int(labels.max()) + 1,
        curvature=guide,
    )


def _numbers(probe: benchmark.Probe, split: str) -> Tensor:
    given = probe.train if split == "train" else probe.test
    features = given.features().detach().float()
    # A sum in float64 would first make a copy of them in it.
    if not torch.isfinite(torch.stack(torch.aminmax(features))).all():
        raise benchmark.TrainingError(
            f"a linear probe at tap '{probe.tap}' needs numbers, but some {split} features are not finite; "
            "look whether the encoder's training went wrong, or score another tap"
        )
    return features
