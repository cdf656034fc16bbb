"""Executors: where cells run. `local` gives each cell a process of its own, `inline` runs them here, one by one."""

from __future__ import annotations

from collections.abc import Iterable

import benchmark


@benchmark.hookimpl
def bench_executors() -> Iterable[benchmark.ExecutorSpec]:
    """The two executors of one machine."""
    yield benchmark.ExecutorSpec(
        name="local",
        summary="one process a cell, slots on each visible GPU or on the CPU (default)",
        build=_local,
    )
    yield benchmark.ExecutorSpec(
        name="inline",
        summary="in this process, one cell after another: for a debugger and for tests",
        build=_inline,
    )


def _local(context: benchmark.ExecutorContext) -> benchmark.Executor:
    from bench_executors.local import Local

    return Local(context)


def _inline(context: benchmark.ExecutorContext) -> benchmark.Executor:
    from bench_executors.inline import Inline

    return Inline(context)
