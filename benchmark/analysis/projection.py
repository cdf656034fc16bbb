"""Maps: frozen features of one split projected to the plane, drawn by class and written as coordinates.

A map shows which classes are separate, not how far apart they are: UMAP preserves neighborhoods, not distances. No score is
computed from a map.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis import drawing
from benchmark.analysis.frozen_cell import FrozenCell
from benchmark.api.encoders import Pool
from benchmark.errors import RecordError, UsageError
from benchmark.images import stratified_subset
from benchmark.records.atomic import replaced
from benchmark.records.dataframe import frame_csv

if TYPE_CHECKING:
    import pandas as pd

Projection = Literal["umap", "pca"]
FEWEST_FOR_UMAP = 16
"""Minimum number of images: the 15 neighbors of UMAP (its default) and the image itself."""

COORDINATES = b"index,label,class,x,y\n"
"""Header of the table beside a map."""


@dataclass(frozen=True, kw_only=True)
class ProjectedPoints:
    """Images of a split as points in the plane."""

    index: NDArray[np.int64]
    """(N,) indices in the split, ascending."""
    labels: NDArray[np.int64]
    """(N,) classes."""
    points: NDArray[np.float64]
    """(N, 2) coordinates, without unit."""
    conditions: str
    """Method, images, layer and seed, in one line."""


def check_installed(method: Projection) -> None:
    """Checks that a projection method is installed, before any feature is computed.

    Raises:
        UsageError: UMAP is not installed.
    """
    if method == "umap":
        try:
            import umap  # noqa: F401  # only to see whether it is installed
        except ImportError:
            raise UsageError(
                '--method umap: umap-learn is not installed; pip install "repbench[map]", or use --method pca'
            ) from None


def project(
    cell: FrozenCell, *, method: Projection, seed: int, split: str, pool: Pool, sample: int | None = None
) -> ProjectedPoints:
    """Projects a split's features to the plane.

    Args:
        cell: whose features are projected.
        method: `umap` (cosine distance, as for knn and retrieval) or `pca` (the first two components).
        seed: of UMAP's initialization and optimization, and of PCA's randomized solver for very wide features.
        split: `train` or `test`.
        pool: `average` or `flat`.
        sample: number of images, drawn by class and the same for every cell of the dataset; None: all.

    Raises:
        UsageError: too few images or features, or all features are equal.
    """
    labels = cell.labels[split]
    index = _sample(cell, split, sample)
    features = cell.finite_features(split, pool)[index]
    least = FEWEST_FOR_UMAP if method == "umap" else 2
    if len(features) < least or features.shape[1] < 2:
        raise UsageError(
            f"--method {method} needs at least {least} images and 2 features, but there are {len(features)} images with "
            f"{features.shape[1]} features ({cell.title}, {split}, tap '{cell.tap}'); choose another --method, --tap or "
            "--sample"
        )
    if not np.ptp(features, axis=0).any():
        raise UsageError(
            f"{cell.title}: all {split} images have the same features at tap '{cell.tap}'; choose another --tap"
        )
    points, remark = _by_umap(features, seed) if method == "umap" else _by_pca(features, seed)
    conditions = f"{method} of {len(index)} {split} images at {cell.tap} ({pool}), seed {seed}{remark}"
    return ProjectedPoints(index=index, labels=labels.numpy()[index], points=points, conditions=conditions)


def check_coordinates(output: Path) -> None:
    """Checks that the .csv beside a map is not another table, before the map is computed.

    Raises:
        UsageError: it is.
    """
    path = output.with_suffix(".csv")
    if path.is_file() and not path.read_bytes().startswith(COORDINATES):
        raise UsageError(f"-o {output}: {path} would be replaced, which is not the table of a map; choose another -o")


def write_map(projected: ProjectedPoints, cell: FrozenCell, output: Path) -> Path:
    """Draws a map as a .png file, and writes its coordinates next to it.

    Returns:
        The .csv file: index, label, class, x, y.

    Raises:
        UsageError: a file cannot be written.
    """
    heading = (cell.title, projected.conditions)
    drawing.write(drawing.draw_points(projected.points, projected.labels, cell.class_names, heading), output)
    coordinates = output.with_suffix(".csv")
    try:
        with replaced(coordinates) as file:
            file.write(frame_csv(_frame(projected, cell)).encode())
    except RecordError as error:
        raise UsageError(f"cannot write {coordinates} ({error.__cause__}); choose another -o") from error
    return coordinates


def _frame(projected: ProjectedPoints, cell: FrozenCell) -> pd.DataFrame:
    import pandas as pd  # imported here because pictures do not need it

    return pd.DataFrame(
        {
            "index": projected.index,
            "label": projected.labels,
            "class": [cell.class_names[label] for label in projected.labels.tolist()],
            "x": projected.points[:, 0],
            "y": projected.points[:, 1],
        }
    )


def _sample(cell: FrozenCell, split: str, sample: int | None) -> NDArray[np.int64]:
    labels = cell.labels[split]
    if sample is None:
        return np.arange(len(labels))
    classes = len(np.unique(labels.numpy()))
    if not classes <= sample <= len(labels):
        raise UsageError(
            f"--sample {sample}: {cell.title} has {len(labels)} {split} images of {classes} classes; --sample lies between "
            f"{classes} and {len(labels)}"
        )
    chosen: NDArray[np.int64] = stratified_subset(labels, sample).numpy()
    return chosen


def _by_umap(features: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float64], str]:
    """UMAP (McInnes, Healy and Melville, arXiv:1802.03426) with the authors' defaults except for the metric."""
    import umap

    # With a seed UMAP runs one job, and warns unless that is requested.
    reducer = umap.UMAP(metric="cosine", random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(features), dtype=np.float64), ""


def _by_pca(features: NDArray[np.float32], seed: int) -> tuple[NDArray[np.float64], str]:
    from sklearn.decomposition import PCA

    reducer = PCA(n_components=2, random_state=seed)
    points = np.asarray(reducer.fit_transform(features.astype(np.float64)))
    return points, f", {reducer.explained_variance_ratio_.sum():.3f} of the variance"
