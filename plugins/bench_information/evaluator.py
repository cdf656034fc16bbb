"""Protocol `mutual_information@1`: one critic per bound, trained on train, evaluated on test."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import benchmark
from bench_information import InformationParams
from bench_information.bounds import BOUNDS, ceiling
from bench_information.critic import Pairs, score_pairs, train_critic
from benchmark.images import blocks, to_float

MAX_SIDE = 32
"""Largest side of the critic's images in pixels; larger images are averaged down."""
HELD_OUT = 0.1
"""Fraction of the training images that chooses the critic's training step."""
MIN_TRAIN = 20
"""Smallest number of training images, of which two are held out."""


def evaluate_information(probe: benchmark.Probe, params: InformationParams) -> benchmark.Evaluation:
    """Two lower bounds on I(image; vector) in nats, each by its own critic, over all test images.

    Compare values only under the same protocol: the true value is infinite for a deterministic encoder with continuous
    outputs. InfoNCE is at most log N for N test images, so it cannot distinguish encoders that reach this limit (`ceiling` in
    the details). `dv` has no limit but is noisy; a negative value means that the critic learned nothing that generalizes to
    test. Random projections of the digits' pixels to 64, 16 and 4 dimensions: dv 5.4, 4.1 and 3.5; infoNCE 5.4, 5.5 and 4.8
    of 5.9, which does not order them near its limit (one draw, 1437 training and 360 test images). No measurement has
    outcomes, because neither bound is a mean over images.

    Raises:
        UnsupportedError: fewer than 20 training images or 2 test images.
    """
    count, tests = len(probe.train.images), len(probe.test.images)
    if count < MIN_TRAIN or tests < 2:
        raise benchmark.UnsupportedError(
            f"mutual_information needs at least {MIN_TRAIN} training images and 2 test images, but there are {count} and "
            f"{tests}; use another dataset or subset"
        )
    order = torch.randperm(count, generator=probe.generator).to(probe.device)
    num_held_out = round(HELD_OUT * count)
    train, test = standardize(
        Pairs(images=pixels(probe.train.images), vectors=probe.train.features()),
        Pairs(images=pixels(probe.test.images), vectors=probe.test.features()),
    )
    measurements, best_step = [], {}
    for name, bound in BOUNDS.items():
        held_out, fitted = train.select(order[:num_held_out]), train.select(order[num_held_out:])
        critic, best_step[name] = train_critic(fitted, held_out, bound, params, probe.generator)
        value = float(bound(score_pairs(critic, test)))
        measurements.append(benchmark.Measurement(metric=name, value=value, n=tests))
    return benchmark.Evaluation(
        measurements=tuple(measurements),
        details={"ceiling": ceiling(tests), "best_step": best_step, "held_out": num_held_out},
    )


def pixels(images: Tensor) -> Tensor:
    """Images (N, C, H, W) uint8 as rows (N, P) float32; sides above `MAX_SIDE` are averaged down to it."""
    size = (min(images.shape[2], MAX_SIDE), min(images.shape[3], MAX_SIDE))
    return torch.cat([F.adaptive_avg_pool2d(to_float(block), size).flatten(1) for block in blocks(images, 1024)])


def standardize(train: Pairs, test: Pairs) -> tuple[Pairs, Pairs]:
    """Subtracts the mean and divides by the standard deviation of train, per column. Constant columns are only centered."""
    standardized = []
    for fitted, other in ((train.images, test.images), (train.vectors, test.vectors)):
        mean, deviation = fitted.mean(dim=0), fitted.std(dim=0, correction=0)
        deviation = torch.where(deviation > 1e-6, deviation, 1.0)
        standardized.append(((fitted - mean) / deviation, (other - mean) / deviation))
    (images, test_images), (vectors, test_vectors) = standardized
    return Pairs(images=images, vectors=vectors), Pairs(images=test_images, vectors=test_vectors)
