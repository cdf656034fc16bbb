"""Evaluators of frozen features."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import bench_probes
from bench_probes import knn, neighbours
from bench_probes.params import NeighboursParams


@dataclasses.dataclass
class FakeSplit:
    vectors: Tensor
    labels: Tensor

    def features(self, tap: str | None = None, pool: str | None = None) -> Tensor:
        return self.vectors


def fake_probe(train: Tensor, train_labels: Any, test: Tensor, test_labels: Any) -> Any:
    return SimpleNamespace(
        train=FakeSplit(train, torch.as_tensor(train_labels)), test=FakeSplit(test, torch.as_tensor(test_labels))
    )


def clusters(count: int, seed: int, classes: int = 4, width: int = 6, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    return centres[labels] + noise * torch.randn(count, width, generator=generator), labels


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spec(name: str) -> Any:
    return {spec.name: spec for spec in bench_probes.bench_evaluators()}[name]


def scores(evaluation: Any) -> dict[str, float]:
    return {measurement.metric: measurement.value for measurement in evaluation.measurements}


def evaluate(name: str, probe: Any, **params: Any) -> Any:
    return spec(name).evaluate(probe, spec(name).params(**params))


def test_the_package_imports_no_torch() -> None:
    code = "import sys, bench_probes; list(bench_probes.bench_evaluators()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- neighbours -------------------------------------------------------------------------------------------------------


def test_faiss_and_blocked_products_find_the_same_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 4 * 200 * 7)  # blocks of 7 queries
    queries, gallery = neighbours.unit_length(clusters(50, 0)[0]), neighbours.unit_length(clusters(200, 1)[0])
    by_faiss = neighbours.search_by_faiss(queries, gallery, 12)
    by_blocks = neighbours.search_by_blocks(queries, gallery, 12)
    assert torch.equal(by_faiss[1], by_blocks[1])
    torch.testing.assert_close(by_faiss[0], by_blocks[0])
    torch.testing.assert_close(by_faiss[1], (queries @ gallery.T).argsort(dim=1, descending=True)[:, :12])


@pytest.mark.parametrize("search", ["search_by_faiss", "search_by_blocks"])
@pytest.mark.parametrize("k", [1, 3, 9, 150])
def test_ties_go_to_the_lower_gallery_index(search: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "search_by_faiss", getattr(neighbours, search))
    gallery = torch.zeros(300, 2)
    gallery[:, 0] = torch.arange(300) % 2
    queries = torch.tensor([[1.0, 0.0]]).repeat(30, 1)
    _, indices = neighbours.nearest(queries, gallery, k)
    assert torch.equal(indices, torch.arange(1, 2 * k, 2).expand(30, k))


def test_zero_vectors_stay_zero() -> None:
    assert torch.equal(neighbours.unit_length(torch.zeros(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbours_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="gallery of 5"):
        neighbours.nearest(torch.ones(1, 2), torch.ones(5, 2), k)


# --- knn --------------------------------------------------------------------------------------------------------------


def test_one_neighbour_in_its_own_gallery_is_always_right() -> None:
    features, labels = clusters(80, 0, noise=5.0)
    found = scores(evaluate("knn", fake_probe(features, labels, features, labels)))
    assert found["accuracy@k=1"] == found["vote_accuracy@k=1"] == 1.0
    assert found["accuracy@k=20"] < 1.0 or found["vote_accuracy@k=20"] < 1.0


def test_a_near_neighbour_outweighs_two_far_ones() -> None:
    # Cosines 1, 0, 0: weights exp(1 / .07) against 2.
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    found = scores(evaluate("knn", fake_probe(train, [0, 1, 1], torch.tensor([[3.0, 0.0]]), [0]), k=(3,)))
    assert found == {"accuracy@k=3": 1.0, "vote_accuracy@k=3": 0.0}


def test_a_high_temperature_turns_weighted_votes_into_plain_ones() -> None:
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


def test_votes_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = torch.randint(5, (40, 9), generator=torch.Generator().manual_seed(0))
    weights = torch.rand(40, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = knn.vote(classes, weights, [4, 9])
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 500)
    parts = knn.vote(classes, weights, [4, 9])
    assert all(torch.equal(whole[k], parts[k]) for k in (4, 9))
    sums = [np.bincount(classes[row].numpy(), weights[row].numpy(), 5) for row in range(40)]
    assert whole[9].tolist() == [int(row.argmax()) for row in sums]


def test_more_votes_than_images_are_left_out() -> None:
    features, labels = clusters(12, 0)
    probe = fake_probe(features, labels, features, labels)
    assert list(scores(evaluate("knn", probe))) == [
        f"{name}@k={k}" for k in (1, 5, 10) for name in ("accuracy", "vote_accuracy")
    ]
    assert list(scores(evaluate("knn", probe, k=(20, 200)))) == ["accuracy@k=12", "vote_accuracy@k=12"]


def test_a_tiny_temperature_does_not_overflow() -> None:
    features, labels = clusters(30, 0)
    evaluation = evaluate("knn", fake_probe(features, labels, features, labels), k=(5,), temperature=1e-4)
    assert scores(evaluation)["accuracy@k=5"] == 1.0


@pytest.mark.parametrize("wrong", [{"k": ()}, {"k": (0,)}, {"k": (5, 5)}, {"temperature": 0.0}])
def test_impossible_neighbours_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        NeighboursParams(**wrong)
