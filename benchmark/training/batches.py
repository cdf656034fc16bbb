"""Where training batches come from: images that lie on the device, or a larger set that is streamed to it.

Both give the same bytes in the same order, so that which of them is used changes speed and memory and nothing else.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

DEPTH = 3
"""Batches that are made ready ahead of the one that is trained on."""
RESIDENT_SHARE = 0.5
"""Part of the device's free memory that a dataset may take before it is streamed instead."""


NO_LIMIT = 2**62
"""Bytes, where nothing is known."""


class BatchSource(Protocol):
    """Training images by the batch."""

    def batches(self, order: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Raw images and their positions, step by step.

        Args:
            order: (N,) int64 on the CPU, the epoch's permutation.
            size: images in a batch; the last one may be smaller.
            steps: how many batches are wanted.

        Yields:
            (B, C, H, W) uint8 and (B,) int64, on the device; valid until the next is asked for.
        """
        ...


class ResidentBatches:
    """Images (N, C, H, W) uint8 that lie on the device already."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def batches(self, order: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Feed`; the permutation is copied to the device once."""
        order = order.to(self.images.device)
        for step in range(steps):
            index = order[step * size : (step + 1) * size]
            yield self.images.index_select(0, index), index


class StreamedBatches:
    """Images (N, C, H, W) uint8 in the host's memory or mapped from a file: a thread gathers batches ahead.

    Batches are gathered into page-locked buffers and copied asynchronously where the device is a GPU; a buffer is used
    again only when its copy has ended.

    Args:
        images: on the CPU.
        device: where batches are wanted.
    """

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self.images = images
        self.device = device
        self._pinned = device.type == "cuda"

    def batches(self, order: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `Feed`. What goes wrong while reading is raised here, not in the thread."""
        shape = (size, *self.images.shape[1:])
        free: queue.Queue[tuple[Tensor, Any]] = queue.Queue()
        ready: queue.Queue[tuple[Tensor, Tensor, int] | BaseException] = queue.Queue()
        stop = threading.Event()
        for _ in range(DEPTH):
            free.put((torch.empty(shape, dtype=self.images.dtype, pin_memory=self._pinned), None))
        worker = threading.Thread(target=self._gather, args=(order, size, steps, free, ready, stop), daemon=True)
        worker.start()
        try:
            for _ in range(steps):
                found = ready.get()
                if isinstance(found, BaseException):
                    raise found
                buffer, index, count = found
                if self._pinned:
                    raw = buffer[:count].to(self.device, non_blocking=True)
                    copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                    copied.record()
                    free.put((buffer, copied))
                    yield raw, index.to(self.device, non_blocking=True)
                else:
                    yield buffer[:count], index
                    free.put((buffer, None))
        finally:
            stop.set()
            free.put((torch.empty(0), None))  # wakes the thread if it waits for a buffer
            worker.join()

    def _gather(
        self,
        order: Tensor,
        size: int,
        steps: int,
        free: queue.Queue[tuple[Tensor, Any]],
        ready: queue.Queue[tuple[Tensor, Tensor, int] | BaseException],
        stop: threading.Event,
    ) -> None:
        try:
            for step in range(steps):
                buffer, copied = free.get()
                if stop.is_set():
                    return
                if copied is not None:
                    copied.synchronize()
                index = order[step * size : (step + 1) * size]
                torch.index_select(self.images, 0, index, out=buffer[: len(index)])
                pinned = index.pin_memory() if self._pinned else index
                ready.put((buffer, pinned, len(index)))
        except BaseException as error:  # handed to the thread that trains, which raises it
            ready.put(error)


def batch_source_for(images: Tensor, device: torch.device, *, streamed: bool = False) -> BatchSource:
    """Resident where the images lie on the device; streamed where they do not, or where that is asked for."""
    return StreamedBatches(images, device) if streamed or images.device != device else ResidentBatches(images)


def fits_in_memory(size: int, device: torch.device) -> bool:
    """Whether so many bytes of images may lie in the device's memory, with the rest left to the training."""
    return size <= RESIDENT_SHARE * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had: of the GPU, or of the host (where that cannot be asked, no limit)."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return min(_available(), _allowed())


def _available() -> int:
    """Bytes that the machine has left."""
    with contextlib.suppress(OSError, ValueError), Path("/proc/meminfo").open(encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return NO_LIMIT


def _allowed() -> int:
    """Bytes that a container has left, where this process runs in one that has a limit."""
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text(encoding="ascii"))  # "max" where there is none
        return max(0, limit - int((group / "memory.current").read_text(encoding="ascii")))
    return NO_LIMIT
