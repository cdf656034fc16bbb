"""Record a training step as a CUDA graph, and replay it with one launch instead of hundreds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from benchmark.api.methods import Batch
from benchmark.errors import PLUGIN_ERRORS


class CaptureError(Exception):
    """Why a step cannot be captured."""


class CapturedStep:
    """A training step recorded as a CUDA graph.

    Args:
        step: does everything of a step on the device, from `inputs` to the optimizer's step. Its tensors keep their
            addresses, and it draws only from `generator` and from the device's default generator.
        inputs: tensors on the device that `step` reads. Each replay fills them.
        generator: on the device. It is registered, so that a replay draws what the plain step would have drawn.

    Raises:
        CaptureError: the step cannot be recorded, for example because it waits for the device.
    """

    def __init__(self, step: Callable[[], None], inputs: Sequence[Tensor], generator: torch.Generator) -> None:
        self._inputs = tuple(inputs)
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        torch.cuda.synchronize()
        try:
            with torch.cuda.graph(self._graph):
                step()
        except PLUGIN_ERRORS as error:  # plugin code; CUDA raises many kinds of errors while it records
            raise CaptureError(one_line(error)) from error

    def replay(self, *inputs: Tensor) -> None:
        """Runs the step on other inputs of the same shapes, without waiting for the device."""
        for target, value in zip(self._inputs, inputs, strict=True):
            target.copy_(value, non_blocking=True)
        self._graph.replay()


class _BatchWithoutProgress(Batch):
    def __getattribute__(self, name: str) -> Any:
        if name == "progress":
            raise CaptureError("its loss reads batch.progress, which would be the same in every replay")
        return super().__getattribute__(name)


def without_progress(batch: Batch) -> Batch:
    """The batch that a captured step receives: reading `progress` raises CaptureError."""
    return _BatchWithoutProgress(**{field.name: getattr(batch, field.name) for field in fields(Batch)})


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Runs the work on a separate stream, as CUDA requires of the steps before a capture."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


def one_line(error: BaseException) -> str:
    """An error as one line of text."""
    if isinstance(error, CaptureError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
