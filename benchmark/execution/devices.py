"""Which devices a command line means: `auto`, `cpu`, `cuda`, `cuda:0,1`. Imports torch only if it must look."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmark.errors import UsageError


def resolve_devices(text: str) -> tuple[str, ...]:
    """Names of the devices: `("cpu",)`, or one `cuda:N` for each GPU.

    Args:
        text: `auto` (all visible GPUs, else the CPU), `cpu`, `cuda` (all visible GPUs) or `cuda:0,1`.

    Raises:
        UsageError: no such device here.
    """
    if text == "cpu":
        return ("cpu",)
    if text not in ("auto", "cuda") and not text.startswith("cuda:"):
        raise UsageError(f"--device {text}: there is auto, cpu, cuda and cuda:0,1 (numbers of GPUs)")
    count = _gpus()
    if text in ("auto", "cuda"):
        if count == 0 and text == "cuda":
            raise UsageError(
                "--device cuda: torch sees no GPU here; use --device cpu, or install a driver and a CUDA torch"
            )
        return tuple(f"cuda:{index}" for index in range(count)) or ("cpu",)
    indices = text.removeprefix("cuda:").split(",")
    wrong = [index for index in indices if not index.strip().isdecimal() or int(index) >= count]
    if wrong:
        there = f"GPUs 0 to {count - 1}" if count else "no GPU"
        raise UsageError(f"--device {text}: there is no GPU '{wrong[0]}'; torch sees {there}. Use --device auto")
    return tuple(f"cuda:{int(index)}" for index in indices)


def expected_devices(text: str) -> tuple[str, ...]:
    """What `resolve_devices` will most likely say, without torch: for plans, which are to answer at once."""
    if text == "cpu":
        return ("cpu",)
    if text.startswith("cuda:"):
        return tuple(f"cuda:{index.strip()}" for index in text.removeprefix("cuda:").split(","))
    return tuple(f"cuda:{index}" for index in range(_driven())) or ("cpu",)


def _driven() -> int:
    """GPUs that NVIDIA's driver shows here and CUDA_VISIBLE_DEVICES does not hide."""
    there = len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdecimal()])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if visible is None else min(there, len([name for name in visible.split(",") if name.strip()]))


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads in torch, FAISS and BLAS, and what was there before afterwards.

    Set at run time: a process forked from a server inherits an environment that was read long ago.
    """
    import faiss
    import threadpoolctl

    torch_before, faiss_before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(count)
    faiss.omp_set_num_threads(count)
    try:
        with threadpoolctl.threadpool_limits(limits=count):
            yield
    finally:
        torch.set_num_threads(torch_before)
        faiss.omp_set_num_threads(faiss_before)
