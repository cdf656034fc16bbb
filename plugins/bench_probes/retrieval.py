"""Retrieval: rank all other test images by cosine; images of the query's class are relevant."""

from __future__ import annotations

import torch
from torch import Tensor

import benchmark
from bench_probes.neighbors import blocks, ranked, rows_per_block, unit_length, up_to
from bench_probes.params import RetrievalParams

KEPT_NEIGHBORS = 10
"""Number of retrieved images per query that are stored as predictions."""


def evaluate_retrieval(probe: benchmark.Probe, params: RetrievalParams) -> benchmark.Evaluation:
    """Protocol `retrieval@1`: queries = gallery = test, without the query itself; cosine; the whole ranking.

    Images of the query's class are relevant. Queries without a relevant image have no outcome and are left out of every mean.
    Equal similarities are ranked by index. `recall@k` is 1 if a relevant image is among the first k.

    Raises:
        UnsupportedError: no query has a relevant image.
    """
    features = unit_length(probe.test.features())
    labels = probe.test.labels.to(features.device)
    if len(torch.unique(labels)) == len(labels):
        raise benchmark.UnsupportedError(
            "retrieval needs a class with at least two test images, but no class has two; use another dataset"
        )
    # Smaller integers make indexing labels by a ranking faster.
    classes = torch.unique(labels, return_inverse=True)[1].int()
    scores, neighbors = [], []
    # A block holds similarities, sort keys, hits and precisions: about 32 bytes per pair. In smaller blocks the products are
    # slower by more than the other steps gain.
    for start, stop in blocks(len(labels), rows_per_block(len(labels), bytes_each=32)):
        order = rank_others(features, start, stop)
        neighbors.append(order[:, :KEPT_NEIGHBORS].int().cpu())
        scores.append(ranking_scores(classes[order] == classes[start:stop, None], params))
    return benchmark.Evaluation(
        measurements=tuple(
            _measurement(metric, torch.cat([block[metric] for block in scores]).cpu()) for metric in scores[0]
        ),
        predictions={"neighbors": torch.cat(neighbors).numpy()},
    )


def rank_others(features: Tensor, start: int, stop: int) -> Tensor:
    """The ranking (stop - start, N - 1) int64 of all other rows of `features` (N, D), for queries start to stop.

    The query is removed by its index, not by its rank, because a duplicate may rank before it.
    """
    products = features[start:stop] @ features.T
    rows = torch.arange(stop - start, device=features.device)
    products[rows, rows + start] = -torch.inf
    return ranked(products)[:, :-1]


def ranking_scores(hits: Tensor, params: RetrievalParams) -> dict[str, Tensor]:
    """Score -> (Q,) float64, NaN for queries without a relevant item.

    Average precision is the mean, over the relevant items, of the precision at their ranks. R-precision is the precision
    among the first R, where R is the number of relevant items (Manning, Raghavan, Schuetze 2008, section 8.4).

    Args:
        hits: (Q, G) bool, whether the item at each rank is relevant, best rank first.
        params: values of k for precision and recall.
    """
    cumulative = hits.cumsum(dim=1, dtype=torch.int32)
    relevant = cumulative[:, -1].clone()
    positions = torch.arange(1, hits.shape[1] + 1, device=hits.device, dtype=torch.float64)
    at_least_one = relevant.clamp_min(1)
    among_first_r = cumulative.gather(1, at_least_one[:, None].long() - 1)[:, 0]
    precisions = {k: cumulative[:, k - 1].double() / k for k in up_to(hits.shape[1], params.precision_at)}
    recalls = {k: (cumulative[:, k - 1] > 0).double() for k in up_to(hits.shape[1], params.recall_at)}
    cumulative.masked_fill_(~hits, 0)
    scores = {
        "map": (cumulative / positions).sum(dim=1) / at_least_one,
        "r_precision": among_first_r / at_least_one.double(),
        **{f"precision@k={k}": values for k, values in precisions.items()},
        **{f"recall@k={k}": values for k, values in recalls.items()},
    }
    return {metric: values.masked_fill(relevant == 0, torch.nan) for metric, values in scores.items()}


def _measurement(metric: str, values: Tensor) -> benchmark.Measurement:
    defined = values[~values.isnan()]
    is_boolean = metric.startswith("recall") and len(defined) == len(values)
    return benchmark.Measurement(
        metric=metric,
        value=float(defined.mean()),
        n=len(defined),
        outcomes=(values.bool() if is_boolean else values.float()).numpy(),
    )
