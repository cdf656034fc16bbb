"""K-means on the features of test images; labels only say how well its clusters are the classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import benchmark
from bench_unlabeled.params import ClusteringParams

SEED = 0
"""Of k-means: the same for every cell."""


def evaluate_clustering(probe: benchmark.Probe, params: ClusteringParams) -> benchmark.Evaluation:
    """Protocol `clustering@1`: scikit-learn's k-means on unit-length test features, k = the number of classes.

    NMI (arithmetic mean of the entropies in the denominator, scikit-learn's default), ARI (Hubert, Arabie 1985) and AMI
    (Vinh et al. 2010) between clusters and labels; the number of classes is all that k-means is told. Of `starts` runs with
    k-means++ the one with the least inertia counts, from a fixed seed. NMI rises where there are few images for a cluster; ARI
    and AMI are adjusted for that. Invariant to rotation and scale.

    No outcomes: none of the three is a mean over images, and images drawn twice pull clusters to themselves.

    Raises:
        UnsupportedError: one class only, or fewer different feature vectors than classes.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

    features = F.normalize(probe.test.features(), dim=1).cpu()
    labels, k = probe.test.labels.cpu().numpy(), len(probe.class_names)
    if k < 2 or len(set(labels.tolist())) < 2:
        raise benchmark.UnsupportedError("clustering finds classes, and the test images have one only")
    different = len(torch.unique(features, dim=0))
    if different < k:
        raise benchmark.UnsupportedError(
            f"clustering looks for {k} clusters, and the test images have {different} different feature vectors only; "
            "choose another tap"
        )
    found = KMeans(n_clusters=k, n_init=params.starts, random_state=SEED).fit(features.numpy())
    scores = {
        "nmi": normalized_mutual_info_score,
        "ari": adjusted_rand_score,
        "ami": adjusted_mutual_info_score,
    }
    return benchmark.Evaluation(
        measurements=tuple(
            benchmark.Measurement(metric=name, value=_plain(score(labels, found.labels_)), n=len(labels))
            for name, score in scores.items()
        ),
        predictions={"clusters": found.labels_.astype("int32")},
        details={"inertia": float(found.inertia_), "iterations": int(found.n_iter_)},
    )


def _plain(value: float) -> float:
    """A score without what rounding adds above 1."""
    return min(float(value), 1.0)
