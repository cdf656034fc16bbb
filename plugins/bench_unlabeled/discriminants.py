"""LiDAR: the effective rank of the means of images relative to the variance of their views (Thilak et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import LidarParams
from bench_unlabeled.products import ROUNDING, spans
from bench_unlabeled.spectra import perplexity
from bench_unlabeled.views import draw_images, encode_views


def evaluate_lidar(probe: benchmark.Probe, params: LidarParams) -> benchmark.Evaluation:
    """Protocol `lidar@1`: the perplexity of the eigenvalues of W^-1/2 B W^-1/2, where the views of an image are a class.

    B = mean over images of (mu_x - mu)(mu_x - mu)^T, W = mean over images and views of (e - mu_x)(e - mu_x)^T + delta I
    (Thilak et al. 2024, section 3). Means, as in the equations. Invariant to rotation and shift, but not to scale, because
    delta is a variance. It is at most images - 1 and at most the width; the details contain both.

    Differences: the paper uses 50 views of a joint-embedding method's own augmentation. Here there are 10 views (`views=50`
    for the paper's) of one augmentation for all methods, which none of them was trained with exactly, on test images.

    No outcomes: a repeated image is not a further class, so the ranks of a bootstrap are too low.

    Raises:
        UnsupportedError: fewer than two test images, or the means of the views do not vary.
    """
    positions = draw_images(len(probe.test.images), params.images, probe.generator)
    if len(positions) < 2:
        raise benchmark.UnsupportedError("lidar needs at least two test images; use another dataset")
    images = probe.test.images[positions.to(probe.test.images.device)]
    embeddings = torch.cat(list(encode_views(probe, images, params.views, params, probe.generator)))
    values = discriminant_values(embeddings, params.delta)
    if values is None:
        raise benchmark.UnsupportedError(
            f"lidar needs features that vary, but all {len(images)} images have the same features: the encoder has "
            "collapsed at this tap; use another tap"
        )
    return benchmark.Evaluation(
        measurements=(benchmark.Measurement(metric="lidar", value=perplexity(values), n=len(images)),),
        details={"images": len(images), "views": params.views, "width": embeddings.shape[2]},
    )


def discriminant_values(embeddings: Tensor, delta: float) -> Tensor | None:
    """Eigenvalues of W^-1/2 B W^-1/2, all at least 0, without the zeros beyond min(n, D).

    Args:
        embeddings: (n, q, D) float32: q views of n images.
        delta: added to each variance within images, above 0.

    Returns:
        (min(n, D),) or, for more features than views, (n,) float64; None if the means of the images do not vary.
    """
    count, views, width = embeddings.shape
    means = embeddings.double().mean(dim=1)
    size = float(means.square().sum())
    # Relative to the first, so that constant features become exactly zero.
    means = means - means[0]
    centered = means - means.mean(dim=0)
    if float(centered.square().sum()) <= ROUNDING**2 * size:
        return None
    if width <= count * views:
        return _values_by_features(embeddings, centered, delta)
    return _values_by_views(embeddings, centered, delta)


def _deviations(embeddings: Tensor) -> Tensor:
    """(..., q, D) float64: views minus the mean of their image."""
    views = embeddings.double()
    views = views - views[:, :1]
    return views - views.mean(dim=1, keepdim=True)


def _values_by_features(embeddings: Tensor, centered: Tensor, delta: float) -> Tensor:
    """With W (D, D): squared singular values of L^-1 M^T / sqrt(n), where W = L L^T and M are the means (n, D)."""
    count, views, width = embeddings.shape
    within = torch.zeros((width, width), dtype=torch.float64, device=embeddings.device)
    for first, last in spans(count, views * width):
        rows = _deviations(embeddings[first:last]).flatten(0, 1)
        within.addmm_(rows.T, rows)
    within /= count * views
    within.diagonal().add_(delta)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(within), centered.T, upper=False)
    values: Tensor = torch.linalg.svdvals(whitened).square() / count
    return values


def _values_by_views(embeddings: Tensor, centered: Tensor, delta: float) -> Tensor:
    """With products of rows, if there are fewer rows than features: eigenvalues of M W^-1 M^T / n.

    With the deviations R (n q, D) of the views: W^-1 = (I - R^T (n q delta I + R R^T)^-1 R) / delta (Woodbury's identity).
    """
    count, views, width = embeddings.shape
    rows = count * views
    shapes = ((count, count), (count, rows), (rows, rows))
    mean_products, mixed_products, view_products = (
        embeddings.new_zeros(shape, dtype=torch.float64) for shape in shapes
    )
    for first, last in spans(width, rows):
        part = _deviations(embeddings[:, :, first:last]).flatten(0, 1)
        mean = centered[:, first:last]
        mean_products.addmm_(mean, mean.T)
        mixed_products.addmm_(mean, part.T)
        view_products.addmm_(part, part.T)
    view_products.diagonal().add_(rows * delta)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(view_products), mixed_products.T, upper=False)
    values: Tensor = torch.linalg.eigvalsh(mean_products - whitened.T @ whitened).clamp_min(0) / (delta * count)
    return values
