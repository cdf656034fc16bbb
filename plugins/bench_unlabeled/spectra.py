"""Scores from the spectrum of the features: effective rank (RankMe), decay (alpha-ReQ), participation ratio."""

from __future__ import annotations

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import DecayParams
from bench_unlabeled.products import ROUNDING, mean_of, require_variation, scatter

EPSILON = 1e-7
"""Added to each normalized value before its logarithm (Garrido et al. 2023, Thilak et al. 2024)."""


def evaluate_rankme(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    """Protocol `rankme@1`: the effective rank of all test features, without centering.

    RankMe = exp(-sum p_k log p_k) with p_k = sigma_k / sum sigma + 1e-7, over the min(N, D) singular values of the
    features (N, D) (Garrido et al. 2023, section 3). Invariant to rotation and scale. It is at most the number of test images
    and of features (both in the details), so do not compare it between datasets of different size. The paper uses 25,600
    training images, and projector outputs or representations; here it is computed from all test images, like every other
    score, at the scored tap.

    No outcomes: a bootstrap repeats rows, which lowers the rank, so its interval lies below the estimate.

    Raises:
        UnsupportedError: all features are zero.
    """
    features = probe.test.features()
    values = spectrum(features)
    if not float(values.sum()) > 0:
        raise benchmark.UnsupportedError(
            f"rankme needs features that are not zero, but those of all {len(features)} images are; use another tap"
        )
    return benchmark.Evaluation(
        measurements=(benchmark.Measurement(metric="rankme", value=perplexity(values.sqrt()), n=len(features)),),
        details={"images": len(features), "width": features.shape[1]},
    )


def evaluate_alpha_req(probe: benchmark.Probe, params: DecayParams) -> benchmark.Evaluation:
    """Protocol `alpha_req@1`: lambda_j ~ j^-alpha for the eigenvalues of the covariance of all test features.

    A least-squares fit in log-log coordinates with weights 1/j, so that every octave of ranks has the same weight (as in
    Stringer et al. 2019 and in the code of Agrawal et al. 2022), from rank `first` to rank `last`. If fewer eigenvalues exceed
    rounding errors, `last` is their number, and at most a tenth of them is left out at the front; the details contain the
    range. Invariant to rotation, shift and scale. A decay near 1 correlates with accuracy: with a slower decay noise fills the
    space, with a faster one few directions are used (Agrawal et al. 2022). The headline is therefore `distance_from_one` =
    |alpha - 1|. `alpha` itself has no better direction; because a spec has to declare one, it declares lower, since untrained
    and collapsed encoders decay faster.

    No outcomes: the spectrum of a sample decays faster than the true one, that of a bootstrap sample even faster.

    Raises:
        UnsupportedError: features do not vary, or vary in fewer than three directions.
    """
    features = probe.test.features()
    require_variation("alpha_req", features)
    values = spectrum(features, centered=True)
    values = values[values > 0]
    last = min(params.last, len(values))
    first = min(params.first, 1 + last // 10)
    if last - first < 2:
        raise benchmark.UnsupportedError(
            f"alpha_req needs at least three eigenvalues, but these features vary in only {len(values)} directions; "
            "use another tap or more images"
        )
    alpha = decay(values, first, last)
    return benchmark.Evaluation(
        measurements=tuple(
            benchmark.Measurement(metric=name, value=value, n=len(features))
            for name, value in (("distance_from_one", abs(alpha - 1)), ("alpha", alpha))
        ),
        details={"first": first, "last": last, "directions": len(values)},
    )


def spectrum(features: Tensor, *, centered: bool = False) -> Tensor:
    """(min(N, D),) float64, descending: squared singular values of features (N, D), minus their mean if `centered`.

    Computed from products in float64. Values below `ROUNDING` squared, relative to the largest, are set to zero.
    """
    values = torch.linalg.eigvalsh(scatter(features, mean_of(features) if centered else None)).flip(0)
    return torch.where(values > ROUNDING**2 * values[0].clamp_min(0), values, 0.0)


def perplexity(values: Tensor) -> float:
    """Effective number of values: the exponential of the entropy of the values, normalized to the sum 1, plus 1e-7 each.

    Args:
        values: (K,) float64, all at least zero, not all zero.
    """
    shares = values / values.sum() + EPSILON
    return float((-(shares * shares.log()).sum()).exp())


def decay(values: Tensor, first: int, last: int) -> float:
    """The exponent alpha of values ~ rank^-alpha from rank `first` to `last`, by least squares weighted with 1/rank.

    Args:
        values: (K,) float64 above zero, descending; the first has rank 1.
        first: 1 or more.
        last: at least `first` + 1, at most K.
    """
    ranks = torch.arange(first, last + 1, dtype=torch.float64, device=values.device)
    weights = 1 / ranks
    x, y = ranks.log(), values[first - 1 : last].log()
    x, y = (each - (weights * each).sum() / weights.sum() for each in (x, y))
    return -float((weights * x * y).sum() / (weights * x * x).sum())


def participation_ratio(values: Tensor) -> float:
    """(sum lambda)^2 / sum lambda^2 of the covariance's eigenvalues: D for D equal ones, 1 for a single one."""
    return float(values.sum().square() / values.square().sum())
