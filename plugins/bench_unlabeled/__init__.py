"""Scores that need no labels: rank and decay of the spectrum, dimension, alignment, stability, clusters.

Each was proposed as a stand-in for the accuracy of a probe where there are no labels; whether it stands in for it here is
what `bench correlate` shows. All are computed from test images, so that `n` means the same as everywhere, and by chance that
is fixed by the dataset. Those that are means over images have outcomes and so an interval. The others have none: drawing
images again with replacement repeats rows, which lowers ranks, dimensions and nearest distances and alters clusters, so that
a bootstrap's interval need not even hold the estimate.
"""

from __future__ import annotations

from collections.abc import Iterable

import benchmark
from bench_unlabeled.params import (
    AlignmentParams,
    ClusteringParams,
    DecayParams,
    DimensionParams,
    LidarParams,
    SimilarityParams,
    StabilityParams,
    UniformityParams,
)


@benchmark.hookimpl
def bench_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """`rankme`, `alpha_req`, `lidar`, `dimension`; `alignment`, `uniformity`; `cka_taps`, `clustering`, `stability`."""
    yield from _of_spectra()
    yield from _of_the_sphere()
    yield from _of_structure()


def _of_spectra() -> Iterable[benchmark.EvaluatorSpec]:
    yield benchmark.EvaluatorSpec(
        name="rankme",
        summary="effective rank of the features, without labels",
        evaluate=_rankme,
        labels="none",
        metrics=(benchmark.Metric(name="rankme", unit="dimensions", headline="rankme"),),
        paper="Garrido, Balestriero, Najman, LeCun: RankMe: assessing the downstream performance of pretrained "
        "self-supervised representations by their rank, 2023",
    )
    yield benchmark.EvaluatorSpec(
        name="alpha_req",
        summary="how far the decay of the covariance's eigenvalues is from 1/rank, without labels",
        evaluate=_alpha_req,
        params=DecayParams,
        labels="none",
        # Good is a decay near 1, so that the exponent itself has no better direction: its distance from 1 has one.
        metrics=(
            benchmark.Metric(
                name="distance_from_one", higher_is_better=False, unit="exponent", headline="distance_from_one"
            ),
            benchmark.Metric(name="alpha", higher_is_better=False, unit="exponent"),
        ),
        paper="Agrawal, Mondal, Ghosh, Richards: alpha-ReQ: assessing representation quality in self-supervised learning "
        "by measuring eigenspectrum decay, 2022",
    )
    yield benchmark.EvaluatorSpec(
        name="lidar",
        summary="effective rank of what tells images apart from their own views, without labels",
        evaluate=_lidar,
        params=LidarParams,
        labels="none",
        metrics=(benchmark.Metric(name="lidar", unit="dimensions", headline="lidar"),),
        paper="Thilak et al.: LiDAR: sensing linear probing performance in joint embedding SSL architectures, 2024",
    )
    yield benchmark.EvaluatorSpec(
        name="dimension",
        summary="dimensions that features fill (participation ratio) and have locally (TwoNN), without labels",
        evaluate=_dimension,
        params=DimensionParams,
        labels="none",
        metrics=(
            benchmark.Metric(name="participation_ratio", unit="dimensions", headline="participation_ratio"),
            # In trained classifiers, a low one goes with accuracy (Ansuini et al. 2019).
            benchmark.Metric(name="two_nn", higher_is_better=False, unit="dimensions"),
        ),
        paper="Facco, d'Errico, Rodriguez, Laio: Estimating the intrinsic dimension of datasets by a minimal neighborhood "
        "information, 2017; Ansuini, Laio, Macke, Zoccolan: Intrinsic dimension of data representations in deep neural "
        "networks, 2019",
    )


def _of_the_sphere() -> Iterable[benchmark.EvaluatorSpec]:
    paper = (
        "Wang, Isola: Understanding contrastive representation learning through alignment and uniformity on the "
        "hypersphere, 2020"
    )
    yield benchmark.EvaluatorSpec(
        name="alignment",
        summary="how far apart two views of an image lie on the sphere, without labels",
        evaluate=_alignment,
        params=AlignmentParams,
        labels="none",
        metrics=(benchmark.Metric(name="alignment", higher_is_better=False, unit="distance", headline="alignment"),),
        paper=paper,
    )
    yield benchmark.EvaluatorSpec(
        name="uniformity",
        summary="how evenly images lie on the sphere, without labels",
        evaluate=_uniformity,
        params=UniformityParams,
        labels="none",
        metrics=(
            benchmark.Metric(name="uniformity", higher_is_better=False, unit="log potential", headline="uniformity"),
        ),
        paper=paper,
    )


def _of_structure() -> Iterable[benchmark.EvaluatorSpec]:
    yield benchmark.EvaluatorSpec(
        name="cka_taps",
        summary="how alike a tap and every other tap are (linear CKA): a similarity, no quality",
        evaluate=_cka_taps,
        params=SimilarityParams,
        labels="none",
        metrics=(benchmark.Metric(name="cka", unit="similarity"),),
        paper="Kornblith, Norouzi, Lee, Hinton: Similarity of neural network representations revisited, 2019; "
        "Nguyen, Raghu, Kornblith: Do wide and deep networks learn the same things?, 2021 (unbiased estimator)",
    )
    yield benchmark.EvaluatorSpec(
        name="clustering",
        summary="whether k-means finds the classes; labels only score the clusters",
        evaluate=_clustering,
        params=ClusteringParams,
        metrics=(
            benchmark.Metric(name="nmi", headline="nmi"),
            benchmark.Metric(name="ari", unit="index"),  # adjusted for chance: a little below 0 where there is nothing
            benchmark.Metric(name="ami", unit="index"),
        ),
        paper="Vinh, Epps, Bailey: Information theoretic measures for clusterings comparison, 2010; Hubert, Arabie: "
        "Comparing partitions, 1985",
    )
    yield benchmark.EvaluatorSpec(
        name="stability",
        summary="part of an image's nearest neighbors that its view has as well, without labels",
        evaluate=_stability,
        params=StabilityParams,
        labels="none",
        metrics=(benchmark.Metric(name="stability", headline="stability"),),
    )


def _rankme(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    from bench_unlabeled.spectra import evaluate_rankme

    return evaluate_rankme(probe, params)


def _alpha_req(probe: benchmark.Probe, params: DecayParams) -> benchmark.Evaluation:
    from bench_unlabeled.spectra import evaluate_alpha_req

    return evaluate_alpha_req(probe, params)


def _lidar(probe: benchmark.Probe, params: LidarParams) -> benchmark.Evaluation:
    from bench_unlabeled.discriminants import evaluate_lidar

    return evaluate_lidar(probe, params)


def _dimension(probe: benchmark.Probe, params: DimensionParams) -> benchmark.Evaluation:
    from bench_unlabeled.neighborhoods import evaluate_dimension

    return evaluate_dimension(probe, params)


def _alignment(probe: benchmark.Probe, params: AlignmentParams) -> benchmark.Evaluation:
    from bench_unlabeled.hypersphere import evaluate_alignment

    return evaluate_alignment(probe, params)


def _uniformity(probe: benchmark.Probe, params: UniformityParams) -> benchmark.Evaluation:
    from bench_unlabeled.hypersphere import evaluate_uniformity

    return evaluate_uniformity(probe, params)


def _cka_taps(probe: benchmark.Probe, params: SimilarityParams) -> benchmark.Evaluation:
    from bench_unlabeled.similarity import evaluate_cka_taps

    return evaluate_cka_taps(probe, params)


def _clustering(probe: benchmark.Probe, params: ClusteringParams) -> benchmark.Evaluation:
    from bench_unlabeled.clusters import evaluate_clustering

    return evaluate_clustering(probe, params)


def _stability(probe: benchmark.Probe, params: StabilityParams) -> benchmark.Evaluation:
    from bench_unlabeled.neighborhoods import evaluate_stability

    return evaluate_stability(probe, params)
