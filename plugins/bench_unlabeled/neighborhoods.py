"""What nearest neighbors tell without labels: intrinsic dimension (TwoNN), and whether views keep their neighbors."""

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
from bench_unlabeled.views import encoded_views

FEWEST = 10
"""Images that TwoNN is fitted to at least."""


def evaluate_dimension(probe: benchmark.Probe, params: DimensionParams) -> benchmark.Evaluation:
    """Protocol `dimension@1`: participation ratio and TwoNN dimension of all test features.

    Participation ratio: (sum lambda)^2 / sum lambda^2 of the covariance's eigenvalues, the number of directions that
    features fill. Of N images of D equal directions it is about D N / (N + D). TwoNN (Facco et al. 2017): the local
    dimension, see `two_nn`. Both are invariant to rotation, shift and scale. The first is declared as better when
    higher, as ranks are; the second when lower (Ansuini et al. 2019): neither is a quality by itself.

    No outcomes: an image drawn twice has a neighbor at distance zero, and fewer directions are filled.

    Raises:
        UnsupportedError: features do not vary, or fewer than ten images have two neighbors at different distances.
    """
    features = probe.test.features()
    require_variation("dimension", features)
    local = two_nn(features, params.discard)
    if local is None:
        raise benchmark.UnsupportedError(
            f"TwoNN needs {FEWEST} images whose two nearest neighbors lie apart from them, and there are fewer among "
            f"{len(features)}; use more test images or another tap"
        )
    filled = participation_ratio(spectrum(features, centerd=True))
    return benchmark.Evaluation(
        measurements=(
            benchmark.Measurement(metric="participation_ratio", value=filled, n=len(features)),
            benchmark.Measurement(metric="two_nn", value=local.dimension, n=len(features)),
        ),
        details={"duplicates": local.duplicates, "fitted": local.fitted},
    )


@dataclass(frozen=True, kw_only=True)
class LocalDimension:
    """What TwoNN found."""

    dimension: float
    duplicates: int
    """Images left out, because another one has the same features."""
    fitted: int
    """Images that the line was fitted to."""


def two_nn(features: Tensor, discard: float) -> LocalDimension | None:
    """Dimension from the ratio mu of the distances to the second and to the first neighbor.

    Where the density is constant, P(mu) = 1 - mu^-d: so d is the slope of the line through the origin in the plane of log mu
    and -log(1 - i / N), for the i-th smallest of N ratios (Facco et al. 2017, Methods).

    Args:
        features: (N, D).
        discard: the part of largest ratios left out of the fit.

    Returns:
        None where fewer than ten ratios are left, or all are 1.
    """
    squares = lengths(features).square()
    if len(features) < FEWEST:
        return None
    nearest = []
    for start, stop in spans(len(features), len(features)):
        distances = squared_distances(features[start:stop], features, (squares[start:stop], squares))
        distances.diagonal(offset=start).fill_(torch.inf)
        nearest.append(distances.topk(2, dim=1, largest=False).values)
    first, second = torch.cat(nearest).unbind(dim=1)
    apart = first > torch.finfo(torch.float32).eps ** 2 * squares  # closer, and rounding has made the distance
    ratios = (second[apart] / first[apart]).sqrt()
    found = dimension_of(ratios, discard)
    if found is None:
        return None
    return LocalDimension(dimension=found[0], duplicates=len(features) - len(ratios), fitted=found[1])


def dimension_of(ratios: Tensor, discard: float) -> tuple[float, int] | None:
    """The slope through the origin, see `two_nn`, and the number of ratios that it was fitted to.

    Args:
        ratios: (N,) float64, 1 or more each.
        discard: the part of largest ones left out.
    """
    count = len(ratios)
    kept = min(int(count * (1 - discard)), count - 1)  # of the largest, 1 - i / N is 0
    x = ratios.log().sort().values[: max(kept, 0)]
    if kept < FEWEST - 1 or not float(x.sum()) > 0:
        return None
    y = -torch.log1p(-torch.arange(1, kept + 1, dtype=torch.float64, device=x.device) / count)
    return float((x * y).sum() / (x * x).sum()), kept


def evaluate_stability(probe: benchmark.Probe, params: StabilityParams) -> benchmark.Evaluation:
    """Protocol `stability@1`: the part of an image's k nearest neighbors that a view of it has as well.

    Gallery: all test images as they are, without the image itself, by cosine. Queries: the image, and one view of it. 1 for
    an encoder that does not see the augmentation; k / (N - 1), told in the details as `chance`, where neighbors are drawn
    at random. Invariant to rotation and scale. Outcomes: the part for each image. Their interval takes the gallery and the
    views as given.

    Raises:
        UnsupportedError: fewer than three test images, or features do not vary.
    """
    features = probe.test.features()
    if len(features) < 3:
        raise benchmark.UnsupportedError(
            "stability compares neighbors and needs three test images; use another dataset"
        )
    require_variation("stability", features)
    views = encoded_views(probe, probe.test.images, 1, params, probe.generator)
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
    """(N,) float64: how many of row i's k nearest rows of `features`, without row i, are among those of view i, over k.

    Args:
        features: (N, D).
        views: (N, D), row by row of the same images.
        k: from 1 to N - 1.
    """
    scale = inverse(lengths(features))
    found = []
    for start, stop in spans(len(features), len(features)):
        near = [_nearest(rows[start:stop], features, scale, start, k) for rows in (features, views)]
        found.append((near[0][:, :, None] == near[1][:, None, :]).any(dim=2).double().mean(dim=1))
    return torch.cat(found)


def _nearest(queries: Tensor, gallery: Tensor, scale: Tensor, start: int, k: int) -> Tensor:
    """(B, k) int64: gallery rows of largest cosine with each query, without the row of the query's own number."""
    products = inner(queries, gallery) * scale
    products.diagonal(offset=start).fill_(-torch.inf)
    return products.topk(k, dim=1).indices
