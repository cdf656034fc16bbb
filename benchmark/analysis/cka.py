"""How alike two encoders see the same test images: linear CKA of their frozen features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis.frozen_cell import read_frozen_cell
from benchmark.errors import UsageError
from benchmark.records.record import MODEL, Record
from benchmark.reports.table import Table


def linear_cka(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Linear centerd kernel alignment (Kornblith et al. 2019, equation 3 with a linear kernel).

    1 where one is the other turned and scaled as a whole, near 0 where they have nothing in common. With fewer images than
    dimensions even independent features come out high: compare at n well above D.

    Args:
        x: (N, D) features of N images.
        y: (N, E) features of the same images in the same order.

    Returns:
        In [0, 1].

    Raises:
        ValueError: another number of images, or features that do not vary.
    """
    if len(x) != len(y):
        raise ValueError(f"features of {len(x)} and of {len(y)} images cannot be aligned; give the same images")
    ours, theirs = (np.asarray(side, np.float64) - np.mean(side, axis=0, dtype=np.float64) for side in (x, y))
    norms = [_norm(side) for side in (ours, theirs)]
    if not all(norms):
        raise ValueError("features that are the same for every image are like nothing; choose another tap")
    return float(np.square(np.linalg.norm(ours.T @ theirs)) / (norms[0] * norms[1]))


def _norm(centerd: NDArray[np.float64]) -> float:
    """Of the covariance, by the smaller of its two products."""
    wide = centerd.shape[1] > len(centerd)
    return float(np.linalg.norm(centerd @ centerd.T if wide else centerd.T @ centerd))


def alike(a: Sequence[Record], b: Sequence[Record], *, data_dir: Path, dataset: str | None) -> list[dict[str, Any]]:
    """CKA at the output of the encoders, on the test images: A with B, and for scale two seeds of A and of B.

    Args:
        a: records of one side; the first is taken, and the second for scale.
        b: as a.
        data_dir: where datasets are.
        dataset: see `vectors.read_back`.

    Returns:
        A row for each pair: `pair`, `taps`, `images`, `cka`.

    Raises:
        UsageError: a record has no weights, or the test images differ.
    """
    for record in (*a[:2], *b[:2]):
        if not (Path(record.folder) / MODEL).is_file():
            raise UsageError(
                f"--cka reads features with an encoder's weights, and record {record.id[:10]} has none; give folders of "
                "trained cells, not a leaderboard"
            )
    read: dict[str, tuple[str, NDArray[np.float32], Any]] = {}
    for record in (*a[:2], *b[:2]):
        if record.id not in read:
            cell = read_frozen_cell(record, tap=None, data_dir=data_dir, dataset=dataset)
            read[record.id] = (cell.tap, cell.finite_features("test", "average"), cell.images["test"])
    pairs = [("A with B", a[0], b[0])]
    pairs += [(f"{name}, two seeds", side[0], side[1]) for name, side in (("A", a), ("B", b)) if len(side) > 1]
    return [_row(pair, read[one.id], read[other.id]) for pair, one, other in pairs]


def _row(pair: str, a: tuple[str, NDArray[Any], Any], b: tuple[str, NDArray[Any], Any]) -> dict[str, Any]:
    if a[2].shape != b[2].shape or not bool((a[2] == b[2]).all()):
        raise UsageError("--cka compares features of the same images, and the two sides were tested on different ones")
    taps = a[0] if a[0] == b[0] else f"{a[0]} - {b[0]}"
    return {"pair": pair, "taps": taps, "images": len(a[1]), "cka": linear_cka(a[1], b[1])}


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """The rows of `alike` for people."""
    return Table(
        title="linear CKA of average-pooled test features",
        columns=("pair", "taps", "images", "CKA"),
        rows=tuple((row["pair"], row["taps"], str(row["images"]), f"{row['cka']:.3f}") for row in rows),
        notes=("1: the same up to a turn and one scale. Two seeds of a side are there for scale.",),
        kept=4,
    )
