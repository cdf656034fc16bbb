"""Similarity search: which images lie next to an image in a frozen encoder's features, as a table and as a picture.

Numbers such as `knn` and `retrieval` say how often neighbors share a class; here one sees which ones do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis import drawing
from benchmark.analysis.frozen_cell import FrozenCell
from benchmark.api.encoders import Pool
from benchmark.errors import UsageError

QUERIES = 10
"""Images that are looked at where none is named: one of each of so many classes."""


@dataclass(frozen=True, kw_only=True)
class Neighbor:
    """An image and its place among those nearest to a query."""

    query: int
    """Index of the query in its split."""
    query_label: int
    rank: int
    """From 1, the nearest."""
    index: int
    """In the same split; never the query's."""
    label: int
    similarity: float
    """Cosine of the two feature vectors, from -1 to 1; 0 where one of them is zero."""

    @property
    def hit(self) -> bool:
        """Whether it is of the query's class."""
        return self.label == self.query_label


def nearest(
    features: NDArray[np.float32], queries: Sequence[int], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k rows of largest cosine similarity with each of some rows, by exact search (faiss.IndexFlatIP).

    A query is left out by its index and not as the first one found: of two equal rows either may come first. Rows of
    equal similarity are in the order of their indices.

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
    kept = [_without(query, *found) for query, *found in zip(queries, similarities, indices, strict=True)]
    return np.stack([row[:k] for row, _ in kept]), np.stack([row[:k] for _, row in kept])


def _without(
    query: int, similarities: NDArray[np.float32], indices: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    order = np.lexsort((indices, -similarities))
    order = order[indices[order] != query]
    return similarities[order], indices[order]


def first_of_each_class(labels: NDArray[np.int64], count: int = QUERIES) -> list[int]:
    """The lowest index of each of the first `count` classes that have images."""
    _, first = np.unique(labels, return_index=True)
    return [int(index) for index in first[:count]]


def neighbors(cell: FrozenCell, queries: Sequence[int], *, k: int, split: str, pool: Pool) -> list[Neighbor]:
    """The k nearest images of each query within a split, query by query, by rank.

    Args:
        cell: whose features are compared.
        queries: indices in the split; none: the first image of each of the first ten classes.
        k: from 1 to the split's size less one.
        split: `train` or `test`.
        pool: `average` or `flat`.

    Raises:
        UsageError: a query that is not in the split, or a k that it does not hold.
    """
    labels = cell.labels[split].numpy()
    queries = list(dict.fromkeys(queries)) or first_of_each_class(labels)
    for query in queries:
        if not 0 <= query < len(labels):
            raise UsageError(f"--query {query}: {_whose(cell, split)}; --query lies between 0 and {len(labels) - 1}")
    if not 1 <= k < len(labels):
        raise UsageError(
            f"--k {k}: {_whose(cell, split)}, and none is its own neighbor; --k lies between 1 and {len(labels) - 1}"
        )
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


def table(found: Sequence[Neighbor], class_names: Sequence[str]) -> str:
    """The neighbors as lines of text, with how many share the query's class below."""
    rows = [("query", "class", "rank", "index", "class", "similarity", "hit")]
    for each in found:
        query, near = class_names[each.query_label], class_names[each.label]
        hit = "yes" if each.hit else "no"
        rows.append((str(each.query), query, str(each.rank), str(each.index), near, f"{each.similarity:.4f}", hit))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    hits = sum(each.hit for each in found)
    return "\n".join([*lines, f"{hits} of {len(found)} neighbors are of their query's class"])


def draw(cell: FrozenCell, found: Sequence[Neighbor], *, split: str, pool: Pool) -> drawing.Picture:
    """A row for each query: itself first, then its neighbors, framed green where they share its class, else red."""
    images = cell.images[split].numpy()
    rows: dict[int, list[drawing.Tile]] = {}
    for each in found:
        if each.query not in rows:
            captions = (cell.class_names[each.query_label], f"#{each.query} query")
            rows[each.query] = [drawing.Tile(image=images[each.query], captions=captions, frame=drawing.INK)]
        frame = drawing.GREEN if each.hit else drawing.RED
        captions = (cell.class_names[each.label], f"#{each.index}  {each.similarity:.2f}")
        rows[each.query].append(drawing.Tile(image=images[each.index], captions=captions, frame=frame))
    conditions = f"nearest of {len(images)} {split} images by cosine at {cell.tap} ({pool}); green: the query's class"
    return drawing.draw_grid(list(rows.values()), (cell.title, conditions))


def show(cell: FrozenCell, queries: Sequence[int], output: Path, *, k: int, split: str, pool: Pool) -> str:
    """Draws the neighbors into a .png file; arguments and errors as for `neighbors`.

    Returns:
        Their table, and where the picture is.
    """
    found = neighbors(cell, queries, k=k, split=split, pool=pool)
    drawing.write(draw(cell, found, split=split, pool=pool), output)
    return f"{table(found, cell.class_names)}\n{output}"


def _whose(cell: FrozenCell, split: str) -> str:
    return f"{cell.title} has {len(cell.labels[split])} {split} images"
