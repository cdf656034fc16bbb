"""Executors that run cells on this machine and on clusters.

- `local`: one process per cell, on the CPU or on all visible GPUs
- `inline`: in this process, one cell after another
- `ray`: a Ray cluster whose machines share no disk (extra `ray`)
- `slurm`: a Slurm job array on a shared disk (extra `slurm`)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import import_module

import benchmark
from bench_executors.parameters import LocalParams, RayParams, SlurmParams


@benchmark.hookimpl
def bench_executors() -> Iterable[benchmark.ExecutorSpec]:
    """Two executors for one machine, two for clusters."""
    yield benchmark.ExecutorSpec(
        name="local",
        summary="one process per cell on the CPU or the visible GPUs (default)",
        build=_local,
        params=LocalParams,
    )
    yield benchmark.ExecutorSpec(
        name="inline",
        summary="in this process, one cell after another: for debugging",
        build=_inline,
        exclusive=True,
    )
    yield benchmark.ExecutorSpec(
        name="ray",
        summary='Ray cluster, no shared disk; pip install "repbench[ray]"',
        build=_ray,
        params=RayParams,
    )
    yield benchmark.ExecutorSpec(
        name="slurm",
        summary='Slurm job array, shared disk; pip install "repbench[slurm]"',
        build=_slurm,
        params=SlurmParams,
        exclusive=True,  # Slurm gives each job memory of its own
    )


def _local(context: benchmark.ExecutorContext) -> benchmark.Executor:
    from bench_executors.local import Local

    return Local(context)


def _inline(context: benchmark.ExecutorContext) -> benchmark.Executor:
    from bench_executors.inline import Inline

    return Inline(context)


def _ray(context: benchmark.ExecutorContext) -> benchmark.Executor:
    if not context.params.address:
        # Ray reads this when it is imported. Without it, a Ray on a Mac listens to other machines.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    _require("ray", "ray")
    from bench_executors.ray_executor import RayExecutor

    return RayExecutor(context)


def _slurm(context: benchmark.ExecutorContext) -> benchmark.Executor:
    _require("slurm", "submitit")
    from bench_executors.slurm_executor import SlurmExecutor

    return SlurmExecutor(context)


def _require(extra: str, package: str) -> None:
    """Checks that the package of an extra is installed.

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
