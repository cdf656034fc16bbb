"""Evaluators of frozen features: nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterable

import benchmark
from bench_probes.params import NeighboursParams


@benchmark.hookimpl
def bench_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """Nearest neighbours."""
    yield benchmark.EvaluatorSpec(
        name="knn",
        summary="nearest training images by cosine vote for a class",
        evaluate=_knn,
        params=NeighboursParams,
        metrics=(
            benchmark.Metric(name="accuracy", headline="accuracy@k=20"),
            benchmark.Metric(name="vote_accuracy"),
        ),
        paper="Wu, Xiong, Yu, Lin: Unsupervised feature learning via non-parametric instance discrimination, 2018",
    )


def _knn(probe: benchmark.Probe, params: NeighboursParams) -> benchmark.Evaluation:
    from bench_probes.knn import evaluate_knn

    return evaluate_knn(probe, params)
