"""Devices and CPU threads: `auto`, `cpu`, `cuda`, `cuda:0,1`. Only `resolve_devices` and `threads` import torch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from benchmark.cores import available_cores
from benchmark.errors import UsageError


def resolve_devices(text: str) -> tuple[str, ...]:
    """Device names: `("cpu",)`, or one `cuda:N` for each GPU.

    Args:
        text: `auto` (all visible GPUs, else the CPU), `cpu`, `cuda` (all visible GPUs) or `cuda:0,1`.

    Raises:
        UsageError: the device does not exist on this machine.
    """
    if text == "cpu":
        return ("cpu",)
    if text not in ("auto", "cuda") and not text.startswith("cuda:"):
        raise UsageError(f"--device {text} is unknown; write auto, cpu, cuda or cuda:0,1 (indices of GPUs)")
    count = _count_gpus()
    if text in ("auto", "cuda"):
        if count == 0 and text == "cuda":
            raise UsageError(
                "--device cuda: torch finds no GPU on this machine; use --device cpu, or install a driver and torch with CUDA"
            )
        return tuple(f"cuda:{index}" for index in range(count)) or ("cpu",)
    indices = text.removeprefix("cuda:").split(",")
    missing = [index for index in indices if not index.strip().isdecimal() or int(index) >= count]
    if missing:
        gpus = f"GPUs 0 to {count - 1}" if count else "no GPU"
        raise UsageError(f"--device {text}: no GPU '{missing[0]}'; torch finds {gpus}. Use --device auto")
    return tuple(f"cuda:{int(index)}" for index in indices)


def expected_devices(text: str) -> tuple[str, ...]:
    """The expected result of `resolve_devices`, so that plans are fast: torch is imported only if GPUs are named.

    Raises:
        UsageError: as `resolve_devices`.
    """
    if text != "auto":
        return resolve_devices(text)
    return tuple(f"cuda:{index}" for index in range(_count_gpus_of_driver())) or ("cpu",)


def _count_gpus_of_driver() -> int:
    """GPUs that NVIDIA's driver has here and that CUDA_VISIBLE_DEVICES does not hide."""
    count = len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdecimal()])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return count if visible is None else min(count, len([name for name in visible.split(",") if name.strip()]))


def cores() -> int:
    """CPU cores that this process may use."""
    return available_cores()


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Sets the number of threads of torch, FAISS and BLAS inside the block.

    They are set at run time, because a process that is forked from a server inherits settings that were read when the
    server started.
    """
    import faiss
    import threadpoolctl
    import torch

    torch_before, faiss_before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(count)
    faiss.omp_set_num_threads(count)
    try:
        with threadpoolctl.threadpool_limits(limits=count):
            yield
    finally:
        torch.set_num_threads(torch_before)
        faiss.omp_set_num_threads(faiss_before)
