"""Retrieval: `bench_probes.retrieval`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from host_reads import Watcher
from probe_samples import clusters, evaluate, fake_probe, scores
from sklearn.metrics import average_precision_score

import benchmark
from bench_probes import neighbors, retrieval
from bench_probes.params import RetrievalParams


def test_retrieval_stores_a_block_not_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 32 * 400 * 10)  # blocks of 10 queries
    features, labels = clusters(400, 0)
    with Watcher() as watcher:
        evaluate("retrieval", fake_probe(features, labels, features, labels))
    assert watcher.largest <= 400 * 10


def test_ranking_scores_match_values_by_hand() -> None:
    # Relevant at ranks 1, 3 and 4: average precision (1 + 2/3 + 3/4) / 3; two of the first three are relevant.
    hits = torch.tensor([[True, False, True, True, False], [False, True, False, False, False], [False] * 5])
    result = retrieval.ranking_scores(hits, RetrievalParams(precision_at=(2,), recall_at=(1, 2)))
    nan = float("nan")
    expected = {
        "map": [(1 + 2 / 3 + 3 / 4) / 3, 1 / 2, nan],
        "r_precision": [2 / 3, 0.0, nan],
        "precision@k=2": [1 / 2, 1 / 2, nan],
        "recall@k=1": [1.0, 0.0, nan],
        "recall@k=2": [1.0, 1.0, nan],
    }
    assert result.keys() == expected.keys()
    for metric, values in expected.items():
        assert result[metric].tolist() == pytest.approx(values, nan_ok=True)


def test_average_precision_matches_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 32 * 60 * 7)  # blocks of 7 queries
    features, labels = clusters(60, 0, noise=2.0)
    evaluation = evaluate("retrieval", fake_probe(features, labels, features, labels))
    cosines = torch.nn.functional.cosine_similarity(features[:, None], features[None], dim=2).double()
    for query, average_precision in enumerate(evaluation.measurements[0].outcomes):
        others = torch.arange(60) != query
        expected = average_precision_score((labels == labels[query])[others], cosines[query][others])
        assert average_precision == pytest.approx(expected, abs=1e-6)
    nearest = (cosines - 9 * torch.eye(60)).argsort(dim=1, descending=True)[:, :10]
    assert evaluation.predictions["neighbors"].tolist() == nearest.tolist()


def test_query_never_retrieves_itself() -> None:
    features = torch.ones(30, 3)
    neighbor_ids = evaluate("retrieval", fake_probe(features, [0] * 30, features, [0] * 30)).predictions["neighbors"]
    assert neighbor_ids[0].tolist() == list(range(1, 11))
    assert neighbor_ids[20].tolist() == list(range(10))
    assert not (neighbor_ids == np.arange(30)[:, None]).any()


def test_queries_without_relevant_images_are_left_out() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    evaluation = evaluate("retrieval", fake_probe(features, [0, 0, 1], features, [0, 0, 1]))
    assert scores(evaluation) == {"map": 1.0, "r_precision": 1.0, "precision@k=2": 0.5, "recall@k=1": 1.0}
    for measurement in evaluation.measurements:
        assert measurement.n == 2
        assert np.isnan(measurement.outcomes).tolist() == [False, False, True]


def test_recall_is_boolean_if_every_query_has_a_relevant_image() -> None:
    features, labels = clusters(40, 0)
    evaluation = evaluate("retrieval", fake_probe(features, labels, features, labels))
    kinds = {measurement.metric: measurement.outcomes.dtype for measurement in evaluation.measurements}
    assert kinds["recall@k=1"] == np.bool_
    assert kinds["map"] == np.float32


def test_classes_of_one_image_each_are_an_error() -> None:
    features = torch.eye(3)
    with pytest.raises(benchmark.UnsupportedError, match="two test images"):
        evaluate("retrieval", fake_probe(features, [0, 1, 2], features, [0, 1, 2]))


@pytest.mark.parametrize("invalid", [{"precision_at": (0,)}, {"recall_at": ()}])
def test_parameter_out_of_range_is_an_error(invalid: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(invalid))}="):
        RetrievalParams(**invalid)
