"""AET's training recipe on CIFAR-10, and its published accuracies.

The paper also plots nearest-neighbor errors of 22 to 25 % on average-pooled conv2 for 3 to 20 neighbors. They are left out,
because the paper gives neither the metric nor a table.
"""

from __future__ import annotations

from typing import Literal

import benchmark

PAPER = benchmark.Recipe(
    epochs=1500,
    batch=512,
    optimizer="sgd",
    lr=0.1,
    weight_decay=5e-4,
    schedule="milestones",
    milestones=(240, 480, 640, 800),
    linear_from=999,
    final_lr=1e-5,
    drop_last=False,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
)
"""The authors' CIFAR-10 script (github.com/maple-research-lab/AET), with its linear decay to 1e-5 after epoch 1000."""

TABLE = "Zhang et al. 2019, Tables 1 and 2"
SURVEY = "Qi and Luo, Small Data Challenges in Big Data Era, Table 1"
RESCORED = "the released weights rescored, github.com/antonshcherbyna/ml-project, aet.ipynb"
BEST = "best epoch on test"
LONGER = "best epoch on test; AET's code trains all heads for 200 epochs"
QUOTED = "the survey states neither transformation nor epoch"


def _figure(
    transform: str,
    evaluator: str,
    error: float,
    source: str,
    status: Literal["read", "recalled"] = "recalled",
    note: str = BEST,
) -> benchmark.Published:
    """A published value on conv2 of blocknet; `error` in percent, as printed."""
    return benchmark.Published(
        value=round(1 - error / 100, 6),
        method={"transform": transform},
        encoder="blocknet",
        tap="conv2",
        evaluator=evaluator,
        recipe=PAPER,
        source=source,
        status=status,
        note=note,
    )


FIGURES = (
    _figure("affine", "fc1", 17.16, TABLE),
    _figure("affine", "fc2", 9.77, TABLE),
    _figure("affine", "fc2", 10.25, RESCORED, "read", "last epoch; the best epoch has 0.9002"),
    _figure("affine", "fc3", 10.16, TABLE, note=LONGER),
    _figure("affine", "conv", 8.05, TABLE, note=LONGER),
    _figure("projective", "fc1", 16.65, TABLE),
    _figure("projective", "fc2", 9.41, TABLE),
    _figure("projective", "fc3", 9.92, TABLE, note=LONGER),
    _figure("projective", "conv", 7.82, SURVEY, "read", QUOTED),
    *(
        _figure("projective", f"conv[per_class={count}]", error, SURVEY, "read", QUOTED)
        for count, error in ((20, 34.83), (100, 24.35), (400, 16.28), (1000, 12.58))
    ),
)
"""Published accuracies of heads on frozen conv2, CIFAR-10."""
