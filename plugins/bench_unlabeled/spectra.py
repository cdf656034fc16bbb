"""The spectrum of features: its effective rank (RankMe), its decay (alpha-ReQ), its participation ratio."""

from __future__ import annotations

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import DecayParams
from bench_unlabeled.products import ROUNDING, mean_of, require_variation, scatter

EPSILON = 1e-7
"""Added to each normalized value before its logarithm (Garrido et al. 2023, Thilak et al. 2024)."""


def evaluate_rankme(probe: benchmark.Probe, params: benchmark.NoParams) -> benchmark.Evaluation:
    """Protocol `rankme@1`: the effective rank of all test features, not centerd.

    RankMe = exp(-sum p_k log p_k) with p_k = sigma_k / sum sigma + 1e-7, over the min(N, D) singular values of the
    features (N, D) (Garrido et al. 2023, section 3). Invariant to rotation and to scale. Never more than the number of test
    images or features, both in the details, so that it cannot be compared between sets of different size. The paper takes
    25,600 training images, and projector outputs or representations; here it is the test images, of which no more and no
    fewer are behind any other score, and the tap that is scored.

    No outcomes: drawn again with replacement, rows repeat and the rank falls, so that the bootstrap's interval lies below
    the estimate itself.

    Raises:
        UnsupportedError: all features are zero.
    """
    features = probe.test.features()
    values = spectrum(features)
    if not float(values.sum()) > 0:
        raise benchmark.UnsupportedError(
            f"rankme needs features, and all are zero for all {len(features)} images; choose another tap"
        )
    return benchmark.Evaluation(
        measurements=(benchmark.Measurement(metric="rankme", value=perplexity(values.sqrt()), n=len(features)),),
        details={"images": len(features), "width": features.shape[1]},
    )


def evaluate_alpha_req(probe: benchmark.Probe, params: DecayParams) -> benchmark.Evaluation:
    """Protocol `alpha_req@1`: lambda_j ~ j^-alpha for the eigenvalues of the covariance of all test features.

    Fitted in log-log by least squares with weights 1/j, so that every octave of ranks weighs the same (as Stringer et al.
    2019 and the authors of Agrawal et al. 2022 do), from rank `first` to rank `last`. Where there are fewer eigenvalues
    above rounding, `last` is their number, and no more than a tenth of them is left out at the front; the details tell the
    range. Invariant to rotation, shift and scale. A decay near 1 is what goes with accuracy: slower, and noise fills
    the space; faster, and little of it is used (Agrawal et al. 2022). So `distance_from_one` = |alpha - 1| is the
    score, and `alpha`, of which neither more nor less is better, stands beside it: a spec has to say one direction, and says
    less, because an untrained or collapsed encoder decays faster.

    No outcomes: the sample's spectrum decays faster than the truth, a bootstrapped sample's faster still.

    Raises:
        UnsupportedError: features do not vary, or in fewer than three directions.
    """
    features = probe.test.features()
    require_variation("alpha_req", features)
    values = spectrum(features, centerd=True)
    values = values[values > 0]
    last = min(params.last, len(values))
    first = min(params.first, 1 + last // 10)
    if last - first < 2:
        raise benchmark.UnsupportedError(
            f"alpha_req fits a decay to three eigenvalues or more, and these features vary in {len(values)} directions "
            "only; choose another tap or more images"
        )
    alpha = decay(values, first, last)
    return benchmark.Evaluation(
        measurements=tuple(
            benchmark.Measurement(metric=name, value=value, n=len(features))
            for name, value in (("distance_from_one", abs(alpha - 1)), ("alpha", alpha))
        ),
        details={"first": first, "last": last, "directions": len(values)},
    )


def spectrum(features: Tensor, *, centerd: bool = False) -> Tensor:
    """(min(N, D),) float64, falling: squared singular values of features (N, D), less their mean if centerd.

    From products in float64. What lies below the square of `ROUNDING`, as a part of the largest, is zero.
    """
    values = torch.linalg.eigvalsh(scatter(features, mean_of(features) if centerd else None)).flip(0)
    return torch.where(values > ROUNDING**2 * values[0].clamp_min(0), values, 0.0)


def perplexity(values: Tensor) -> float:
    """Exponential of the entropy of values that are normalized to the sum 1 and raised by 1e-7: how many there are, in effect.

    Args:
        values: (K,) float64, none below zero, not all zero.
    """
    shares = values / values.sum() + EPSILON
    return float((-(shares * shares.log()).sum()).exp())


def decay(values: Tensor, first: int, last: int) -> float:
    """The exponent alpha of values ~ rank^-alpha from rank `first` to `last`, by least squares weighted with 1/rank.

    Args:
        values: (K,) float64 above zero, falling; rank 1 is the first.
        first: 1 or more.
        last: at least `first` + 1, at most K.
    """
    ranks = torch.arange(first, last + 1, dtype=torch.float64, device=values.device)
    weights = 1 / ranks
    x, y = ranks.log(), values[first - 1 : last].log()
    x, y = (each - (weights * each).sum() / weights.sum() for each in (x, y))
    return -float((weights * x * y).sum() / (weights * x * x).sum())


def participation_ratio(values: Tensor) -> float:
    """(sum lambda)^2 / sum lambda^2 of a covariance's eigenvalues: D if all D are alike, 1 if there is one."""
    return float(values.sum().square() / values.square().sum())
