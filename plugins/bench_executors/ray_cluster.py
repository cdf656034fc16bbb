"""The Ray cluster that cells run on: start or join it, what a cell reserves, and how many cells fit at once."""

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
from bench_executors.parameters import RayParams
from benchmark.cores import available_cores
from benchmark.progress import Event, Reporter

FORWARDED = ("BENCH_PLUGINS", "BENCH_LEFT_OUT", "BENCH_DATA", "PYTHONPATH")
"""Environment variables of the head that nodes get, so that cells find the same plugins and data."""
GPU_UNIT = 10_000
"""Ray counts GPUs in ten-thousandths."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Resources that every cell reserves on a node."""

    cpus: int
    gpus: float
    """In [0, 1]."""
    memory: bool
    """Whether it reserves its expected memory."""


def needs(context: benchmark.ExecutorContext, params: RayParams) -> Needs:
    """What a cell reserves: its threads and, on GPUs, a slot's part of one."""
    gpus = params.gpus
    if not gpus and context.devices != ("cpu",):
        gpus = math.floor(GPU_UNIT / context.slots) / GPU_UNIT
    return Needs(cpus=context.threads, gpus=gpus, memory=params.memory)


@contextlib.contextmanager
def connected(context: benchmark.ExecutorContext, params: RayParams) -> Iterator[None]:
    """Inside the block, Ray is available: a connection of this process, the cluster at the address, or a new local Ray.

    Raises:
        UsageError: no Ray answers at the address, or Ray cannot be started.
    """
    if ray.is_initialized():
        yield
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # send no usage statistics
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if params.address:
            ray.init(address=params.address, **quiet)
        else:
            with visible_gpus(context.devices):
                ray.init(address="local", include_dashboard=False, **_local_resources(context), **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        problem = f"no Ray answers at address={params.address}" if params.address else "Ray cannot be started here"
        raise benchmark.UsageError(
            f"executor 'ray': {problem} ({reason}); run `ray start --head` and pass its host:port as address, or leave "
            "address out to start Ray here"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _local_resources(context: benchmark.ExecutorContext) -> dict[str, int]:
    if context.devices == ("cpu",):
        return {"num_cpus": context.slots * context.threads, "num_gpus": 0}
    gpus = len(context.devices)
    return {"num_cpus": max(available_cores(), gpus * context.slots * context.threads), "num_gpus": gpus}


@contextlib.contextmanager
def visible_gpus(devices: tuple[str, ...]) -> Iterator[None]:
    """A Ray that starts inside the block sees only these GPUs."""
    original = os.environ.get("CUDA_VISIBLE_DEVICES")
    if devices != ("cpu",):
        visible = [name.strip() for name in (original or "").split(",") if name.strip()]
        indices = [device.partition(":")[2] for device in devices]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible[int(index)] if visible else index for index in indices)
    try:
        yield
    finally:
        if devices != ("cpu",):
            del os.environ["CUDA_VISIBLE_DEVICES"]
            os.environ.update({} if original is None else {"CUDA_VISIBLE_DEVICES": original})


def environment() -> dict[str, Any]:
    """Ray's `runtime_env` with the forwarded variables."""
    variables = {name: os.environ[name] for name in FORWARDED if os.environ.get(name)}
    return {"env_vars": variables} if variables else {}


def actor_on_head(kind: type) -> Any:
    """An actor on the head's machine. Ray restarts it if its process dies."""
    node = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=True)
    options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": node, "runtime_env": environment()}
    return ray.remote(kind).options(**options).remote()


def task_options(needed: Needs, job: benchmark.Job) -> dict[str, Any]:
    """Ray's options for a cell's task. Ray itself does not retry, so that each try is counted and reported."""
    options: dict[str, Any] = {"num_cpus": needed.cpus, "num_gpus": needed.gpus, "max_retries": 0}
    if job.exclusive:
        # The whole GPU, or all CPUs of a node: no other cell runs there.
        options["num_gpus"] = math.ceil(needed.gpus)
        if not needed.gpus:
            options["num_cpus"] = max([needed.cpus, *_per_node("CPU")])
    elif needed.memory and job.memory and not needed.gpus:
        options["memory"] = job.memory
    return {**options, "runtime_env": environment()}


def capacity(needed: Needs) -> int:
    """Number of cells that all present nodes can run at once."""
    cpus, gpus = _per_node("CPU"), _per_node("GPU")
    cells = [int(count // needed.cpus) for count in cpus]
    if needed.gpus:
        cells = [min(fit, int(count / needed.gpus + 1e-6)) for fit, count in zip(cells, gpus, strict=False)]
    return sum(cells)


def warn_if_too_small(needed: Needs, reporter: Reporter) -> None:
    """Reports that no node can run a cell. Ray then waits for a node that joins."""
    if capacity(needed) == 0:
        gpus = f" and {needed.gpus:g} GPUs" if needed.gpus else ""
        text = f"no node of the Ray cluster has the {needed.cpus} CPUs{gpus} that a cell needs; waiting for such a node"
        reporter(Event(kind="note", cell="", text=text))


def _per_node(resource: str) -> list[float]:
    """The amount of a resource on each living node; empty if Ray does not answer."""
    try:
        return [float(node["Resources"].get(resource, 0.0)) for node in ray.nodes() if node["Alive"]]
    except exceptions.RayError:
        return []
