"""The Ray that cells run on: started here or joined, what a cell needs of it, and how many it has room for."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import benchmark
from bench_executors.clusters import RayParams
from benchmark.progress import Event, Reporter

CARRIED = ("BENCH_PLUGINS", "BENCH_DATA", "PYTHONPATH")
"""Of the head's environment, what decides which plugins and data a cell finds."""
GPU_STEP = 10_000
"""Ray counts GPUs in ten-thousandths."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What every cell asks of a node."""

    cpus: int
    gpus: float
    """In [0, 1]."""
    memory: bool
    """Whether it asks for the memory that it is expected to hold."""


def needs(context: benchmark.ExecutorContext, params: RayParams) -> Needs:
    """What a cell asks for: its threads and, where cells run on GPUs, a slot's part of one."""
    gpus = params.gpus
    if not gpus and context.devices != ("cpu",):
        gpus = math.floor(GPU_STEP / context.slots) / GPU_STEP
    return Needs(cpus=context.threads, gpus=gpus, memory=params.memory)


@contextlib.contextmanager
def connected(context: benchmark.ExecutorContext, params: RayParams) -> Iterator[None]:
    """Within it there is a Ray: one that this program has joined before, the cluster at the address, or one of our own.

    Raises:
        UsageError: no Ray answers at the address, or none can be started.
    """
    if ray.is_initialized():
        yield
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nobody is told that this was run
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if params.address:
            ray.init(address=params.address, **quiet)
        else:
            with _chosen_gpus(context.devices):
                ray.init(address="local", include_dashboard=False, **_own_resources(context), **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        asked = f"no Ray answers at address={params.address}" if params.address else "no Ray can be started here"
        raise benchmark.UsageError(
            f"executor 'ray': {asked} ({reason}); run `ray start --head` and give its host:port, or leave the address out"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _own_resources(context: benchmark.ExecutorContext) -> dict[str, int]:
    if context.devices == ("cpu",):
        return {"num_cpus": context.slots * context.threads, "num_gpus": 0}
    gpus = len(context.devices)
    return {"num_cpus": max(os.cpu_count() or 1, gpus * context.slots * context.threads), "num_gpus": gpus}


@contextlib.contextmanager
def _chosen_gpus(devices: tuple[str, ...]) -> Iterator[None]:
    """A Ray that is started within it sees only the GPUs that were asked for."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    if devices != ("cpu",):
        mine = [name.strip() for name in (before or "").split(",") if name.strip()]
        numbers = [device.partition(":")[2] for device in devices]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine[int(each)] if mine else each for each in numbers)
    try:
        yield
    finally:
        if devices != ("cpu",):
            del os.environ["CUDA_VISIBLE_DEVICES"]
            os.environ.update({} if before is None else {"CUDA_VISIBLE_DEVICES": before})


def environment() -> dict[str, Any]:
    """Ray's description of the environment that the head's plugins and data are found in."""
    found = {name: os.environ[name] for name in CARRIED if os.environ.get(name)}
    return {"env_vars": found} if found else {}


def beside_me(kind: type) -> Any:
    """An actor on the head's own machine, which Ray starts anew should its process die."""
    node = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": node, "runtime_env": environment()}
    return ray.remote(kind).options(**options).remote()


def options(needed: Needs, job: benchmark.Job) -> dict[str, Any]:
    """Ray's options of a cell's task. It is we who try again, so that each time is counted and told of."""
    found: dict[str, Any] = {"num_cpus": needed.cpus, "num_gpus": needed.gpus, "max_retries": 0}
    if job.exclusive:
        # All of a node's CPUs, or the whole GPU: nobody else is there.
        found["num_gpus"] = math.ceil(needed.gpus)
        if not needed.gpus:
            found["num_cpus"] = max([needed.cpus, *_of_nodes("CPU")])
    elif needed.memory and job.memory and not needed.gpus:
        found["memory"] = job.memory
    return {**found, "runtime_env": environment()}


def room(needed: Needs) -> int:
    """Cells that all nodes together can carry out at once, as the cluster is now."""
    cpus, gpus = _of_nodes("CPU"), _of_nodes("GPU")
    fit = [int(each // needed.cpus) for each in cpus]
    if needed.gpus:
        fit = [min(one, int(each / needed.gpus + 1e-6)) for one, each in zip(fit, gpus, strict=False)]
    return sum(fit)


def warn(needed: Needs, reporter: Reporter) -> None:
    """Says so where no node could carry out a cell: Ray would wait, for one that joins perhaps."""
    if room(needed) == 0:
        gpus = f" and {needed.gpus:g} GPUs" if needed.gpus else ""
        text = f"no node of the Ray cluster has {needed.cpus} CPUs{gpus} for a cell; waiting for one that has"
        reporter(Event(kind="note", cell="", text=text))


def _of_nodes(resource: str) -> list[float]:
    """How much of a resource each node has that lives; no nodes where Ray cannot say just now."""
    try:
        return [float(node["Resources"].get(resource, 0.0)) for node in ray.nodes() if node["Alive"]]
    except exceptions.RayError:
        return []
