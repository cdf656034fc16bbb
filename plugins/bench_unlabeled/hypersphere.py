"""Alignment and uniformity of unit-length features (Wang and Isola 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import AlignmentParams, UniformityParams
from bench_unlabeled.products import inner, inverse, lengths, spans
from bench_unlabeled.views import encode_views


def evaluate_alignment(probe: benchmark.Probe, params: AlignmentParams) -> benchmark.Evaluation:
    """Protocol `alignment@1`: the mean over test images of |u(x) - u(y)|^alpha for two views x and y, u of unit length.

    Wang and Isola 2020, section 4.1, alpha = 2. With more than two views, all pairs are used. Lower is better, but a collapsed
    encoder has 0, so read it together with `uniformity`. Invariant to rotation and scale. The views are those of this
    benchmark, not those that a method was trained with. Outcomes: the mean over the pairs of each image; the interval is over
    images with fixed views.

    Raises:
        UnsupportedError: all features are zero.
    """
    distances, largest = [], 0.0
    for views in encode_views(probe, probe.test.images, params.views, params, probe.generator):
        distances.append(pair_distances(views, params.alpha))
        largest = max(largest, float(views.abs().max()))
    if not largest > 0:
        raise _all_zero("alignment", len(probe.test.images))
    outcomes = torch.cat(distances).float().cpu().numpy()
    value = float(outcomes.mean(dtype="float64"))
    return benchmark.Evaluation(
        measurements=(benchmark.Measurement(metric="alignment", value=value, n=len(outcomes), outcomes=outcomes),),
        details={"views": params.views},
    )


def evaluate_uniformity(probe: benchmark.Probe, params: UniformityParams) -> benchmark.Evaluation:
    """Protocol `uniformity@1`: log of the mean over pairs of test images of exp(-t |u - v|^2), u and v of unit length.

    Wang and Isola 2020, section 4.1, t = 2, over all pairs of different images, without augmentation. Lower is better: 0 if
    all images have the same direction, about -2 t if they are spread evenly over a sphere of many dimensions. Invariant to
    rotation and scale. A feature vector of length zero is placed at the center of the sphere.

    No outcomes: it is the logarithm of a mean over pairs, not a mean over images. A bootstrap, in which an image is paired
    with its copies, is biased upwards.

    Raises:
        UnsupportedError: fewer than two test images, or all features are zero.
    """
    features = probe.test.features()
    if len(features) < 2:
        raise benchmark.UnsupportedError("uniformity needs at least two test images; use another dataset")
    if not bool(features.any()):
        raise _all_zero("uniformity", len(features))
    value = potential(features, params.t)
    return benchmark.Evaluation(
        measurements=(benchmark.Measurement(metric="uniformity", value=value, n=len(features)),)
    )


def pair_distances(views: Tensor, alpha: float) -> Tensor:
    """(N,) float64: for each image, the mean of distance^alpha over pairs of its views, scaled to unit length.

    Args:
        views: (N, q, D), q of 2 or more.
        alpha: above 0.
    """
    rows = views.double()
    directions = rows * inverse(rows.norm(dim=2, keepdim=True))
    count = views.shape[1]
    total = torch.zeros(len(views), dtype=torch.float64, device=views.device)
    for first in range(count - 1):
        gaps = directions[:, first + 1 :] - directions[:, first : first + 1]
        total += gaps.norm(dim=2).pow(alpha).sum(dim=1)
    return total / (count * (count - 1) / 2)


def potential(features: Tensor, t: float) -> float:
    """Log of the mean of exp(-t |u - v|^2) over all pairs of different rows of features (N, D), scaled to unit length."""
    row_lengths = lengths(features)
    scale = inverse(row_lengths)
    squares = (row_lengths > 0).double()
    total, count = 0.0, len(features)
    for start, stop in spans(count, count):
        cosines = inner(features[start:stop], features) * scale[start:stop, None] * scale
        distances = (squares[start:stop, None] + squares - 2 * cosines).clamp_min(0)
        kernel = (-t * distances).exp()
        kernel.diagonal(offset=start).zero_()
        total += float(kernel.sum())
    return math.log(max(total / (count * (count - 1)), torch.finfo(torch.float64).tiny))


def _all_zero(evaluator: str, count: int) -> benchmark.UnsupportedError:
    return benchmark.UnsupportedError(
        f"{evaluator} needs features that are not zero, but those of all {count} images are; use another tap"
    )
