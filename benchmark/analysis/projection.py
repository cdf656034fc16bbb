"""Maps: frozen features of one split laid out in the plane, drawn by class and written as coordinates.

A map shows that classes part, not how far: UMAP keeps who is near to whom and no distances. No score rests on it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis import drawing
from benchmark.analysis.frozen_cell import FrozenCell
from benchmark.api.encoders import Pool
from benchmark.errors import RecordError, UsageError
from benchmark.images import stratified_subset
from benchmark.records.atomic import replaced

Projection = Literal["umap", "pca"]
FEWEST_FOR_UMAP = 16
"""Images: UMAP's 15 neighbors (its default, which is kept) and the image itself."""


@dataclass(frozen=True, kw_only=True)
class ProjectedPoints:
    """Images of a split as points."""

    index: NDArray[np.int64]
    """(N,) positions in the split, rising."""
    labels: NDArray[np.int64]
    """(N,) int64."""
    points: NDArray[np.float64]
    """(N, 2)."""
    conditions: str
    """What it was made from and how, in a line."""


def require(method: Projection) -> None:
    """Asked before anything is read, so that nobody waits for the answer.

    Raises:
        UsageError: UMAP is not installed.
    """
    if method == "umap":
        try:
            import umap  # noqa: F401  # only whether it is there
        except ImportError:
            raise UsageError(
                '--method umap: umap-learn is not installed; pip install "repbench[map]", or use --method pca'
            ) from None


def chart(
    cell: FrozenCell, *, method: Projection, seed: int, split: str, pool: Pool, sample: int | None = None
) -> ProjectedPoints:
    """The map of a split's features.

    Args:
        cell: whose features are laid out.
        method: `umap` (cosine distance, as the neighbors of knn and retrieval) or `pca` (the first two components).
        seed: of UMAP's start and its order of steps, and of what PCA draws on very wide features.
        split: `train` or `test`.
        pool: `average` or `flat`.
        sample: so many images, every class in its share, the same for every cell of the dataset; None: all.

    Raises:
        UsageError: there are too few images or features, or all features are the same.
    """
    labels = cell.labels[split]
    index = _sampled(cell, split, sample)
    features = cell.finite_features(split, pool)[index]
    least = FEWEST_FOR_UMAP if method == "umap" else 2
    if len(features) < least or features.shape[1] < 2:
        raise UsageError(
            f"--method {method} wants {least} images and 2 features at least; there are {len(features)} images of "
            f"{features.shape[1]} features ({cell.title}, {split}, tap '{cell.tap}'); choose another "
            "--method, --tap or --sample"
        )
    if not np.ptp(features, axis=0).any():
        raise UsageError(
            f"{cell.title}: all {split} images have the same features at tap '{cell.tap}'; no map shows that"
        )
    points, remark = _by_umap(features, seed) if method == "umap" else _by_pca(features, seed)
    where = f"{len(index)} {split} images at {cell.tap} ({pool})"
    return ProjectedPoints(
        index=index, labels=labels.numpy()[index], points=points, conditions=f"{method} of {where}, seed {seed}{remark}"
    )


def write(found: ProjectedPoints, cell: FrozenCell, output: Path) -> Path:
    """Draws a map into a .png file and writes its coordinates beside it.

    Returns:
        The .csv file: index, label, class, x, y.

    Raises:
        UsageError: one of them cannot be written.
    """
    heading = (cell.title, found.conditions)
    drawing.write(drawing.draw_points(found.points, found.labels, cell.class_names, heading), output)
    beside = output.with_suffix(".csv")
    try:
        with replaced(beside) as file:
            file.write(_as_csv(found, cell.class_names).encode())
    except RecordError as error:
        raise UsageError(f"{beside} cannot be written ({error.__cause__}); choose another -o") from error
    return beside


def _sampled(cell: FrozenCell, split: str, sample: int | None) -> NDArray[np.int64]:
    labels = cell.labels[split]
    if sample is None:
        return np.arange(len(labels))
    classes = len(np.unique(labels.numpy()))
    if not classes <= sample <= len(labels):
        raise UsageError(
            f"--sample {sample}: {cell.title} has {len(labels)} {split} images of {classes} classes; --sample lies "
            f"between {classes} and {len(labels)}"
        )
    chosen: NDArray[np.int64] = stratified_subset(labels, sample).numpy()
    return chosen


def _by_umap(features: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float64], str]:
    """McInnes, Healy and Melville, UMAP, arXiv:1802.03426, with the authors' defaults but for the metric."""
    import umap

    # One job: with a seed there are no more, and without saying so UMAP warns.
    reducer = umap.UMAP(metric="cosine", random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(features), dtype=np.float64), ""


def _by_pca(features: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float64], str]:
    from sklearn.decomposition import PCA

    reducer = PCA(n_components=2, random_state=seed)
    points = np.asarray(reducer.fit_transform(features.astype(np.float64)))
    return points, f", {reducer.explained_variance_ratio_.sum():.3f} of the variance"


def _as_csv(found: ProjectedPoints, class_names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "label", "class", "x", "y"])
    for index, label, (x, y) in zip(found.index.tolist(), found.labels.tolist(), found.points, strict=True):
        writer.writerow([index, label, class_names[label], f"{x:.6g}", f"{y:.6g}"])
    return text.getvalue()
