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
"""Seed of the hold-out, independent of the cell's seed: the training labels determine which images are held out."""
HELD_OUT = 0.1
"""Fraction of each class that is held out."""


def evaluate_linear(probe: benchmark.Probe, params: LinearParams) -> benchmark.Evaluation:
    """Protocol `linear@1`: standardized features, L2 from a grid by accuracy on a tenth of train, refit on all of train.

    Strengths are tried in descending order. Each fit starts at the result of the previous one, and the refit at the result
    of the chosen one. Of equally accurate strengths the largest is chosen. Features are standardized with the mean and
    standard deviation of the fitted images. A fit ends when its objective is within 1e-6 nats of the minimum.

    Raises:
        UnsupportedError: fewer than two classes in train.
        TrainingError: features that are not finite.
    """
    train, test = _finite_features(probe, "train"), _finite_features(probe, "test")
    classes, labels = torch.unique(probe.train.labels.to(train.device), return_inverse=True)
    if len(classes) < 2:
        raise benchmark.UnsupportedError(
            "a linear probe needs at least two classes, but all training images have the same class; "
            "use another dataset or subset"
        )
    guide = curvature(train)
    choice = choose_strength(train, labels, guide, params)
    all_rows = torch.ones(len(labels), dtype=torch.bool, device=train.device)
    problem = problem_of(train, labels, all_rows, guide)
    final = solve(problem, choice.strength, choice.point, params.iterations)
    logits = problem.data.transform(test).logits(final.point[:, :-1], final.point[:, -1])
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
    """The chosen L2 strength."""

    strength: float
    """lambda in mean cross-entropy + lambda / 2 * |weights|^2."""
    point: Tensor
    """(K, D + 1): start of the refit."""
    accuracies: dict[float, float] = field(default_factory=dict)
    """Strength -> accuracy on the hold-out; empty if there was only one strength or no hold-out."""
    held_out: int = 0
    """Number of training images held out."""
    converged: bool = True
    """Whether every fit of the selection converged."""

    @property
    def at_edge(self) -> bool:
        """Whether the strength is the largest or smallest of the grid, so that one outside the grid may be better."""
        return bool(self.accuracies) and self.strength in (min(self.accuracies), max(self.accuracies))


def choose_strength(features: Tensor, labels: Tensor, guide: Curvature, params: LinearParams) -> Choice:
    """The strength with the highest accuracy on a hold-out of train; the largest if nothing can be held out."""
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
        correct = fit.logits.argmax(dim=0) == labels
        accuracies[strength] = float(correct[held_out].double().mean())
    # max returns the first of equals, and strengths are in descending order.
    chosen = max(strengths, key=accuracies.__getitem__)
    return Choice(
        strength=chosen,
        point=points[chosen],
        accuracies=accuracies,
        held_out=int(held_out.sum()),
        converged=converged,
    )


def hold_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether a training image is held out: a tenth of each class, at least one, none of a class with one image."""
    generator = np.random.default_rng(SPLIT_SEED)
    held_out = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) > 1:
            held_out[members[: max(1, round(HELD_OUT * len(members)))]] = True
    return held_out


def problem_of(features: Tensor, labels: Tensor, rows: Tensor, guide: Curvature) -> Problem:
    """The optimization problem that fits some of the rows.

    The other rows have weight 0 in the objective, so no features are copied, and their logits are computed as well.

    Args:
        features: (N, D) float32.
        labels: (N,) int64, from 0 to K - 1.
        rows: (N,) bool, the rows to fit.
        guide: the curvature of these features.
    """
    return Problem(
        data=standardize(features, rows),
        labels=labels,
        row_weights=rows.float() / rows.sum(),
        num_classes=int(labels.max()) + 1,
        curvature=guide,
    )


def _finite_features(probe: benchmark.Probe, name: str) -> Tensor:
    split = probe.train if name == "train" else probe.test
    features = split.features().detach().float()
    # Minimum and maximum, because a sum in float64 would copy the features.
    if not torch.isfinite(torch.stack(torch.aminmax(features))).all():
        raise benchmark.TrainingError(
            f"a linear probe needs finite features, but some {name} features at tap '{probe.tap}' are not finite. "
            "Check whether the encoder's training diverged, or score another tap"
        )
    return features
