"""Published accuracies of Deep InfoMax with its own encoder, on CIFAR-10 and CIFAR-100.

The camera-ready paper's rows for the Donsker-Varadhan bound are recalled. The others were read in the reviewed version, which
does not name the estimator of its DIM(G) and of its support vector machines, nor the critic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import benchmark
from bench_dim.recipes import PAPER

TAPS = ("conv3", "fc", "y")
"""The taps that the paper's tables call conv, fc and Y."""
LAST = "mean over the probe's last 100 epochs; critic not stated"


def _row(
    evaluator: str,
    method: Mapping[str, object],
    accuracies: tuple[float, ...],
    source: str,
    status: Literal["read", "recalled"] = "read",
    *,
    spreads: tuple[float | None, ...] = (None, None, None),
    dataset: str = "cifar10",
    note: str = LAST,
) -> Iterator[benchmark.Published]:
    """A row of a table: accuracies and spreads in percent, as printed, one per tap in `TAPS`."""
    for tap, accuracy, spread in zip(TAPS, accuracies, spreads, strict=True):
        yield benchmark.Published(
            value=round(accuracy / 100, 6),
            spread=None if spread is None else round(spread / 100, 6),
            method=method,
            encoder="dim_conv",
            dataset=dataset,
            tap=tap,
            evaluator=evaluator,
            recipe=PAPER,
            source=source,
            status=status,
            note=note,
        )


def _figures() -> Iterator[benchmark.Published]:
    def local(estimator: str) -> dict[str, object]:
        return {"scope": "local", "estimator": estimator}

    table1, table3, table4 = (f"Hjelm et al. 2019, Table {number}" for number in (1, 3, 4))
    not_stated = f"{LAST}; estimator not stated"
    yield from _row("mlp", local("nce"), (75.21, 75.57, 69.13), table1)
    yield from _row("mlp", local("jsd"), (73.25, 73.62, 66.96), table1)
    yield from _row("mlp", local("dv"), (72.66, 70.60, 64.71), table1, "recalled")
    yield from _row("mlp", {"scope": "global"}, (52.2, 52.84, 43.17), table1, note=not_stated)
    yield from _row("mlp", local("nce"), (49.74, 47.72, 41.61), table1, dataset="cifar100")
    yield from _row("mlp", local("jsd"), (48.13, 45.92, 39.60), table1, dataset="cifar100")
    yield from _row("mlp", local("dv"), (48.52, 44.44, 39.27), table1, "recalled", dataset="cifar100")
    yield from _row("mlp", {"scope": "global"}, (27.68, 24.35, 19.98), table1, dataset="cifar100", note=not_stated)
    nce = local("nce")
    yield from _row("mlp", nce, (77.46, 73.33, 70.65), table4, note="baseline of Table 4, without the added tasks")
    yield from _row("mlp", {**nce, "coordinates": 1.0}, (77.28, 73.89, 71.56), table4)
    yield from _row("mlp", {**nce, "occlude": 1.0}, (76.77, 74.45, 72.87), table4)
    yield from _row("mlp", {**nce, "occlude": 1.0, "coordinates": 1.0}, (77.27, 75.15, 73.99), table4)
    for scope, accuracies, spreads in (
        ("global", (46.8, 28.79, 29.08), (2.29, 7.29, 0.24)),
        ("local", (63.25, 54.06, 49.62), (0.86, 3.6, 0.3)),
        ("both", (57.55, 45.56, 18.63), (1.44, 4.18, 4.79)),
    ):
        note = "5 runs; estimator not stated"
        yield from _row("svm", {"scope": scope}, accuracies, table3, spreads=spreads, note=note)


FIGURES = tuple(_figures())
"""All published values, in the order of the paper's tables."""
