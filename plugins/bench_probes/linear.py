"""A linear classifier on frozen features: multinomial logistic regression, L2 chosen on a hold-out of train."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import benchmark
from bench_probes.params import LinearParams

SPLIT_SEED = 0
"""Of the hold-out: with the training labels it fixes which images are held out, whatever the cell's seed."""
HELD_OUT = 0.1
"""Part of each class that is held out."""

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def evaluate_linear(probe: benchmark.Probe, params: LinearParams) -> benchmark.Evaluation:
    """Protocol `linear@1`: standardised features, L2 from a grid by accuracy on a tenth of train, refit on all of train.

    Strengths are tried from strong to weak, each fit starting where the last one ended, and the refit where the chosen
    one ended; of equally accurate strengths the stronger is chosen. Features are standardised with the mean and
    deviation of what is fitted on.

    Raises:
        UnsupportedError: fewer than two classes in train.
    """
    train, train_labels = _numbers(probe.train.features()), probe.train.labels.cpu().numpy()
    if len(np.unique(train_labels)) < 2:
        raise benchmark.UnsupportedError(
            "a linear probe tells classes apart, but all training images are of one class; use another dataset or subset"
        )
    choice = choose_strength(train, train_labels, params)
    scaler = StandardScaler()
    converged = fit(choice.classifier, scaler.fit_transform(train), train_labels, choice.strength)
    predicted = choice.classifier.predict(scaler.transform(_numbers(probe.test.features())))
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
            "converged": converged,
            "all_converged": converged and choice.converged,
            "iterations": int(choice.classifier.n_iter_.max()),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The L2 strength that was chosen."""

    strength: float
    """lambda in mean cross-entropy + lambda / 2 * |weights|^2."""
    classifier: Any
    """scikit-learn's LogisticRegression: where the refit starts."""
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


def choose_strength(features: Floats, labels: Labels, params: LinearParams) -> Choice:
    """The strength that is most accurate on a hold-out of train; the strongest where nothing can be held out."""
    classifier = LogisticRegression(solver="lbfgs", max_iter=params.iterations, warm_start=True)
    strengths = sorted(set(params.strengths), reverse=True)
    held_out = hold_out(labels)
    if len(strengths) == 1 or not held_out.any():
        return Choice(strength=strengths[0], classifier=classifier)
    # Indexing has copied already, so these may be overwritten.
    scaler = StandardScaler(copy=False)
    fitted_on, queries = scaler.fit_transform(features[~held_out]), scaler.transform(features[held_out])
    tried: dict[float, Any] = {}
    accuracies: dict[float, float] = {}
    converged = True
    for strength in strengths:
        converged &= fit(classifier, fitted_on, labels[~held_out], strength)
        accuracies[strength] = float((classifier.predict(queries) == labels[held_out]).mean())
        tried[strength] = copy.deepcopy(classifier)
    # The first of equals: the strongest, since the strongest was tried first.
    chosen = max(strengths, key=accuracies.__getitem__)
    return Choice(
        strength=chosen,
        classifier=tried[chosen],
        accuracies=accuracies,
        held_out=int(held_out.sum()),
        converged=converged,
    )


def hold_out(labels: Labels) -> NDArray[np.bool_]:
    """(N,) which training images are held out: a tenth of each class, at least one, none of a class with one image."""
    generator = np.random.default_rng(SPLIT_SEED)
    held_out = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) > 1:
            held_out[members[: max(1, round(HELD_OUT * len(members)))]] = True
    return held_out


def fit(classifier: Any, features: Floats, labels: Labels, strength: float) -> bool:
    """Fits in place, starting from what was fitted before; whether it converged.

    Objective: mean cross-entropy + strength / 2 * |weights|^2, the bias not penalised. Two classes share one vector of
    weights.
    """
    classifier.set_params(C=1.0 / (strength * len(labels)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(features, labels)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _numbers(features: Tensor) -> Floats:
    return features.detach().float().cpu().numpy()
