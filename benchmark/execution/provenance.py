"""Under which conditions a number came about: versions, commit, device, threads, time."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

import benchmark
from benchmark.api.catalog import Catalog, versions
from benchmark.api.cells import Cell, Json


def provenance(cell: Cell, catalog: Catalog, device: torch.device, threads: int) -> Json:
    """What stands under `provenance` in a record: all of it recorded, none of it part of a cell's identity."""
    commit, dirty = _commit()
    return {
        "plugins": dict(versions(catalog)),
        "versions": {"method": cell.method.version, "encoder": cell.encoder.version, "dataset": cell.dataset.version},
        **environment(device, threads),
        "commit": commit,
        "dirty": dirty,
    }


def environment(device: torch.device, threads: int) -> Json:
    """Versions, commit (with + if tracked files differ from it), device, threads and time of a measurement."""
    commit, dirty = _commit()
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


def _commit() -> tuple[str | None, bool | None]:
    """The commit of the checkout that repbench runs from, and whether tracked files differ; None outside one."""
    root = Path(benchmark.__file__).resolve().parents[1]

    def git(*words: str) -> str:
        return subprocess.run(  # noqa: S603  # fixed words, no shell
            ["git", "-C", str(root), *words],  # noqa: S607  # the user's own git
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        ).stdout.strip()

    if not (root / ".git").exists():
        return None, None
    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None
