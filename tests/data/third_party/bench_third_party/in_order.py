"""The smallest executor: cells run in this process, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import benchmark
from benchmark.progress import Reporter


class InOrder:
    """Runs cells on the first device."""

    def __init__(self, context: benchmark.ExecutorContext) -> None:
        self._device = context.devices[0]

    def run(self, jobs: Sequence[benchmark.Job], reporter: Reporter) -> Iterator[benchmark.Outcome]:
        """One outcome per job, in order."""
        from benchmark.executors import run_cell

        for job in jobs:
            yield run_cell(job, device=self._device, reporter=reporter)
