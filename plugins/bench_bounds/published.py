"""Published accuracies of the floor and the ceiling, on CIFAR-10."""

from __future__ import annotations

import benchmark
from bench_bounds.recipes import PAPER

UNTRAINED = (
    benchmark.Published(
        value=0.7250,
        encoder="blocknet[init=default]",
        tap="conv2",
        evaluator="conv",
        source="Gidaris et al. 2018, Table 3",
        status="read",
        note="best epoch on test",
    ),
)
"""Random weights with a trained convolutional head."""

SUPERVISED = (
    benchmark.Published(
        value=0.9280,
        encoder="blocknet[blocks=3,init=default]",
        tap="conv3",
        evaluator="linear",
        recipe=PAPER,
        source="Gidaris et al. 2018, Table 3",
        status="read",
        note="the network's own classifier, best epoch on test",
    ),
    benchmark.Published(
        value=0.7539,
        encoder="dim_conv",
        tap="y",
        evaluator="linear",
        source="Hjelm et al. 2019, Table 1",
        status="read",
        note="the network's own classifier",
    ),
)
"""Networks trained with all labels."""
