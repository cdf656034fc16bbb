"""K-means on the features of test images. Labels are used only to score the clusters."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import benchmark
from bench_unlabeled.params import ClusteringParams

SEED = 0
"""Seed of k-means, the same for every cell."""


def evaluate_clustering(probe: benchmark.Probe, params: ClusteringParams) -> benchmark.Evaluation:
    """Protocol `clustering@1`: scikit-learn's k-means on unit-length test features, k = the number of classes.

    NMI (arithmetic mean of the entropies in the denominator, scikit-learn's default), ARI (Hubert, Arabie 1985) and AMI
    (Vinh et al. 2010) between clusters and labels; k-means receives only the number of classes. Of `starts` runs with
    k-means++ from a fixed seed, the one with the smallest inertia is scored. NMI increases with few images per cluster;
    ARI and AMI are adjusted for chance. Invariant to rotation and scale.

    No outcomes: none of the three is a mean over images, and repeated images attract clusters.

    Raises:
        UnsupportedError: only one class, or fewer distinct feature vectors than classes.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

    features = F.normalize(probe.test.features(), dim=1).cpu()
    labels, k = probe.test.labels.cpu().numpy(), len(probe.class_names)
    if k < 2 or len(set(labels.tolist())) < 2:
        raise benchmark.UnsupportedError("clustering needs at least two classes, but the test images have one")
    distinct = len(torch.unique(features, dim=0))
    if distinct < k:
        raise benchmark.UnsupportedError(
            f"clustering needs {k} clusters, but the test images have only {distinct} distinct feature vectors; "
            "use another tap"
        )
    result = KMeans(n_clusters=k, n_init=params.starts, random_state=SEED).fit(features.numpy())
    scores = {
        "nmi": normalized_mutual_info_score,
        "ari": adjusted_rand_score,
        "ami": adjusted_mutual_info_score,
    }
    return benchmark.Evaluation(
        measurements=tuple(
            benchmark.Measurement(metric=name, value=_at_most_one(score(labels, result.labels_)), n=len(labels))
            for name, score in scores.items()
        ),
        predictions={"clusters": result.labels_.astype("int32")},
        details={"inertia": float(result.inertia_), "iterations": int(result.n_iter_)},
    )


def _at_most_one(value: float) -> float:
    """A score without rounding errors above 1."""
    return min(float(value), 1.0)
