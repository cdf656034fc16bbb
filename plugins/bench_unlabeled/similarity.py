"""Linear CKA between the tap that is scored and every other tap of the encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import benchmark
from bench_unlabeled.params import SimilarityParams
from bench_unlabeled.products import inner, mean_of, require_variation, spans
from bench_unlabeled.views import drawn


def evaluate_cka_taps(probe: benchmark.Probe, params: SimilarityParams) -> benchmark.Evaluation:
    """Protocol `cka_taps@1`: `cka@tap=NAME` for every other tap, with the pooling that is scored.

    Linear CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = X X^T and L = Y Y^T (Kornblith et al. 2019, section 3),
    by the unbiased estimator of HSIC (Song et al. 2012; used for CKA by Nguyen et al. 2021), which centers. The usual
    biased one tends to 1 where features are wider than there are images, whatever they are; the unbiased one is near 0 for
    independent features, and a little below 0 by chance. Invariant to rotation, shift and scale of either tap.

    A similarity and no quality: it is declared as better when higher because a spec has to say something, there is no
    headline, and `bench correlate` leaves it out. Taps that do not vary are left out, and named in the details.

    No outcomes: it is a ratio of sums over pairs, and images drawn twice are alike for both taps.

    Raises:
        UnsupportedError: no other tap, or none that varies; fewer than four test images.
    """
    others = [tap.name for tap in probe.layout.taps if tap.name != probe.tap]
    if not others:
        raise benchmark.UnsupportedError("cka_taps compares taps, and this encoder has one only")
    places = drawn(len(probe.test.images), params.images, probe.generator).to(probe.device)
    if len(places) < 4:
        raise benchmark.UnsupportedError(f"cka_taps needs four test images, and there are {len(places)}")
    own = probe.test.features()[places]
    require_variation("cka_taps", own)
    found: dict[str, float] = {}
    for name in others:
        value = cka(own, probe.test.features(name)[places])
        if value is not None:
            found[name] = value
    if not found:
        raise benchmark.UnsupportedError(f"cka_taps: none of the other taps ({', '.join(others)}) varies")
    return benchmark.Evaluation(
        measurements=tuple(
            benchmark.Measurement(metric=f"cka@tap={name}", value=value, n=len(places)) for name, value in found.items()
        ),
        details={"left_out": [name for name in others if name not in found]},
    )


def cka(first: Tensor, second: Tensor) -> float | None:
    """Linear CKA by unbiased estimates of HSIC; None where one of both does not vary enough to tell.

    Args:
        first: (N, D), N of 4 or more.
        second: (N, E), row by row of the same images.
    """
    # HSIC is the same for shifted features; centerd ones lose less in float64.
    x, y = (each.double() - mean_of(each) for each in (first, second))
    across, of_x, of_y = unbiased_hsic(x, y)
    return across / math.sqrt(of_x * of_y) if of_x > 0 and of_y > 0 else None


def unbiased_hsic(x: Tensor, y: Tensor) -> tuple[float, float, float]:
    """HSIC of K = x x^T with L = y y^T, of K with itself and of L with itself (Song et al. 2012).

    With both diagonals set to zero: [tr(K L) + 1'K1 1'L1 / ((N - 1)(N - 2)) - 2 1'K L1 / (N - 2)] / (N (N - 3)), from sums over
    blocks of rows, so that no table (N, N) is kept.
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
    of_x, of_y = torch.cat(sums["x"]), torch.cat(sums["y"])
    found = []
    for trace, (a, b) in zip(traces, ((of_x, of_y), (of_x, of_x), (of_y, of_y)), strict=True):
        corrected = trace + a.sum() * b.sum() / ((count - 1) * (count - 2)) - 2 / (count - 2) * (a * b).sum()
        found.append(float(corrected) / (count * (count - 3)))
    return found[0], found[1], found[2]
