"""LiDAR: the effective rank of what tells images apart from their own views (Thilak et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import LidarParams
from bench_unlabeled.products import ROUNDING, spans
from bench_unlabeled.spectra import perplexity
from bench_unlabeled.views import drawn, encoded_views


def evaluate_lidar(probe: benchmark.Probe, params: LidarParams) -> benchmark.Evaluation:
    """Protocol `lidar@1`: the perplexity of the eigenvalues of W^-1/2 B W^-1/2, where each image is a class of its views.

    B = mean over images of (mu_x - mu)(mu_x - mu)^T, W = mean over images and views of (e - mu_x)(e - mu_x)^T + delta I
    (Thilak et al. 2024, section 3). Means, as in the equations. Invariant to rotation and shift; not to scale,
    because delta is a variance. The details hold the numbers that limit it: it is at most images - 1, and the width.

    Departures: the paper takes 50 views of a joint-embedding method's own augmentation; here there are 10 (`views=50` for
    theirs) of one augmentation for all methods, which none of them was trained on exactly. Test images.

    No outcomes: an image drawn twice is one class too few, so that a bootstrap's ranks are too low.

    Raises:
        UnsupportedError: fewer than two test images, or the views' means do not vary.
    """
    places = drawn(len(probe.test.images), params.images, probe.generator)
    if len(places) < 2:
        raise benchmark.UnsupportedError("lidar tells images apart and needs two test images; use another dataset")
    images = probe.test.images[places.to(probe.test.images.device)]
    embeddings = torch.cat(list(encoded_views(probe, images, params.views, params, probe.generator)))
    values = discriminant_values(embeddings, params.delta)
    if values is None:
        raise benchmark.UnsupportedError(
            f"lidar needs features that vary, and these are the same for all {len(images)} images: the encoder has "
            "collapsed at this tap; choose another tap"
        )
    return benchmark.Evaluation(
        measurements=(benchmark.Measurement(metric="lidar", value=perplexity(values), n=len(images)),),
        details={"images": len(images), "views": params.views, "width": embeddings.shape[2]},
    )


def discriminant_values(embeddings: Tensor, delta: float) -> Tensor | None:
    """Eigenvalues of W^-1/2 B W^-1/2, but for zeros beyond min(n, D); none below 0.

    Args:
        embeddings: (n, q, D) float32: q views of n images.
        delta: added to each variance within images, above 0.

    Returns:
        (min(n, D),) or, where features are wider than there are views, (n,) float64; None where the means of the images
        do not vary.
    """
    count, views, width = embeddings.shape
    means = embeddings.double().mean(dim=1)
    size = float(means.square().sum())
    # Relative to the first, so that what never varies becomes zero exactly.
    means = means - means[0]
    centerd = means - means.mean(dim=0)
    if float(centerd.square().sum()) <= ROUNDING**2 * size:
        return None
    if width <= count * views:
        return _by_features(embeddings, centerd, delta)
    return _by_views(embeddings, centerd, delta)


def _within(embeddings: Tensor) -> Tensor:
    """(..., q, D) float64: views less the mean of their image."""
    views = embeddings.double()
    views = views - views[:, :1]
    return views - views.mean(dim=1, keepdim=True)


def _by_features(embeddings: Tensor, centerd: Tensor, delta: float) -> Tensor:
    """By W itself (D, D): singular values of L^-1 M^T / sqrt(n), where W = L L^T and M are the means (n, D)."""
    count, views, width = embeddings.shape
    within = torch.zeros((width, width), dtype=torch.float64, device=embeddings.device)
    for first, last in spans(count, views * width):
        rows = _within(embeddings[first:last]).flatten(0, 1)
        within.addmm_(rows.T, rows)
    within /= count * views
    within.diagonal().add_(delta)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(within), centerd.T, upper=False)
    values: Tensor = torch.linalg.svdvals(whitened).square() / count
    return values


def _by_views(embeddings: Tensor, centerd: Tensor, delta: float) -> Tensor:
    """By products of rows, where there are fewer of them than features: eigenvalues of M W^-1 M^T / n.

    With the views' deviations R (n q, D): W^-1 = (I - R^T (n q delta I + R R^T)^-1 R) / delta (Woodbury's identity).
    """
    count, views, width = embeddings.shape
    rows = count * views
    shapes = ((count, count), (count, rows), (rows, rows))
    of_means, mixed, of_views = (embeddings.new_zeros(shape, dtype=torch.float64) for shape in shapes)
    for first, last in spans(width, rows):
        part = _within(embeddings[:, :, first:last]).flatten(0, 1)
        mean = centerd[:, first:last]
        of_means.addmm_(mean, mean.T)
        mixed.addmm_(mean, part.T)
        of_views.addmm_(part, part.T)
    of_views.diagonal().add_(rows * delta)
    taken = torch.linalg.solve_triangular(torch.linalg.cholesky(of_views), mixed.T, upper=False)
    values: Tensor = torch.linalg.eigvalsh(of_means - taken.T @ taken).clamp_min(0) / (delta * count)
    return values
