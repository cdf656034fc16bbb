"""The published heads of AET, RotNet and Deep InfoMax, trained on a frozen encoder with all labels or with few.

`fc1`, `fc2`, `fc3`, `conv` and `mlp` take the whole map of a tap (flattened if they are fully connected), as in the papers;
they have no `pool`. `svm` takes a flattened map, as published, or its mean with `svm[pool=average]`. A head is scored once,
after its last epoch. AET and RotNet report the best epoch on test, which is higher (`fc2[best=true]` reports it as well);
Deep InfoMax reports the mean over the last 100 epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import benchmark
from bench_heads import references
from bench_heads.parameters import AetHeadParams, HeadParams, RotNetHeadParams, SvmParams

AET = "Zhang, Qi, Wang, Luo: AET vs. AED, 2019, section 4.1"
ROTNET = (
    "Gidaris, Singh, Komodakis: Unsupervised representation learning by predicting image rotations, 2018, section 4.1"
)
DIM = "Hjelm et al.: Learning deep representations by mutual information estimation and maximization, 2019, section 4.1"
ACCURACY = (benchmark.Metric(name="accuracy", headline="accuracy"),)
BEST = (benchmark.Metric(name="best_epoch_accuracy"),)
"""Chosen on test: reported only on request, for comparison with published values that were chosen on test."""


@benchmark.hookimpl
def bench_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """`fc1`, `fc2`, `fc3`, `conv`, `mlp` and `svm`."""
    zhang, gidaris, hjelm = references.ZHANG_2019, references.GIDARIS_2018, references.HJELM_2019
    yield _head("fc1", "linear layer on the map, SGD on augmented images", AetHeadParams, AET, zhang)
    yield _head("fc2", "two fully connected layers on the whole map", AetHeadParams, AET, zhang)
    yield _head("fc3", "three fully connected layers on the whole map", RotNetHeadParams, ROTNET, gidaris)
    yield _head("conv", "Network-in-Network block on the map, then average", RotNetHeadParams, ROTNET, gidaris)
    yield _head("mlp", "one hidden layer of 200 units on the flattened tap", HeadParams, DIM, hjelm)
    yield benchmark.EvaluatorSpec(
        name="svm",
        summary="linear SVMs (hinge loss) on standardized features",
        evaluate=_svm,
        params=SvmParams,
        metrics=ACCURACY,
        paper=DIM,
        bibtex=hjelm,
        pools=("flat", "average"),
    )


def _head(name: str, summary: str, params: type, paper: str, bibtex: str) -> benchmark.EvaluatorSpec:
    return benchmark.EvaluatorSpec(
        name=name,
        summary=summary,
        evaluate=_evaluator(name),
        params=params,
        metrics=ACCURACY + BEST,
        paper=paper,
        bibtex=bibtex,
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
