"""Similarity search: the nearest images of a query image in the features of a frozen encoder, as a table and a picture.

Scores such as `knn` and `retrieval` say how often neighbors share a class; this shows which neighbors do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis import drawing
from benchmark.analysis.frames import exact_frame
from benchmark.analysis.frozen_cell import FrozenCell
from benchmark.api.encoders import Pool
from benchmark.errors import UsageError
from benchmark.reports.table import DIGITS, Report, Table

QUERIES = 10
"""Number of queries if none is named: one image of each of this many classes."""


@dataclass(frozen=True, kw_only=True)
class Neighbor:
    """An image among those nearest to a query."""

    query: int
    """Index of the query in its split."""
    query_label: int
    rank: int
    """From 1, the nearest."""
    index: int
    """Index of the neighbor in the same split; never that of the query."""
    label: int
    similarity: float
    """Cosine of the two feature vectors, in [-1, 1]; 0 if one of them is zero."""

    @property
    def hit(self) -> bool:
        """Whether the neighbor has the class of the query."""
        return self.label == self.query_label


def nearest(
    features: NDArray[np.float32], queries: Sequence[int], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k rows with the largest cosine similarity to each query row, by exact search (faiss.IndexFlatIP).

    The query is excluded by its index, not as the first result: of two equal rows either may come first. Rows of equal
    similarity are ordered by index.

    Args:
        features: (N, D) float32, finite; not changed.
        queries: Q indices in [0, N).
        k: from 1 to N - 1.

    Returns:
        Similarities and indices, (Q, k) each, nearest first.
    """
    import faiss

    unit = np.array(features, dtype=np.float32, order="C")
    faiss.normalize_L2(unit)
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    similarities, indices = index.search(unit[list(queries)], k + 1)
    rows = [_without_query(*row) for row in zip(queries, similarities, indices, strict=True)]
    return np.stack([row[:k] for row, _ in rows]), np.stack([row[:k] for _, row in rows])


def _without_query(
    query: int, similarities: NDArray[np.float32], indices: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    order = np.lexsort((indices, -similarities))
    order = order[indices[order] != query]
    return similarities[order], indices[order]


def first_of_each_class(labels: NDArray[np.int64]) -> list[int]:
    """The lowest index of each of the first ten classes that have images."""
    _, first = np.unique(labels, return_index=True)
    return [int(index) for index in first[:QUERIES]]


def find_neighbors(cell: FrozenCell, queries: Sequence[int], *, k: int, split: str, pool: Pool) -> list[Neighbor]:
    """The k nearest images of each query within a split, ordered by query, then by rank.

    Args:
        cell: whose features are compared.
        queries: indices in the split; empty: the first image of each of the first ten classes.
        k: from 1 to the size of the split minus 1.
        split: `train` or `test`.
        pool: `average` or `flat`.

    Raises:
        UsageError: a query is not in the split, or k is out of range.
    """
    labels = cell.labels[split].numpy()
    queries = list(dict.fromkeys(queries)) or first_of_each_class(labels)
    size = f"{cell.title} has {len(labels)} {split} images"
    for query in queries:
        if not 0 <= query < len(labels):
            raise UsageError(f"--query {query}: {size}; --query lies between 0 and {len(labels) - 1}")
    if not 1 <= k < len(labels):
        raise UsageError(f"--k {k}: {size}, and no image is its own neighbor; --k lies between 1 and {len(labels) - 1}")
    similarities, indices = nearest(cell.finite_features(split, pool), queries, k)
    return [
        Neighbor(
            query=query,
            query_label=int(labels[query]),
            rank=rank + 1,
            index=int(indices[row, rank]),
            label=int(labels[indices[row, rank]]),
            similarity=float(similarities[row, rank]),
        )
        for row, query in enumerate(queries)
        for rank in range(k)
    ]


def neighbor_report(cell: FrozenCell, neighbors: Sequence[Neighbor], *, split: str, pool: Pool) -> Report:
    """One row for each neighbor, and how many have the class of their query."""
    names = cell.class_names
    columns = ("query", "query class", "rank", "index", "class", "similarity", "hit")
    values = [
        (each.query, names[each.query_label], each.rank, each.index, names[each.label], each.similarity, each.hit)
        for each in neighbors
    ]
    hits = sum(each.hit for each in neighbors)
    return Report(
        tables=lambda: [
            Table(
                title=heading(cell, split, pool),
                columns=columns,
                rows=tuple((*map(str, row[:5]), f"{row[5]:.{DIGITS}f}", "yes" if row[6] else "no") for row in values),
                notes=(f"{hits} of {len(neighbors)} neighbors have the class of their query.",),
                kept=len(columns),
            )
        ],
        frame=lambda: exact_frame((dict(zip(columns, row, strict=True)) for row in values), columns=columns),
    )


def draw(cell: FrozenCell, neighbors: Sequence[Neighbor], *, split: str, pool: Pool) -> drawing.Picture:
    """A row for each query: the query, then its neighbors, framed green if they have its class, else red."""
    images = cell.images[split].numpy()
    rows: dict[int, list[drawing.Tile]] = {}
    for each in neighbors:
        if each.query not in rows:
            captions = (cell.class_names[each.query_label], f"#{each.query} query")
            rows[each.query] = [drawing.Tile(image=images[each.query], captions=captions, frame=drawing.INK)]
        frame = drawing.GREEN if each.hit else drawing.RED
        captions = (cell.class_names[each.label], f"#{each.index}  {each.similarity:.2f}")
        rows[each.query].append(drawing.Tile(image=images[each.index], captions=captions, frame=frame))
    conditions = f"{heading(cell, split, pool)}; green: class of the query"
    return drawing.draw_grid(list(rows.values()), (cell.title, conditions))


def heading(cell: FrozenCell, split: str, pool: Pool) -> str:
    """The heading: the searched images, and the tap and pooling of the features."""
    return f"nearest of {len(cell.labels[split])} {split} images by cosine at {cell.tap} ({pool})"
