"""Protocol `mutual_information@1`: a critic for each bound, fitted on train, read on test."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import benchmark
from bench_information import InformationParams
from bench_information.bounds import BOUNDS, ceiling
from bench_information.critic import Pairs, scored, trained_critic
from benchmark.images import blocks, to_float

LARGEST_SIDE = 32
"""Pixels to a side that the critic sees at most; larger images are averaged down."""
HELD_OUT = 0.1
"""Part of the training images that chooses when to stop."""
FEWEST = 20
"""Training images, so that two can be held out."""


def evaluate_information(probe: benchmark.Probe, params: InformationParams) -> benchmark.Evaluation:
    """Two lower bounds on I(image; vector) in nats, each by a critic of its own, over all test images.

    For comparisons under one protocol only. The truth is infinite for a deterministic encoder with continuous outputs.
    InfoNCE's bound ends at log N of the N test images: encoders that reach it (`ceiling` in the details) cannot be told
    apart by it. `dv` has no such end and is noisy instead; below 0 it says that the critic found nothing that holds on test.
    Random projections of the digits' pixels to 64, 16 and 4 numbers: dv 5.4, 4.1 and 3.5; infoNCE 5.4, 5.5 and 4.8 of 5.9,
    which near its end no longer puts them in order (one draw, 1437 training and 360 test images).
    No measurement has outcomes: neither bound is a mean over images that could be paired.

    Raises:
        UnsupportedError: fewer than 20 training images or 2 test images.
    """
    count, tests = len(probe.train.images), len(probe.test.images)
    if count < FEWEST or tests < 2:
        raise benchmark.UnsupportedError(
            f"mutual_information needs {FEWEST} training images and 2 test images, and there are {count} and {tests}; "
            "use another dataset or subset"
        )
    order = torch.randperm(count, generator=probe.generator).to(probe.device)
    chosen = round(HELD_OUT * count)
    train, test = standardized(
        Pairs(images=pixels(probe.train.images), vectors=probe.train.features()),
        Pairs(images=pixels(probe.test.images), vectors=probe.test.features()),
    )
    measurements, best_step = [], {}
    for name, bound in BOUNDS.items():
        held_out, fitted = train.at(order[:chosen]), train.at(order[chosen:])
        critic, best_step[name] = trained_critic(fitted, held_out, bound, params, probe.generator)
        value = float(bound(scored(critic, test)))
        measurements.append(benchmark.Measurement(metric=name, value=value, n=tests))
    return benchmark.Evaluation(
        measurements=tuple(measurements),
        details={"ceiling": ceiling(tests), "best_step": best_step, "held_out": chosen},
    )


def pixels(images: Tensor) -> Tensor:
    """Images (N, C, H, W) uint8 as rows (N, P) float32, averaged down to 32 pixels a side where they are larger."""
    size = (min(images.shape[2], LARGEST_SIDE), min(images.shape[3], LARGEST_SIDE))
    return torch.cat([F.adaptive_avg_pool2d(to_float(block), size).flatten(1) for block in blocks(images, 1024)])


def standardized(train: Pairs, test: Pairs) -> tuple[Pairs, Pairs]:
    """Each number less its mean over its deviation, both of train; what never varies becomes 0 on train."""
    found = []
    for fitted, other in ((train.images, test.images), (train.vectors, test.vectors)):
        mean, deviation = fitted.mean(dim=0), fitted.std(dim=0, correction=0)
        deviation = torch.where(deviation > 1e-6, deviation, 1.0)
        found.append(((fitted - mean) / deviation, (other - mean) / deviation))
    (images, test_images), (vectors, test_vectors) = found
    return Pairs(images=images, vectors=vectors), Pairs(images=test_images, vectors=test_vectors)
