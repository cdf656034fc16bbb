"""Exact nearest neighbors by inner product.

Convention: neighbors are in order of descending similarity; of equal similarities the lower gallery index is first, also if
the tie decides which neighbors are among the first k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

BLOCK_BYTES = 64 * 2**20
"""Largest size of a block of similarities in bytes."""
COPY_BYTES = 512 * 2**20
"""Largest size of a normalized copy of a gallery in bytes; a larger gallery is searched in parts."""

Search = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""Queries (Q, D), gallery (G, D), k -> similarities (Q, k) and gallery indices (Q, k); the order of ties is undefined."""


def unit_length(features: Tensor) -> Tensor:
    """Rows (N, D) divided by their Euclidean length, so inner products are cosines. Zero rows stay zero."""
    return F.normalize(features.detach().float(), dim=1)


def nearest(queries: Tensor, gallery: Tensor, k: int, search: Search | None = None) -> tuple[Tensor, Tensor]:
    """The k gallery rows with the largest inner product for each query, exactly.

    Uses FAISS on the CPU and blocks of a matrix product on other devices.

    Args:
        queries: (Q, D) float32.
        gallery: (G, D) float32 on the same device.
        k: from 1 to G.
        search: `search_by_faiss` or `search_by_blocks`; None: by the device.

    Returns:
        Similarities (Q, k) float32 and gallery indices (Q, k) int64, on the CPU, nearest first.
    """
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k={k} is not valid for a gallery of {len(gallery)}: must be from 1 to its size")
    # One more than requested shows whether a tie decides which neighbor is the last one.
    searched = min(k + 1, len(gallery))
    if search is None:
        search = search_by_faiss if queries.device.type == "cpu" else search_by_blocks
    similarities, indices = search(queries, gallery, searched)
    similarities, indices = _sort_neighbors(similarities, indices)
    if searched > k:
        tied = torch.nonzero(similarities[:, k - 1] == similarities[:, k]).flatten()
        for start, stop in blocks(len(tied), rows_per_block(len(gallery), bytes_each=24)):
            rows = tied[start:stop]
            products = queries[rows.to(queries.device)] @ gallery.T
            order = ranked(products)[:, :k]
            similarities[rows, :k], indices[rows, :k] = products.gather(1, order).cpu(), order.cpu()
    return similarities[:, :k], indices[:, :k]


def nearest_by_cosine(queries: Tensor, gallery: Tensor, k: int, copy_bytes: int = COPY_BYTES) -> tuple[Tensor, Tensor]:
    """The k gallery rows with the largest cosine for each query, exactly, without a copy of a large gallery.

    Args and returns as `nearest`. Rows can have any length; rows of length zero have a cosine of 0.
    """
    queries = unit_length(queries)
    best: tuple[Tensor, Tensor] | None = None
    for start, stop in blocks(len(gallery), max(1, copy_bytes // (4 * gallery.shape[1]))):
        similarities, indices = nearest(queries, unit_length(gallery[start:stop]), min(k, stop - start))
        indices = indices + start
        if best is not None:
            # Ties are resolved within each part, so the k best of both parts are among these.
            merged = torch.cat([best[0], similarities], dim=1), torch.cat([best[1], indices], dim=1)
            similarities, indices = (each[:, :k] for each in _sort_neighbors(*merged))
        best = similarities, indices
    if best is None or k > len(gallery):
        raise ValueError(f"k={k} is not valid for a gallery of {len(gallery)}: must be from 1 to its size")
    return best


def search_by_faiss(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `nearest`, for tensors on the CPU, with ties in FAISS's order. The gallery is not copied."""
    import faiss

    # FAISS's default block sizes: 1024 x 16,384 and 4096 x 4096 are not faster, as products take nine tenths of the time.
    similarities, indices = faiss.knn(
        np.ascontiguousarray(queries.numpy()),
        np.ascontiguousarray(gallery.numpy()),
        k,
        metric=faiss.METRIC_INNER_PRODUCT,
    )
    return torch.from_numpy(similarities), torch.from_numpy(indices)


def search_by_blocks(
    queries: Tensor, gallery: Tensor, k: int, rows_at_once: int | None = None
) -> tuple[Tensor, Tensor]:
    """As `nearest`, for any device, with ties in torch's order."""
    results = [
        (queries[start:stop] @ gallery.T).topk(k, dim=1)
        for start, stop in blocks(len(queries), rows_at_once or rows_per_block(len(gallery)))
    ]
    return torch.cat([block.values.cpu() for block in results]), torch.cat([block.indices.cpu() for block in results])


def ranked(similarities: Tensor) -> Tensor:
    """Indices (Q, G) int64 of each row in order of descending similarity (Q, G) float32, equal ones by ascending index."""
    if similarities.device.type != "cpu":
        return similarities.argsort(dim=1, descending=True, stable=True)
    order = np.empty(similarities.shape, dtype=np.int64)
    threads = max(1, min(torch.get_num_threads(), len(order)))
    # NumPy releases the interpreter lock while it sorts and computes.
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_rank_rows, *(np.array_split(rows, threads) for rows in (similarities.numpy(), order))))
    return torch.from_numpy(order)


def _rank_rows(similarities: NDArray[np.float32], keys: NDArray[np.int64]) -> None:
    """Writes the ranking of each row into `keys`.

    Each item becomes one integer with the similarity in the high bits and the index in the low bits. NumPy sorts these about
    five times as fast as torch sorts stably. The bits of negative floats have the reverse order as integers, so they are
    flipped. 0 - x, unlike -x, maps both zeros to the same value.
    """
    bits = np.subtract(np.float32(0), similarities).view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    np.left_shift(bits, 32, out=keys, dtype=np.int64)
    keys |= np.arange(keys.shape[1])
    keys.sort(axis=1)
    keys &= 0xFFFFFFFF


def up_to(size: int, counts: Iterable[int]) -> list[int]:
    """Those of `counts` that are at most `size`, ascending; `size` itself if there are none."""
    return sorted(count for count in counts if count <= size) or [size]


def rows_per_block(width: int, bytes_each: int = 4) -> int:
    """Number of rows of `width` numbers that fit into one block, at least 1."""
    return max(1, BLOCK_BYTES // (bytes_each * max(1, width)))


def blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive blocks of at most `size` items that cover `count` items."""
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _sort_neighbors(similarities: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Each row sorted by descending similarity, then by ascending index."""
    by_index = indices.argsort(dim=1)
    similarities, indices = similarities.gather(1, by_index), indices.gather(1, by_index)
    similarities, order = similarities.sort(dim=1, descending=True, stable=True)
    return similarities, indices.gather(1, order)
