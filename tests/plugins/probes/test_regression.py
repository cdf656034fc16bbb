"""The solver of logistic regression: `bench_probes.regression`."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest
import torch
from host_reads import Watcher
from probe_samples import digits, evaluate, fake_probe
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from bench_probes import linear, neighbors, regression


def objective(features: Tensor, labels: Any, weights: Any, bias: Any, strength: float) -> Tensor:
    """Mean cross-entropy + strength / 2 * |weights|^2 in float64; a single row of weights is that of the second class."""
    weights, bias = (torch.as_tensor(value, dtype=torch.float64) for value in (weights, bias))
    logits = features.double() @ weights.T + bias
    if len(weights) == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    fit = torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels))
    return fit + strength / 2 * weights.square().sum()


def problem_for(features: Tensor, labels: Tensor, variant: str = "all directions") -> regression.Problem:
    """A fit of all rows, with one of several ways to guide the solver and to store the features."""
    rows = torch.ones(len(labels), dtype=torch.bool)
    guide = regression.curvature(features, 90 if variant == "some directions" else None)
    if variant == "poor curvature":
        guide = regression.Curvature(basis=torch.eye(160)[:, :3], variances=torch.ones(3), rest=torch.tensor(0.3))
    problem = linear.problem_of(features, labels, rows, guide)
    if variant == "no copy":
        return dataclasses.replace(problem, data=regression.standardize(features, rows, max_copy_bytes=0))
    return problem


def solve_digits(
    features: Tensor, labels: Tensor, strength: float, iterations: int = 200, variant: str = "all directions"
) -> tuple[Tensor, Tensor, Any]:
    problem = problem_for(features, labels, variant)
    fit = regression.solve(problem, strength, torch.zeros(int(labels.max()) + 1, features.shape[1] + 1), iterations)
    return fit.point[:, :-1], fit.point[:, -1], fit


def scikit_learns(features: Tensor, labels: Tensor, strength: float) -> tuple[Any, Any, Any]:
    """Standardized features, weights and bias at scikit-learn's optimum, in float64 to a gradient of 1e-9."""
    standardized = StandardScaler().fit_transform(features.double().numpy())
    classifier = LogisticRegression(C=1 / (strength * len(labels)), tol=1e-9, max_iter=100_000)
    classifier.fit(standardized, labels.numpy())
    return torch.from_numpy(standardized), classifier.coef_, classifier.intercept_


@functools.cache
def optimum(classes: int, strength: float) -> tuple[Any, Any, Any]:
    """The optimum for the digits, computed once."""
    return scikit_learns(*digits(classes), strength)


@pytest.mark.parametrize("variant", ["all directions", "some directions", "no copy", "poor curvature"])
@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("classes", [2, 10])
def test_fit_reaches_the_optimum_of_scikit_learn(classes: int, strength: float, variant: str) -> None:
    features, labels = digits(classes)
    weights, bias, fit = solve_digits(features, labels, strength, 5000, variant)
    standardized, best_weights, best_bias = optimum(classes, strength)
    if classes == 2:
        weights, bias = weights[1:] - weights[:1], bias[1:] - bias[:1]
    assert fit.converged
    smallest = objective(standardized, labels, best_weights, best_bias, strength)
    assert -1e-7 < objective(standardized, labels, weights, bias, strength) - smallest < 5e-6
    # Predictions differ only for images whose margin is below 0.1.
    ours = (standardized @ weights.double().T + bias.double()).numpy()
    theirs = standardized.numpy() @ best_weights.T + best_bias
    margins = np.abs(theirs[:, 0]) if classes == 2 else np.diff(np.sort(theirs, axis=1)[:, -2:], axis=1)[:, 0]
    same = (ours > 0) == (theirs > 0) if classes == 2 else ours.argmax(axis=1) == theirs.argmax(axis=1)
    assert same.reshape(-1)[margins > 0.1].all()
    assert (margins > 0.1).mean() > 0.9


def test_estimated_gap_is_near_the_true_gap() -> None:
    features, labels = digits()
    standardized, *best = scikit_learns(features, labels, 1e-2)
    smallest = objective(standardized, labels, *best, 1e-2)
    for iterations in (3, 5, 10, 15, 200):
        weights, bias, fit = solve_digits(features, labels, 1e-2, iterations)
        gap = float(objective(standardized, labels, weights, bias, 1e-2) - smallest)
        assert fit.gap / 3 < gap < fit.gap * 3
        assert fit.converged == (iterations == 200) == (fit.gap <= 1e-6)


def test_curvature_halves_the_iterations() -> None:
    features, labels = digits()
    problem = linear.problem_of(features, labels, torch.ones(len(labels)).bool(), regression.curvature(features))
    uninformative = regression.Curvature(basis=torch.eye(160)[:, :1], variances=torch.ones(1), rest=torch.tensor(1.0))
    guided, unguided = (
        regression.solve(dataclasses.replace(problem, curvature=guide), 1e-2, torch.zeros(10, 161), 1000)
        for guide in (problem.curvature, uninformative)
    )
    assert guided.converged
    assert unguided.converged
    assert 2 * guided.iterations < unguided.iterations


def test_rows_with_weight_zero_do_not_affect_the_fit() -> None:
    features, labels = digits()
    rows = torch.arange(len(labels)) % 4 > 0
    guide, start = regression.curvature(features), torch.zeros(10, 161)
    fits = []
    for others in (0.0, 1e6):
        changed = torch.where(rows[:, None], features, others)
        fits.append(regression.solve(linear.problem_of(changed, labels, rows, guide), 1e-2, start, 200))
    assert torch.equal(fits[0].point, fits[1].point)
    assert torch.equal(fits[0].logits[:, rows], fits[1].logits[:, rows])
    assert not torch.equal(fits[0].logits[:, ~rows], fits[1].logits[:, ~rows])


def test_iteration_reads_few_numbers_from_the_device() -> None:
    features, labels = digits()
    problem = linear.problem_of(features, labels, torch.ones(len(labels)).bool(), regression.curvature(features))
    with Watcher() as watcher:
        fit = regression.solve(problem, 1e-3, torch.zeros(10, 161), 200)
    assert fit.iterations >= 10
    # The gap, and slope and curvature at each point of a line search.
    assert fit.iterations <= len(watcher.reads) <= 7 * (fit.iterations + 1)


def test_large_features_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = digits()
    probe = fake_probe(features, labels, features, labels)
    with Watcher() as small:
        evaluate("linear", probe, iterations=3)
    assert small.largest >= features.numel()
    monkeypatch.setattr(regression, "MAX_COPY_BYTES", 0)
    monkeypatch.setattr(regression, "SAMPLE", 400)
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 2**16)
    with Watcher() as large:
        evaluate("linear", probe, iterations=3)
    assert large.largest <= features.numel() / 4
