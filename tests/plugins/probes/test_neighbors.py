"""Exact nearest neighbors: `bench_probes.neighbors`."""

from __future__ import annotations

import pytest
import torch
from host_reads import Watcher
from probe_samples import clusters

from bench_probes import neighbors


def test_faiss_and_blocked_products_agree() -> None:
    queries, gallery = neighbors.unit_length(clusters(50, 0)[0]), neighbors.unit_length(clusters(200, 1)[0])
    by_faiss = neighbors.search_by_faiss(queries, gallery, 12)
    by_blocks = neighbors.search_by_blocks(queries, gallery, 12, rows_at_once=7)
    assert torch.equal(by_faiss[1], by_blocks[1])
    torch.testing.assert_close(by_faiss[0], by_blocks[0])
    torch.testing.assert_close(by_faiss[1], (queries @ gallery.T).argsort(dim=1, descending=True)[:, :12])


@pytest.mark.parametrize("search", [neighbors.search_by_faiss, neighbors.search_by_blocks])
@pytest.mark.parametrize("k", [1, 3, 9, 150])
def test_ties_go_to_the_lower_gallery_index(search: neighbors.Search, k: int) -> None:
    gallery = torch.zeros(300, 2)
    gallery[:, 0] = torch.arange(300) % 2
    queries = torch.tensor([[1.0, 0.0]]).repeat(30, 1)
    _, indices = neighbors.nearest(queries, gallery, k, search)
    assert torch.equal(indices, torch.arange(1, 2 * k, 2).expand(30, k))


@pytest.mark.parametrize("rows", [1, 7, 60, 300])
@pytest.mark.parametrize("k", [1, 20, 300])
def test_search_in_parts_gives_the_neighbors_of_the_whole(rows: int, k: int) -> None:
    """Small whole numbers: many cosines are equal, and all are exact."""
    generator = torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.one_hot(torch.randint(0, 6, (300,), generator=generator)).float()
    gallery *= 2.0 ** torch.randint(-2, 3, (300, 1), generator=generator)
    queries = torch.randint(-3, 4, (40, 6), generator=generator).float()
    similarities, indices = neighbors.nearest_by_cosine(queries, gallery, k, copy_bytes=4 * 6 * rows)
    cosines = neighbors.unit_length(queries) @ neighbors.unit_length(gallery).T
    expected = cosines.sort(dim=1, descending=True, stable=True)
    assert torch.equal(indices, expected.indices[:, :k])
    torch.testing.assert_close(similarities, expected.values[:, :k])


def test_large_gallery_is_not_copied() -> None:
    queries, gallery = torch.ones(10, 64), torch.ones(400, 64)
    with Watcher() as watcher:
        neighbors.nearest_by_cosine(queries, gallery, 3, copy_bytes=4 * 64 * 50)  # 50 rows
    assert watcher.largest == 50 * 64


def test_ranking_is_a_stable_sort() -> None:
    similarities = torch.randint(-3, 4, (20, 50), generator=torch.Generator().manual_seed(0)) / 4.0
    similarities[3, 7], similarities[4, 9] = -torch.inf, -0.0
    expected = similarities.sort(dim=1, descending=True, stable=True).indices
    assert torch.equal(neighbors.ranked(similarities), expected)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_ranking_does_not_depend_on_threads(rows: int) -> None:
    similarities = torch.randint(-9, 9, (rows, 400), generator=torch.Generator().manual_seed(0)) / 8.0
    torch.set_num_threads(3)
    expected = similarities.sort(dim=1, descending=True, stable=True).indices
    assert torch.equal(neighbors.ranked(similarities), expected)


def test_zero_vectors_stay_zero() -> None:
    assert torch.equal(neighbors.unit_length(torch.zeros(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize("k", [0, 6])
def test_k_above_the_gallery_size_is_an_error(k: int) -> None:
    with pytest.raises(ValueError, match="gallery of 5"):
        neighbors.nearest(torch.ones(1, 2), torch.ones(5, 2), k)
    with pytest.raises(ValueError, match=f"k={k} is not valid"):
        neighbors.nearest_by_cosine(torch.ones(1, 2), torch.ones(5, 2), k)
