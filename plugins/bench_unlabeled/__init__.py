"""Scores without labels: rank and decay of the spectrum, dimension, alignment, uniformity, stability, clusters.

Most were proposed to predict the accuracy of a probe without labels; `bench correlate` shows how well they do. All are
computed from test images, so `n` has its usual meaning, with random numbers that depend only on the dataset. Scores that are
means over images have outcomes and therefore an interval. The others have none: a bootstrap repeats images, which lowers
ranks, dimensions and nearest distances and changes clusters, so its interval need not contain the estimate.
"""

from __future__ import annotations

from collections.abc import Iterable

import benchmark
from bench_unlabeled import references
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
    """All evaluators of this plugin."""
    yield from _spectral_evaluators()
    yield from _dimension_evaluators()
    yield from _hypersphere_evaluators()
    yield from _structural_evaluators()


def _spectral_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """`rankme`, `alpha_req`."""
    yield benchmark.EvaluatorSpec(
        name="rankme",
        summary="effective rank of the features, without labels",
        evaluate=_rankme,
        labels="none",
        metrics=(benchmark.Metric(name="rankme", unit="dimensions", headline="rankme"),),
        paper="Garrido, Balestriero, Najman, LeCun: RankMe: assessing the downstream performance of pretrained "
        "self-supervised representations by their rank, 2023",
        bibtex=references.GARRIDO_2023,
    )
    yield benchmark.EvaluatorSpec(
        name="alpha_req",
        summary="distance of the spectrum's decay from 1/rank, no labels",
        evaluate=_alpha_req,
        params=DecayParams,
        labels="none",
        # A decay near 1 is best: the exponent itself has no better direction, but its distance from 1 has one.
        metrics=(
            benchmark.Metric(
                name="distance_from_one", higher_is_better=False, unit="exponent", headline="distance_from_one"
            ),
            benchmark.Metric(name="alpha", higher_is_better=False, unit="exponent"),
        ),
        paper="Agrawal, Mondal, Ghosh, Richards: alpha-ReQ: assessing representation quality in self-supervised learning "
        "by measuring eigenspectrum decay, 2022",
        bibtex=references.AGRAWAL_2022,
    )


def _dimension_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """`lidar`, `dimension`."""
    yield benchmark.EvaluatorSpec(
        name="lidar",
        summary="effective rank of image means relative to views, no labels",
        evaluate=_lidar,
        params=LidarParams,
        labels="none",
        metrics=(benchmark.Metric(name="lidar", unit="dimensions", headline="lidar"),),
        paper="Thilak et al.: LiDAR: sensing linear probing performance in joint embedding SSL architectures, 2024",
        bibtex=references.THILAK_2024,
    )
    yield benchmark.EvaluatorSpec(
        name="dimension",
        summary="participation ratio and local (TwoNN) dimension, no labels",
        evaluate=_dimension,
        params=DimensionParams,
        labels="none",
        metrics=(
            benchmark.Metric(name="participation_ratio", unit="dimensions", headline="participation_ratio"),
            # In trained classifiers a low dimension correlates with accuracy (Ansuini et al. 2019).
            benchmark.Metric(name="two_nn", higher_is_better=False, unit="dimensions"),
        ),
        paper="Facco, d'Errico, Rodriguez, Laio: Estimating the intrinsic dimension of datasets by a minimal neighborhood "
        "information, 2017; Ansuini, Laio, Macke, Zoccolan: Intrinsic dimension of data representations in deep neural "
        "networks, 2019",
        bibtex=f"{references.FACCO_2017}\n\n{references.ANSUINI_2019}",
    )


def _hypersphere_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """`alignment`, `uniformity`."""
    paper = (
        "Wang, Isola: Understanding contrastive representation learning through alignment and uniformity on the "
        "hypersphere, 2020"
    )
    yield benchmark.EvaluatorSpec(
        name="alignment",
        summary="distance of two views of an image on the sphere, no labels",
        evaluate=_alignment,
        params=AlignmentParams,
        labels="none",
        metrics=(benchmark.Metric(name="alignment", higher_is_better=False, unit="distance", headline="alignment"),),
        paper=paper,
        bibtex=references.WANG_2020,
    )
    yield benchmark.EvaluatorSpec(
        name="uniformity",
        summary="how evenly images cover the sphere, without labels",
        evaluate=_uniformity,
        params=UniformityParams,
        labels="none",
        metrics=(
            benchmark.Metric(name="uniformity", higher_is_better=False, unit="log potential", headline="uniformity"),
        ),
        paper=paper,
        bibtex=references.WANG_2020,
    )


def _structural_evaluators() -> Iterable[benchmark.EvaluatorSpec]:
    """`cka_taps`, `clustering`, `stability`."""
    yield benchmark.EvaluatorSpec(
        name="cka_taps",
        summary="similarity of a tap to all other taps (linear CKA)",
        evaluate=_cka_taps,
        params=SimilarityParams,
        labels="none",
        metrics=(benchmark.Metric(name="cka", unit="similarity"),),
        paper="Kornblith, Norouzi, Lee, Hinton: Similarity of neural network representations revisited, 2019; "
        "Nguyen, Raghu, Kornblith: Do wide and deep networks learn the same things?, 2021 (unbiased estimator)",
        bibtex=f"{references.KORNBLITH_2019}\n\n{references.NGUYEN_2021}",
    )
    yield benchmark.EvaluatorSpec(
        name="clustering",
        summary="agreement of k-means clusters with the classes",
        evaluate=_clustering,
        params=ClusteringParams,
        metrics=(
            benchmark.Metric(name="nmi", headline="nmi"),
            benchmark.Metric(name="ari", unit="index"),  # adjusted for chance, so it can be slightly negative
            benchmark.Metric(name="ami", unit="index"),
        ),
        paper="Vinh, Epps, Bailey: Information theoretic measures for clusterings comparison, 2010; Hubert, Arabie: "
        "Comparing partitions, 1985",
        bibtex=f"{references.VINH_2010}\n\n{references.HUBERT_1985}",
    )
    yield benchmark.EvaluatorSpec(
        name="stability",
        summary="fraction of neighbors that a view keeps, without labels",
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
