"""Test images retrieve each other: does the ranking put images of the query's class first?"""

from __future__ import annotations

import torch
from torch import Tensor

import benchmark
from bench_probes.neighbors import blocks, ranked, rows_per_block, unit_length, up_to
from bench_probes.params import RetrievalParams

SHOWN = 10
"""Retrieved images of each query that are kept as predictions."""


def evaluate_retrieval(probe: benchmark.Probe, params: RetrievalParams) -> benchmark.Evaluation:
    """Protocol `retrieval@1`: queries and gallery = test without the query itself, cosine, the whole ranking.

    Relevant is what has the query's class. Queries without a relevant image have no outcome and are left out of every
    mean. Equal similarities are ranked by index. `recall@k` is 1 where a relevant image is among the first k.

    Raises:
        UnsupportedError: no query has a relevant image.
    """
    features = unit_length(probe.test.features())
    labels = probe.test.labels.to(features.device)
    if len(torch.unique(labels)) == len(labels):
        raise benchmark.UnsupportedError(
            "retrieval looks for images of the query's class, but no class has two test images; use another dataset"
        )
    # The fewer bytes a label has, the faster labels are looked up in the order of a ranking.
    classes = torch.unique(labels, return_inverse=True)[1].int()
    scores, neighbors = [], []
    # A block holds similarities, sort keys, hits and precisions: about 32 bytes for each pair. In smaller ones products are
    # slower by more than what follows them gains.
    for start, stop in blocks(len(labels), rows_per_block(len(labels), bytes_each=32)):
        order = without_self(features, start, stop)
        neighbors.append(order[:, :SHOWN].int().cpu())
        scores.append(ranking_scores(classes[order] == classes[start:stop, None], params))
    return benchmark.Evaluation(
        measurements=tuple(
            _measurement(metric, torch.cat([block[metric] for block in scores]).cpu()) for metric in scores[0]
        ),
        predictions={"neighbors": torch.cat(neighbors).numpy()},
    )


def without_self(features: Tensor, start: int, stop: int) -> Tensor:
    """The ranking (stop - start, N - 1) int64 of all other rows of `features` (N, D) for queries start to stop.

    The query is taken out by its index, not by its rank: a duplicate may rank before it.
    """
    products = features[start:stop] @ features.T
    rows = torch.arange(stop - start, device=features.device)
    products[rows, rows + start] = -torch.inf
    return ranked(products)[:, :-1]


def ranking_scores(hits: Tensor, params: RetrievalParams) -> dict[str, Tensor]:
    """Score -> (Q,) float64, NaN for queries without a relevant item.

    Average precision is the mean, over the relevant items, of the precision at their ranks; R-precision the precision
    among the first R, where R is the number of relevant items (Manning, Raghavan, Schuetze 2008, section 8.4).

    Args:
        hits: (Q, G) bool, whether the item at each rank is relevant, best rank first.
        params: which cuts to score.
    """
    found = hits.cumsum(dim=1, dtype=torch.int32)
    relevant = found[:, -1].clone()
    positions = torch.arange(1, hits.shape[1] + 1, device=hits.device, dtype=torch.float64)
    at_least_one = relevant.clamp_min(1)
    among_first_r = found.gather(1, at_least_one[:, None].long() - 1)[:, 0]
    precisions = {k: found[:, k - 1].double() / k for k in up_to(hits.shape[1], params.precision_at)}
    recalls = {k: (found[:, k - 1] > 0).double() for k in up_to(hits.shape[1], params.recall_at)}
    found.masked_fill_(~hits, 0)
    scores = {
        "map": (found / positions).sum(dim=1) / at_least_one,
        "r_precision": among_first_r / at_least_one.double(),
        **{f"precision@k={k}": values for k, values in precisions.items()},
        **{f"recall@k={k}": values for k, values in recalls.items()},
    }
    return {metric: values.masked_fill(relevant == 0, torch.nan) for metric, values in scores.items()}


def _measurement(metric: str, values: Tensor) -> benchmark.Measurement:
    kept = values[~values.isnan()]
    yes_or_no = metric.startswith("recall") and len(kept) == len(values)
    return benchmark.Measurement(
        metric=metric,
        value=float(kept.mean()),
        n=len(kept),
        outcomes=(values.bool() if yes_or_no else values.float()).numpy(),
    )
