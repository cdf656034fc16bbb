"""The published heads of AET, RotNet and Deep InfoMax, trained on a frozen encoder, with all labels or with a few.

`fc1`, `fc2`, `fc3`, `conv` and `mlp` are given a tap as it is, the whole map, flattened where they are fully connected, as
in the papers; they have no `pool`. `svm` is given a flattened map, as published, or with `svm[pool=average]` its mean.
A head is scored once, after its last epoch; AET and RotNet report the best of all epochs on test, which is
larger (`fc2[best=true]` gives that beside it), Deep InfoMax the mean of the last 100.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import benchmark
from bench_heads.parameters import AetHeadParams, HeadParams, RotNetHeadParams, SvmParams

AET = "Zhang, Qi, Wang, Luo: AET vs. AED, 2019, section 4.1"
ROTNET = (
    "Gidaris, Singh, Komodakis: Unsupervised representation learning by predicting image rotations, 2018, section 4.1"
)
DIM = "Hjelm et al.: Learning deep representations by mutual information estimation and maximization, 2019, section 4.1"
ACCURACY = (benchmark.Metric(name="accuracy", headline="accuracy"),)
BEST = (benchmark.Metric(name="best_epoch_accuracy"),)
"""Chosen on test: only where asked for, to be read against figures that were."""


@benchmark.hookimpl
def bench_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """`fc1`, `fc2`, `fc3`, `conv`, `mlp` and `svm`."""
    yield _head("fc1", "one linear layer on the whole map, trained by SGD on augmented images", AetHeadParams, AET)
    yield _head("fc2", "two fully connected layers on the whole map", AetHeadParams, AET)
    yield _head("fc3", "three fully connected layers on the whole map", RotNetHeadParams, ROTNET)
    yield _head("conv", "a Network-in-Network block on the map, averaged over places", RotNetHeadParams, ROTNET)
    yield _head("mlp", "one hidden layer of 200 units on the flattened tap, by Adam", HeadParams, DIM)
    yield benchmark.EvaluatorSpec(
        name="svm",
        summary="linear support vector machines (hinge loss) on standardized features",
        evaluate=_svm,
        params=SvmParams,
        metrics=ACCURACY,
        paper=DIM,
        pools=("flat", "average"),
    )


def _head(name: str, summary: str, params: type, paper: str) -> benchmark.EvaluatorSpec:
    return benchmark.EvaluatorSpec(
        name=name,
        summary=summary,
        evaluate=_evaluator(name),
        params=params,
        metrics=ACCURACY + BEST,
        paper=paper,
        pools=("none",),
    )


def _evaluator(name: str) -> Callable[[benchmark.Probe, HeadParams], benchmark.Evaluation]:
    def evaluate(probe: benchmark.Probe, params: HeadParams) -> benchmark.Evaluation:
        from bench_heads.scoring import evaluate_head

        return evaluate_head(probe, params, name)

    return evaluate


def _svm(probe: benchmark.Probe, params: SvmParams) -> benchmark.Evaluation:
    from bench_heads.svm import evaluate_svm

    return evaluate_svm(probe, params)
