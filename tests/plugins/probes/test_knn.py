"""Nearest-neighbor classification: `bench_probes.knn`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from probe_samples import clusters, evaluate, fake_probe, scores

from bench_probes import knn
from bench_probes.params import NeighborsParams


def test_one_neighbor_in_the_own_gallery_is_correct() -> None:
    features, labels = clusters(80, 0, noise=5.0)
    result = scores(evaluate("knn", fake_probe(features, labels, features, labels)))
    assert result["accuracy@k=1"] == result["vote_accuracy@k=1"] == 1.0
    assert result["accuracy@k=20"] < 1.0 or result["vote_accuracy@k=20"] < 1.0


def test_near_neighbor_outweighs_two_far_ones() -> None:
    # Cosines 1, 0, 0: weights exp(1 / .07) against 2.
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    result = scores(evaluate("knn", fake_probe(train, [0, 1, 1], torch.tensor([[3.0, 0.0]]), [0]), k=(3,)))
    assert result == {"accuracy@k=3": 1.0, "vote_accuracy@k=3": 0.0}


def test_high_temperature_gives_unweighted_votes() -> None:
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    probe = fake_probe(train, [0, 1, 1], torch.tensor([[3.0, 0.0]]), [1])
    assert scores(evaluate("knn", probe, k=(3,), temperature=100.0)) == {"accuracy@k=3": 1.0, "vote_accuracy@k=3": 1.0}


def test_equal_votes_go_to_the_class_of_the_nearest() -> None:
    classes = torch.tensor([[2, 0, 0, 2], [1, 0, 0, 1], [0, 1, 1, 2]])
    won = knn.vote(classes, torch.ones(3, 4, dtype=torch.float64), [1, 2, 3, 4])
    assert won[1].tolist() == [2, 1, 0]
    assert won[2].tolist() == [2, 1, 0]
    assert won[3].tolist() == [0, 0, 1]
    assert won[4].tolist() == [2, 1, 1]


def test_votes_do_not_depend_on_the_block_size() -> None:
    classes = torch.randint(5, (40, 9), generator=torch.Generator().manual_seed(0))
    weights = torch.rand(40, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = knn.vote(classes, weights, [4, 9])
    parts = knn.vote(classes, weights, [4, 9], rows_at_once=3)
    assert all(torch.equal(whole[k], parts[k]) for k in (4, 9))
    sums = [np.bincount(classes[row].numpy(), weights[row].numpy(), 5) for row in range(40)]
    assert whole[9].tolist() == [int(row.argmax()) for row in sums]


def test_knn_leaves_out_k_above_the_gallery_size() -> None:
    features, labels = clusters(12, 0)
    probe = fake_probe(features, labels, features, labels)
    assert list(scores(evaluate("knn", probe))) == [
        f"{name}@k={k}" for k in (1, 5, 10) for name in ("accuracy", "vote_accuracy")
    ]
    assert list(scores(evaluate("knn", probe, k=(20, 200)))) == ["accuracy@k=12", "vote_accuracy@k=12"]


def test_small_temperature_does_not_overflow() -> None:
    features, labels = clusters(30, 0)
    evaluation = evaluate("knn", fake_probe(features, labels, features, labels), k=(5,), temperature=1e-4)
    assert scores(evaluation)["accuracy@k=5"] == 1.0


@pytest.mark.parametrize("invalid", [{"k": ()}, {"k": (0,)}, {"k": (5, 5)}, {"temperature": 0.0}])
def test_parameter_out_of_range_is_an_error(invalid: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(invalid))}="):
        NeighborsParams(**invalid)
