"""How and where cells run: the options as typed, and the configuration that they resolve to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Accelerate, Item
from benchmark.api.grammar import parse_items
from benchmark.api.parameters import as_dict, bind
from benchmark.errors import UsageError
from benchmark.execution.cell_state import Rerun
from benchmark.execution.devices import cores, expected_devices, resolve_devices
from benchmark.plain_text import one_line, shortened

MAX_SLOTS = 1024
"""Cells at once on one device."""
MEMORY_SHARE = 0.9
"""Fraction of a device's memory that cells may hold together. The rest is for memory that records do not count, such as
that of CUDA itself."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run, as typed on the command line."""

    out: Path
    """Output folder: one folder per cell, and `scores.csv`."""
    data_dir: Path
    """Folder of downloaded datasets."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:0,1`."""
    executor: str = "local"
    """An item: `local`, `inline`, `ray[gpus=1]`."""
    threads: int = 1
    """CPU threads of each cell."""
    rerun: Rerun = "failed"
    """Which cells with a record run again."""
    accelerate: Accelerate = "auto"
    """How training steps are accelerated."""
    per_device: str = "auto"
    """Number of cells that run at once on each device, or `auto`: 1 on a GPU, cores / threads on the CPU."""
    timeout: float | None = None
    """Seconds without progress after which a cell is stopped; None: never."""
    checkpoint_minutes: float = 1.0
    """Least time between two checkpoints of a cell."""
    checkpoint_epochs: int | None = None
    """Number of epochs after which a checkpoint is written in any case; None: by time only."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The configuration of a run, with every option resolved."""

    out: Path
    data_dir: Path
    executor: Item
    devices: tuple[str, ...]
    """`("cpu",)` or one `cuda:N` for each GPU."""
    slots: int
    """Cells at once on each device."""
    threads: int
    """CPU threads of each cell."""
    rerun: Rerun = "failed"
    accelerate: Accelerate = "auto"
    timeout: float | None = None
    """Seconds without progress after which a cell is stopped; None: never."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints of a cell."""
    checkpoint_epochs: int | None = None
    """Number of epochs after which a checkpoint is written in any case; None: by time only."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Device -> bytes that cells may hold there together."""


def expected_config(options: RunOptions, catalog: Catalog) -> RunConfig:
    """The configuration that options are expected to mean on this machine. Imports no torch, unless they name GPUs.

    Raises:
        UsageError: an executor or device that does not exist, or a value that is not possible.
    """
    executor = _executor(options.executor, catalog)
    devices = expected_devices(options.device)
    return RunConfig(
        out=options.out,
        data_dir=options.data_dir,
        executor=executor,
        devices=devices,
        slots=slots_per_device(options, devices),
        threads=options.threads,
        rerun=options.rerun,
        accelerate=options.accelerate,
        timeout=options.timeout,
        checkpoint_seconds=60 * options.checkpoint_minutes,
        checkpoint_epochs=options.checkpoint_epochs,
    )


def resolve(options: RunOptions, catalog: Catalog) -> RunConfig:
    """The configuration that options mean on this machine. Imports torch.

    Raises:
        UsageError: as `expected_config`.
    """
    devices = resolve_devices(options.device)
    return dataclasses.replace(
        expected_config(options, catalog),
        devices=devices,
        slots=slots_per_device(options, devices),
        memory=_memory(devices),
    )


def _executor(text: str, catalog: Catalog) -> Item:
    selections = parse_items([text])
    if len(selections) != 1:
        raise UsageError(f"--executor {text}: name exactly one executor")
    name, params = selections[0].name, dict(selections[0].params)
    spec = catalog.find(catalog.executors, "executor", name).spec
    return Item(name=name, params=as_dict(bind(spec.params, params, f"executor '{spec.name}'")))


def slots_per_device(options: RunOptions, devices: Sequence[str]) -> int:
    """Cells at once on each device.

    Raises:
        UsageError: --per-device is neither a positive number nor `auto`.
    """
    text = options.per_device.strip()
    if text == "auto":
        return max(1, cores() // options.threads) if tuple(devices) == ("cpu",) else 1
    if not text.isdecimal() or len(text) > len(str(MAX_SLOTS)) or not 1 <= int(text) <= MAX_SLOTS:
        shown = one_line(shortened(text, 60)) or "''"
        raise UsageError(f"--per-device {shown}: write the number of cells at once, 1 to {MAX_SLOTS}, or auto")
    return int(text)


def _memory(devices: Sequence[str]) -> dict[str, int]:
    """Device -> bytes that cells may hold there together: a share of the host's free memory, or of a GPU's memory."""
    import torch

    from benchmark.training.memory import free_memory

    sizes = {
        device: free_memory(torch.device(device))
        if device == "cpu"
        else torch.cuda.get_device_properties(device).total_memory
        for device in devices
    }
    return {device: int(MEMORY_SHARE * size) for device, size in sizes.items()}
