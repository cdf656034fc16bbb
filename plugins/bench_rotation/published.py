"""RotNet's training recipe on CIFAR-10, and its published accuracies. This file is optional for a plugin."""

from __future__ import annotations

from typing import Literal

import benchmark

PAPER = benchmark.Recipe(
    epochs=200,
    batch=128,
    optimizer="sgd",
    lr=0.1,
    weight_decay=5e-4,
    schedule="milestones",
    milestones=(60, 120, 160),
    drop_last=False,
    mean=(125.3 / 255, 123.0 / 255, 113.9 / 255),
    std=(63.0 / 255, 62.1 / 255, 66.7 / 255),
)
"""The authors' released configuration (github.com/gidariss/FeatureLearningRotNet); 128 images give 512 rotated ones. The
paper's schedule is recalled as 100 epochs, so its results may come from half as many epochs."""

RERUN = "a rerun of the released code, github.com/gidariss/FeatureLearningRotNet, issue 6"
SURVEY = "Qi and Luo, Small Data Challenges in Big Data Era, Table 1"


def _figure(
    tap: str,
    evaluator: str,
    accuracy: float,
    source: str,
    status: Literal["read", "recalled"] = "read",
    *,
    blocks: int = 4,
    turns: int = 4,
    note: str = "best epoch on test",
) -> benchmark.Published:
    """A published value; `accuracy` in percent, as printed."""
    return benchmark.Published(
        value=round(accuracy / 100, 6),
        method={"turns": turns},
        encoder=f"blocknet[blocks={blocks},init=default]",
        tap=tap,
        evaluator=evaluator,
        recipe=PAPER,
        source=source,
        status=status,
        note=note,
    )


def _by_depth(
    accuracies: tuple[float, ...], source: str, status: Literal["read", "recalled"] = "read"
) -> tuple[benchmark.Published, ...]:
    """A row of Table 1: a head of three layers behind each block of a network; one accuracy per block."""
    return tuple(
        _figure(f"conv{depth}", "fc3", accuracy, source, status, blocks=len(accuracies))
        for depth, accuracy in enumerate(accuracies, start=1)
    )


FIGURES = (
    *_by_depth((85.07, 89.06, 86.21, 61.73), "Gidaris et al. 2018, Table 1"),
    *_by_depth((84.65, 88.89, 85.88, 54.04), RERUN),
    # Another source prints 88.56 for the second value.
    *_by_depth((85.45, 88.26, 62.09), "Gidaris et al. 2018, Table 1"),
    # The paper's text gives 88.26 to 89.06 as the range at conv2, which excludes 89.76: one of them is recalled incorrectly.
    *_by_depth((85.04, 89.76, 86.82, 74.50, 50.37), "Gidaris et al. 2018, Table 1", "recalled"),
    _figure("conv2", "fc3", 88.51, "Gidaris et al. 2018, Table 2", turns=8),
    _figure("conv2", "fc3", 87.46, "Gidaris et al. 2018, Table 2", turns=2),
    _figure("conv2", "conv", 91.16, "Gidaris et al. 2018, Table 3"),
    _figure("conv2", "fc1", 81.79, "Zhang et al. 2019, Table 2", "recalled"),
    _figure("conv2", "fc2", 88.66, "Zhang et al. 2019, Table 2", "recalled"),
    *(
        _figure("conv2", f"conv[per_class={count}]", 100 - error, SURVEY, note="the survey does not state the epoch")
        for count, error in ((20, 35.37), (100, 24.72), (400, 17.16), (1000, 13.57))
    ),
)
"""Published accuracies of heads on frozen blocks, CIFAR-10."""
