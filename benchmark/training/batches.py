"""Provide training batches, from images on the device or streamed to it by a thread.

Both give the same bytes in the same order: the choice changes speed and memory only.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

PREFETCHED_BATCHES = 3
"""Number of buffers for batches that are gathered ahead of the training."""


class BatchSource(Protocol):
    """Training images in batches."""

    def batches(self, order: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch.

        Args:
            order: (N,) int64 on the CPU, the order of the images.
            size: images per batch; the last batch may be smaller.
            steps: number of batches.

        Yields:
            (B, C, H, W) uint8 images and (B,) int64, their positions, both on the device. They are valid until the next
            batch is requested.
        """
        ...


class ResidentBatches:
    """Batches of images that are on the device.

    Args:
        images: (N, C, H, W) uint8.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def batches(self, order: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `BatchSource`. The order is copied to the device once."""
        order = order.to(self.images.device)
        for step in range(steps):
            index = order[step * size : (step + 1) * size]
            yield self.images.index_select(0, index), index


class StreamedBatches:
    """Batches of images in host memory or mapped from a file, which a thread gathers ahead of the training.

    For a GPU the buffers are page-locked and copied asynchronously. A buffer is filled again after its copy has ended.

    Args:
        images: (N, C, H, W) uint8, on the CPU.
        device: where the batches are needed.
    """

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self.images = images
        self.device = device
        self._pinned = device.type == "cuda"

    def batches(self, order: Tensor, size: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `BatchSource`. An error of the thread is raised here."""
        shape = (size, *self.images.shape[1:])
        free: queue.Queue[tuple[Tensor, Any]] = queue.Queue()
        ready: queue.Queue[tuple[Tensor, Tensor, int] | BaseException] = queue.Queue()
        stop = threading.Event()
        for _ in range(PREFETCHED_BATCHES):
            free.put((torch.empty(shape, dtype=self.images.dtype, pin_memory=self._pinned), None))
        worker = threading.Thread(target=self._gather, args=(order, size, steps, free, ready, stop), daemon=True)
        worker.start()
        try:
            for _ in range(steps):
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                buffer, index, count = item
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
            free.put((torch.empty(0), None))  # wakes the thread, which may wait for a buffer
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
        except BaseException as error:  # raised in the thread that trains
            ready.put(error)


def batch_source_for(images: Tensor, device: torch.device, *, streamed: bool = False) -> BatchSource:
    """The source of batches: streamed if the images are not on the device, or if `streamed` requests it."""
    return StreamedBatches(images, device) if streamed or images.device != device else ResidentBatches(images)
