"""The conditions under which a number is measured: versions, commit, device, threads, time."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import benchmark
from benchmark.api.catalog import Catalog
from benchmark.api.cells import Cell, Item, Json
from benchmark.api.source_code import source_of_core, source_of_module
from benchmark.errors import UsageError

if TYPE_CHECKING:
    import torch


def provenance(cell: Cell, catalog: Catalog, device: torch.device, threads: int, sources: Json) -> Json:
    """The `provenance` of a record. All of it is recorded, and none of it is part of a cell's identity."""
    commit, dirty = checkout(Path(benchmark.__file__).parent)
    return {
        "plugins": catalog.versions(),
        "versions": {"method": cell.method.version, "encoder": cell.encoder.version, "dataset": cell.dataset.version},
        **environment(device, threads),
        "commit": commit,
        "dirty": dirty,
        "sources": sources,
    }


def training_sources(cell: Cell, catalog: Catalog) -> Json:
    """Fingerprints of the code that trains a cell: repbench's, and those of the plugins that it takes part of the cell from.

    A cell of a method with an encoder of its own has no plugin for the encoder.
    """
    sources: Json = {"benchmark": source_of_core()}
    for kind, item in (("method", cell.method), ("encoder", cell.encoder), ("dataset", cell.dataset)):
        source = item_source(catalog, kind, item) if item.provider else None
        if source is not None:
            sources[kind] = source
    return sources


def item_source(catalog: Catalog, kind: str, item: Item) -> Json | None:
    """The name and the fingerprint of the plugin that provides an item; None if it is missing or cannot be read.

    Args:
        catalog: the installed plugins.
        kind: `method`, `encoder`, `dataset` or `evaluator`.
        item: as planned.
    """
    try:
        provider = catalog.find(getattr(catalog, f"{kind}s"), kind, f"{item.provider}:{item.name}").provider
    except UsageError:
        return None  # the stage that needs the plugin says so
    source = source_of_module(provider.module) if provider.module else None
    return None if source is None else {"plugin": provider.full_name, "source": source}


def environment(device: torch.device, threads: int) -> Json:
    """Versions, commit (with `+` if tracked files are modified), device, threads and time of a measurement."""
    import torch

    commit, dirty = checkout(Path(benchmark.__file__).parent)
    gpu = device.type == "cuda"
    return {
        "time": now(),
        "repbench": benchmark.__version__,
        "commit": None if commit is None else f"{commit[:10]}{'+' if dirty else ''}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if gpu else platform.machine(),
        "precision": "bfloat16" if gpu and torch.cuda.is_bf16_supported() else "float32",
        "threads": threads,
    }


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@functools.cache
def checkout(package: Path) -> tuple[str | None, bool | None]:
    """(commit, whether tracked files are modified) of the Git repository that tracks a package.

    Both are None for an installed package, even if its environment lies inside some other repository. The result is kept:
    what counts is the code that this process runs, not later commits.

    Args:
        package: the folder of the package, which holds `__init__.py`.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(  # noqa: S603  # fixed arguments, no shell
            ["git", "-C", str(package), *arguments],  # noqa: S607  # the user's own git
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        ).stdout.strip()

    if not any((folder / ".git").exists() for folder in package.resolve().parents):
        return None, None
    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None
