"""Linear CKA between the scored tap and every other tap of the encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import SimilarityParams
from bench_unlabeled.products import inner, mean_of, require_variation, spans
from bench_unlabeled.views import draw_images


def evaluate_cka_taps(probe: benchmark.Probe, params: SimilarityParams) -> benchmark.Evaluation:
    """Protocol `cka_taps@1`: `cka@tap=NAME` for every other tap, with the same pooling.

    Linear CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = X X^T and L = Y Y^T (Kornblith et al. 2019, section 3),
    by the unbiased estimator of HSIC (Song et al. 2012; used for CKA by Nguyen et al. 2021), which includes centering. The
    usual biased estimator tends to 1 if there are more features than images, for any features. The unbiased one is near 0 for
    independent features and can be slightly negative. Invariant to rotation, shift and scale of either tap.

    It is a similarity, not a quality: a spec has to declare a direction, but there is no headline, and `bench correlate`
    leaves it out. Taps that do not vary are left out and listed in the details.

    No outcomes: it is a ratio of sums over pairs, and repeated images are similar at both taps.

    Raises:
        UnsupportedError: no other tap, no other tap that varies, or fewer than four test images.
    """
    others = [tap.name for tap in probe.layout.taps if tap.name != probe.tap]
    if not others:
        raise benchmark.UnsupportedError("cka_taps compares taps, but this encoder has only one")
    positions = draw_images(len(probe.test.images), params.images, probe.generator).to(probe.device)
    if len(positions) < 4:
        raise benchmark.UnsupportedError(f"cka_taps needs at least four test images, but there are {len(positions)}")
    own = probe.test.features()[positions]
    require_variation("cka_taps", own)
    values: dict[str, float] = {}
    for name in others:
        value = cka(own, probe.test.features(name)[positions])
        if value is not None:
            values[name] = value
    if not values:
        raise benchmark.UnsupportedError(f"cka_taps: none of the other taps ({', '.join(others)}) varies")
    return benchmark.Evaluation(
        measurements=tuple(
            benchmark.Measurement(metric=f"cka@tap={name}", value=value, n=len(positions))
            for name, value in values.items()
        ),
        details={"left_out": [name for name in others if name not in values]},
    )


def cka(first: Tensor, second: Tensor) -> float | None:
    """Linear CKA with unbiased estimates of HSIC; None if one of the two hardly varies.

    Args:
        first: (N, D), N of 4 or more.
        second: (N, E); row i is of the same image as row i of `first`.
    """
    # HSIC is invariant to a shift; centered features lose less precision.
    x, y = (each.double() - mean_of(each) for each in (first, second))
    across, of_x, of_y = unbiased_hsic(x, y)
    return across / math.sqrt(of_x * of_y) if of_x > 0 and of_y > 0 else None


def unbiased_hsic(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """HSIC of K = x x^T with L = y y^T, of K with itself and of L with itself (Song et al. 2012).

    With the diagonals of K and L set to zero: [tr(K L) + 1'K1 1'L1 / ((N - 1)(N - 2)) - 2 1'K L1 / (N - 2)] / (N (N - 3)),
    computed in blocks of rows, so that no matrix (N, N) is stored.
    """
    count = len(x)
    sums: dict[str, list[Tensor]] = {"x": [], "y": []}
    traces = torch.zeros(3, dtype=torch.float64, device=x.device)
    for start, stop in spans(count, 2 * count):
        blocks = {"x": inner(x[start:stop], x), "y": inner(y[start:stop], y)}
        for name, block in blocks.items():
            block.diagonal(offset=start).zero_()
            sums[name].append(block.sum(dim=1))
        pairs = (("x", "y"), ("x", "x"), ("y", "y"))
        traces += torch.stack([(blocks[a] * blocks[b]).sum() for a, b in pairs])
    x_sums, y_sums = torch.cat(sums["x"]), torch.cat(sums["y"])
    estimates = []
    for trace, (a, b) in zip(traces, ((x_sums, y_sums), (x_sums, x_sums), (y_sums, y_sums)), strict=True):
        corrected = trace + a.sum() * b.sum() / ((count - 1) * (count - 2)) - 2 / (count - 2) * (a * b).sum()
        estimates.append(float(corrected) / (count * (count - 3)))
    return estimates[0], estimates[1], estimates[2]
