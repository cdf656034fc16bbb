"""Executors: where cells run. `local` gives each cell a process of its own, `inline` runs them here, one by one.

`ray` sends cells to machines that share no disk, `slurm` to those that share one; both are extras.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module

import benchmark
from bench_executors.clusters import RayParams, SlurmParams
from bench_executors.parameters import LocalParams


@benchmark.hookimpl
def bench_executors() -> Iterable[benchmark.ExecutorSpec]:
    """Two executors of one machine, two of many."""
    yield benchmark.ExecutorSpec(
        name="local",
        summary="one process a cell, slots on each visible GPU or on the CPU (default)",
        build=_local,
        params=LocalParams,
    )
    yield benchmark.ExecutorSpec(
        name="inline",
        summary="in this process, one cell after another: for a debugger and for tests",
        build=_inline,
    )
    yield benchmark.ExecutorSpec(
        name="ray",
        summary='a Ray cluster whose machines need share no disk; pip install "repbench[ray]"',
        build=_ray,
        params=RayParams,
    )
    yield benchmark.ExecutorSpec(
        name="slurm",
        summary='a Slurm job array, all on one shared disk; pip install "repbench[slurm]"',
        build=_slurm,
        params=SlurmParams,
    )


def _local(context: benchmark.ExecutorContext) -> benchmark.Executor:
    from bench_executors.local import Local

    return Local(context)


def _inline(context: benchmark.ExecutorContext) -> benchmark.Executor:
    from bench_executors.inline import Inline

    return Inline(context)


def _ray(context: benchmark.ExecutorContext) -> benchmark.Executor:
    if not context.params.address:
        # Ray reads it when it is imported; a Ray of this machine then answers nobody from outside, as on a Mac.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    _require("ray", "ray")
    from bench_executors.on_ray import OnRay

    return OnRay(context)


def _slurm(context: benchmark.ExecutorContext) -> benchmark.Executor:
    _require("slurm", "submitit")
    from bench_executors.on_slurm import OnSlurm

    return OnSlurm(context)


def _require(extra: str, package: str) -> None:
    """An extra's package is installed.

    Raises:
        UsageError: it is not.
    """
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise benchmark.UsageError(
            f"executor '{extra}' needs the package {package}, which is not installed; pip install \"repbench[{extra}]\""
        ) from error
