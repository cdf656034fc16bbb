"""Exact nearest neighbors by inner product.

Convention: neighbors come in the order of falling similarity; of equal similarities the lower gallery index is first,
also where the tie decides who is among the first k.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

BLOCK_BYTES = 64 * 2**20
"""Largest block of similarities that is in memory at once."""
COPY_BYTES = 512 * 2**20
"""Most of a gallery that is copied at once to be brought to unit length; a larger one is searched part by part."""


def unit_length(features: Tensor) -> Tensor:
    """Rows (N, D) divided by their Euclidean length, so that inner products are cosines. Zero rows stay zero."""
    return F.normalize(features.detach().float(), dim=1)


def nearest(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k gallery rows of largest inner product with each query, exactly.

    FAISS searches on the CPU; elsewhere blocks of a matrix product do.

    Args:
        queries: (Q, D) float32.
        gallery: (G, D) float32 on the same device.
        k: from 1 to G.

    Returns:
        Similarities (Q, k) float32 and gallery indices (Q, k) int64, on the CPU, nearest first.
    """
    if not 1 <= k <= len(gallery):
        raise ValueError(f"k={k} neighbors of a gallery of {len(gallery)}; k lies between 1 and the gallery's size")
    # One more than asked for shows whether a tie decided who came in.
    asked = min(k + 1, len(gallery))
    search = search_by_faiss if queries.device.type == "cpu" else search_by_blocks
    similarities, indices = search(queries, gallery, asked)
    similarities, indices = _in_order(similarities, indices)
    if asked > k:
        tied = torch.nonzero(similarities[:, k - 1] == similarities[:, k]).flatten()
        for start, stop in blocks(len(tied), rows_per_block(len(gallery), bytes_each=24)):
            rows = tied[start:stop]
            products = queries[rows.to(queries.device)] @ gallery.T
            order = ranked(products)[:, :k]
            similarities[rows, :k], indices[rows, :k] = products.gather(1, order).cpu(), order.cpu()
    return similarities[:, :k], indices[:, :k]


def nearest_by_cosine(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k gallery rows of largest cosine with each query, exactly, and without a copy of a large gallery.

    Args and returns: as for `nearest`; rows need not be of unit length, and those of length zero have a cosine of 0.
    """
    queries = unit_length(queries)
    found: tuple[Tensor, Tensor] | None = None
    for start, stop in blocks(len(gallery), max(1, COPY_BYTES // (4 * gallery.shape[1]))):
        similarities, indices = nearest(queries, unit_length(gallery[start:stop]), min(k, stop - start))
        indices = indices + start
        if found is not None:
            # Each part gave its best with ties decided, so that the best of both are among them.
            both = torch.cat([found[0], similarities], dim=1), torch.cat([found[1], indices], dim=1)
            similarities, indices = (each[:, :k] for each in _in_order(*both))
        found = similarities, indices
    if found is None or k > len(gallery):
        raise ValueError(f"k={k} neighbors of a gallery of {len(gallery)}; k lies between 1 and the gallery's size")
    return found


def search_by_faiss(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `nearest`, for tensors on the CPU; what is tied comes in FAISS's order. The gallery is not copied."""
    import faiss

    # Other blocks than FAISS's own (1024 x 16,384, 4096 x 4096) gave nothing: the products alone are nine tenths of it.
    similarities, indices = faiss.knn(
        np.ascontiguousarray(queries.numpy()),
        np.ascontiguousarray(gallery.numpy()),
        k,
        metric=faiss.METRIC_INNER_PRODUCT,
    )
    return torch.from_numpy(similarities), torch.from_numpy(indices)


def search_by_blocks(queries: Tensor, gallery: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `nearest`, for any device; what is tied comes in torch's order."""
    found = [
        (queries[start:stop] @ gallery.T).topk(k, dim=1)
        for start, stop in blocks(len(queries), rows_per_block(len(gallery)))
    ]
    return torch.cat([block.values.cpu() for block in found]), torch.cat([block.indices.cpu() for block in found])


def ranked(similarities: Tensor) -> Tensor:
    """Every row's indices (Q, G) int64 by falling similarity (Q, G) float32, equal ones by rising index."""
    if similarities.device.type != "cpu":
        return similarities.argsort(dim=1, descending=True, stable=True)
    order = np.empty(similarities.shape, dtype=np.int64)
    threads = max(1, min(torch.get_num_threads(), len(order)))
    # NumPy gives the interpreter's lock back while it sorts and computes.
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_rank, *(np.array_split(rows, threads) for rows in (similarities.numpy(), order))))
    return torch.from_numpy(order)


def _rank(similarities: NDArray[np.float32], keys: NDArray[np.int64]) -> None:
    """Writes the ranking of each row into `keys`.

    One integer for each item, similarity in the high bits and index in the low ones: NumPy sorts these about five times
    as fast as torch sorts stably. Negative floats count backwards when read as integers, so they are flipped; 0 - x,
    unlike -x, gives one zero and not two.
    """
    bits = np.subtract(np.float32(0), similarities).view(np.int32)
    bits ^= (bits >> 31) & 0x7FFFFFFF
    np.left_shift(bits, 32, out=keys, dtype=np.int64)
    keys |= np.arange(keys.shape[1])
    keys.sort(axis=1)
    keys &= 0xFFFFFFFF


def up_to(size: int, counts: Iterable[int]) -> list[int]:
    """Those of `counts` that a gallery of `size` can give, rising; its size if it can give none of them."""
    return sorted(count for count in counts if count <= size) or [size]


def rows_per_block(width: int, bytes_each: int = 4) -> int:
    """How many rows of `width` numbers fit into one block; at least 1."""
    return max(1, BLOCK_BYTES // (bytes_each * max(1, width)))


def blocks(count: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive blocks of at most `size` that cover `count`."""
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _in_order(similarities: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Each row sorted by falling similarity, then by rising index."""
    by_index = indices.argsort(dim=1)
    similarities, indices = similarities.gather(1, by_index), indices.gather(1, by_index)
    similarities, order = similarities.sort(dim=1, descending=True, stable=True)
    return similarities, indices.gather(1, order)
