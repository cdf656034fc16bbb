"""Linear support vector machines on frozen features, one class against the rest (Hjelm et al. 2019, section 4.2)."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import benchmark
from bench_heads.draws import draw_seed, evaluation, generators, labeled_positions
from bench_heads.parameters import SvmParams

Floats = NDArray[np.float32]


def evaluate_svm(probe: benchmark.Probe, params: SvmParams) -> benchmark.Evaluation:
    """Protocol `svm@1`: hinge loss, features standardized by mean and standard deviation of the labeled images.

    The paper reports the mean of 5 runs (`draws=5`) on flattened maps. Without `per_class` the draws differ only in the
    order in which the solver visits the images. The intercept is regularized, as in LIBLINEAR.

    Raises:
        UnsupportedError: only one class, or a class with fewer images than `per_class`.
    """
    train, test = probe.train.features().cpu().numpy(), probe.test.features().cpu().numpy()
    labels = probe.train.labels.cpu().numpy()
    predicted, converged, iterations, images = [], [], [], 0
    for generator in generators(probe, params.draws):
        positions = labeled_positions(probe, params.per_class, generator).numpy()
        scaler = StandardScaler()
        machine = LinearSVC(
            loss="hinge",
            dual="auto",
            C=params.c,
            max_iter=params.iterations,
            random_state=draw_seed(generator) % 2**32,
        )
        converged.append(fit(machine, scaler.fit_transform(train[positions]), labels[positions]))
        predicted.append(machine.predict(scaler.transform(test)).astype(np.int32))
        iterations.append(int(machine.n_iter_))
        images = len(positions)
    return evaluation(
        probe,
        "svm",
        predicted,
        {"converged": all(converged), "iterations": iterations, "labeled_images": images},
    )


def fit(machine: LinearSVC, features: Floats, labels: NDArray[np.int64]) -> bool:
    """Fits in place and returns whether the fit converged. Warnings other than about convergence are passed on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        machine.fit(features, labels)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
