"""Classify each test image by a vote of its nearest training images (Wu et al. 2018, section 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

import benchmark
from bench_probes.neighbors import blocks, nearest_by_cosine, rows_per_block, up_to
from bench_probes.params import NeighborsParams


def evaluate_knn(probe: benchmark.Probe, params: NeighborsParams) -> benchmark.Evaluation:
    """Protocol `knn@1`: gallery = train, cosine, votes weighted by exp(cosine / temperature), and unweighted votes.

    One search serves every k, and every k is reported. If classes have equal votes, the class of the nearest neighbor wins;
    of equally near neighbors, the one with the lower index in train.
    """
    labels, truth = probe.train.labels.cpu(), probe.test.labels.cpu()
    counts = up_to(len(labels), params.k)
    similarities, indices = nearest_by_cosine(probe.test.features(), probe.train.features(), max(counts))
    # Relative to the nearest, so that a small temperature cannot overflow. A common factor does not change the vote.
    relative = similarities.double() - similarities[:, :1].double()
    weights = torch.exp(relative / params.temperature)
    classes = labels[indices]
    measurements, predictions = [], {}
    weighted = vote(classes, weights, counts)
    plain = vote(classes, torch.ones_like(weights), counts)
    for k in counts:
        predictions[f"knn@k={k}"] = weighted[k].int().numpy()
        measurements.append(_accuracy(f"accuracy@k={k}", weighted[k] == truth))
        measurements.append(_accuracy(f"vote_accuracy@k={k}", plain[k] == truth))
    return benchmark.Evaluation(measurements=tuple(measurements), predictions=predictions)


def vote(classes: Tensor, weights: Tensor, counts: Sequence[int], rows_at_once: int | None = None) -> dict[int, Tensor]:
    """The winning class of each query among its first k neighbors, for each k.

    Args:
        classes: (Q, K) int64, the neighbors' classes, nearest first.
        weights: (Q, K) float64, the neighbors' votes.
        counts: the values of k, ascending, at most K.
        rows_at_once: queries per block; None: as many as fit into a block.

    Returns:
        k -> (Q,) int64. Of classes with equal sums, the one whose first neighbor is nearest wins.
    """
    num_classes = int(classes.max()) + 1
    winners: dict[int, list[Tensor]] = {k: [] for k in counts}
    for start, stop in blocks(len(classes), rows_at_once or rows_per_block(num_classes, bytes_each=32)):
        sums = torch.zeros(stop - start, num_classes, dtype=weights.dtype)
        first = first_positions(classes[start:stop], num_classes)
        done = 0
        for k in counts:
            sums.scatter_add_(1, classes[start:stop, done:k], weights[start:stop, done:k])
            best = sums == sums.amax(dim=1, keepdim=True)
            winners[k].append(first.masked_fill(~best, classes.shape[1] + 1).argmin(dim=1))
            done = k
    return {k: torch.cat(parts) for k, parts in winners.items()}


def first_positions(classes: Tensor, num_classes: int) -> Tensor:
    """(Q, num_classes) int64: first position of each class in each row of `classes` (Q, K); K if it does not occur."""
    length = classes.shape[1]
    positions = torch.arange(length).expand_as(classes)
    none = torch.full((len(classes), num_classes), length)
    return none.scatter_reduce(1, classes, positions, reduce="amin")


def _accuracy(metric: str, correct: Tensor) -> benchmark.Measurement:
    return benchmark.Measurement(
        metric=metric, value=float(correct.double().mean()), n=len(correct), outcomes=correct.numpy()
    )
