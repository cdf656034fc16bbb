"""Evaluators of frozen features: a linear classifier, nearest neighbors, retrieval.

No test label chooses anything: L2 strengths are chosen on a hold-out of train, and every k is reported.
"""

from __future__ import annotations

from collections.abc import Iterable

import benchmark
from bench_probes import references
from bench_probes.params import LinearParams, NeighborsParams, RetrievalParams


@benchmark.hookimpl
def bench_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """The evaluators `linear`, `knn` and `retrieval`."""
    yield benchmark.EvaluatorSpec(
        name="linear",
        summary="logistic regression on standardized features",
        evaluate=_linear,
        params=LinearParams,
        metrics=(benchmark.Metric(name="accuracy", headline="accuracy"),),
        paper="Alain, Bengio: Understanding intermediate layers using linear classifier probes, 2016",
        bibtex=references.ALAIN_2016,
    )
    yield benchmark.EvaluatorSpec(
        name="knn",
        summary="weighted vote of the nearest training images (cosine)",
        evaluate=_knn,
        params=NeighborsParams,
        metrics=(
            benchmark.Metric(name="accuracy", headline="accuracy@k=20"),
            benchmark.Metric(name="vote_accuracy"),
        ),
        paper="Wu, Xiong, Yu, Lin: Unsupervised feature learning via non-parametric instance discrimination, 2018",
        bibtex=references.WU_2018,
    )
    yield benchmark.EvaluatorSpec(
        name="retrieval",
        summary="rank other test images by cosine; relevant: same class",
        evaluate=_retrieval,
        params=RetrievalParams,
        metrics=(
            benchmark.Metric(name="map", headline="map"),
            benchmark.Metric(name="r_precision"),
            benchmark.Metric(name="precision"),
            benchmark.Metric(name="recall"),
        ),
        paper="Manning, Raghavan, Schuetze: Introduction to Information Retrieval, 2008, chapter 8",
        bibtex=references.MANNING_2008,
    )


def _linear(probe: benchmark.Probe, params: LinearParams) -> benchmark.Evaluation:
    from bench_probes.linear import evaluate_linear

    return evaluate_linear(probe, params)


def _knn(probe: benchmark.Probe, params: NeighborsParams) -> benchmark.Evaluation:
    from bench_probes.knn import evaluate_knn

    return evaluate_knn(probe, params)


def _retrieval(probe: benchmark.Probe, params: RetrievalParams) -> benchmark.Evaluation:
    from bench_probes.retrieval import evaluate_retrieval

    return evaluate_retrieval(probe, params)
