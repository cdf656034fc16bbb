"""Scores from nearest neighbors: intrinsic dimension (TwoNN), and the stability of neighbors under augmentation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import DimensionParams, StabilityParams
from bench_unlabeled.products import (
    inner,
    inverse,
    lengths,
    require_variation,
    spans,
    squared_distances,
)
from bench_unlabeled.spectra import participation_ratio, spectrum
from bench_unlabeled.views import encode_views

MIN_IMAGES = 10
"""Smallest number of images that TwoNN is fitted to."""


def evaluate_dimension(probe: benchmark.Probe, params: DimensionParams) -> benchmark.Evaluation:
    """Protocol `dimension@1`: participation ratio and TwoNN dimension of all test features.

    Participation ratio: (sum lambda)^2 / sum lambda^2 of the covariance's eigenvalues, the effective number of directions. For
    N images with D equal directions it is about D N / (N + D). TwoNN (Facco et al. 2017): the local dimension, see `two_nn`.
    Both are invariant to rotation, shift and scale. The first is declared as better when higher, like ranks, the second when
    lower (Ansuini et al. 2019); neither measures quality by itself.

    No outcomes: a repeated image has a neighbor at distance zero, and reduces the number of directions.

    Raises:
        UnsupportedError: features do not vary, or fewer than ten images have two distinct neighbors.
    """
    features = probe.test.features()
    require_variation("dimension", features)
    local = two_nn(features, params.discard)
    if local is None:
        raise benchmark.UnsupportedError(
            f"dimension (TwoNN) needs {MIN_IMAGES} images with two neighbors at different distances, but {len(features)} test "
            f"images have fewer; use more test images or another tap"
        )
    ratio = participation_ratio(spectrum(features, centered=True))
    return benchmark.Evaluation(
        measurements=(
            benchmark.Measurement(metric="participation_ratio", value=ratio, n=len(features)),
            benchmark.Measurement(metric="two_nn", value=local.dimension, n=len(features)),
        ),
        details={"duplicates": local.duplicates, "fitted": local.fitted},
    )


@dataclass(frozen=True, kw_only=True)
class LocalDimension:
    """The result of TwoNN."""

    dimension: float
    duplicates: int
    """Number of images left out because another image has the same features."""
    fitted: int
    """Number of images that the line was fitted to."""


def two_nn(features: Tensor, discard: float) -> LocalDimension | None:
    """Intrinsic dimension from the ratio mu of the distances to the second and the first neighbor.

    For a locally constant density, P(mu) = 1 - mu^-d. The dimension d is the slope of the line through the origin that fits
    -log(1 - i / N) to log mu, for the i-th smallest of N ratios (Facco et al. 2017, Methods).

    Args:
        features: (N, D).
        discard: fraction of the largest ratios that is left out of the fit.

    Returns:
        None if fewer than ten ratios are left, or all are 1.
    """
    squares = lengths(features).square()
    if len(features) < MIN_IMAGES:
        return None
    nearest = []
    for start, stop in spans(len(features), len(features)):
        distances = squared_distances(features[start:stop], features, (squares[start:stop], squares))
        distances.diagonal(offset=start).fill_(torch.inf)
        nearest.append(distances.topk(2, dim=1, largest=False).values)
    first, second = torch.cat(nearest).unbind(dim=1)
    distinct = first > torch.finfo(torch.float32).eps ** 2 * squares  # smaller distances are rounding errors
    ratios = (second[distinct] / first[distinct]).sqrt()
    fit = fit_dimension(ratios, discard)
    if fit is None:
        return None
    dimension, fitted = fit
    return LocalDimension(dimension=dimension, duplicates=len(features) - len(ratios), fitted=fitted)


def fit_dimension(ratios: Tensor, discard: float) -> tuple[float, int] | None:
    """The dimension of `two_nn`, and the number of ratios that the line was fitted to.

    Args:
        ratios: (N,) float64, each 1 or more.
        discard: fraction of the largest ratios that is left out.
    """
    count = len(ratios)
    kept = min(int(count * (1 - discard)), count - 1)  # for the largest ratio, 1 - i / N is 0
    x = ratios.log().sort().values[: max(kept, 0)]
    if kept < MIN_IMAGES - 1 or not float(x.sum()) > 0:
        return None
    y = -torch.log1p(-torch.arange(1, kept + 1, dtype=torch.float64, device=x.device) / count)
    return float((x * y).sum() / (x * x).sum()), kept


def evaluate_stability(probe: benchmark.Probe, params: StabilityParams) -> benchmark.Evaluation:
    """Protocol `stability@1`: the fraction of an image's k nearest neighbors that are also neighbors of a view of it.

    Gallery: all test images without augmentation, except the image itself; cosine. Queries: the image, and one view of it. The
    score is 1 for an encoder that is invariant to the augmentation, and k / (N - 1) (`chance` in the details) for random
    neighbors. Invariant to rotation and scale. Outcomes: the fraction of each image. The interval is for a fixed gallery and
    fixed views.

    Raises:
        UnsupportedError: fewer than three test images, or features do not vary.
    """
    features = probe.test.features()
    if len(features) < 3:
        raise benchmark.UnsupportedError("stability needs at least three test images; use another dataset")
    require_variation("stability", features)
    views = encode_views(probe, probe.test.images, 1, params, probe.generator)
    k = min(params.k, len(features) - 2)
    outcomes = shared_neighbors(features, torch.cat([block[:, 0] for block in views]), k).float().cpu().numpy()
    return benchmark.Evaluation(
        measurements=(
            benchmark.Measurement(
                metric="stability", value=float(outcomes.mean(dtype="float64")), n=len(outcomes), outcomes=outcomes
            ),
        ),
        details={"k": k, "chance": k / (len(features) - 1)},
    )


def shared_neighbors(features: Tensor, views: Tensor, k: int) -> Tensor:
    """(N,) float64: fraction of the k nearest rows of row i in `features`, without row i, that are also nearest to view i.

    Args:
        features: (N, D).
        views: (N, D); row i is of the same image as row i of `features`.
        k: from 1 to N - 1.
    """
    scale = inverse(lengths(features))
    shared = []
    for start, stop in spans(len(features), len(features)):
        near = [_nearest(rows[start:stop], features, scale, start, k) for rows in (features, views)]
        shared.append((near[0][:, :, None] == near[1][:, None, :]).any(dim=2).double().mean(dim=1))
    return torch.cat(shared)


def _nearest(queries: Tensor, gallery: Tensor, scale: Tensor, start: int, k: int) -> Tensor:
    """(B, k) int64: gallery rows with the largest cosine for each query, without the row of the query's own index."""
    products = inner(queries, gallery) * scale
    products.diagonal(offset=start).fill_(-torch.inf)
    return products.topk(k, dim=1).indices
