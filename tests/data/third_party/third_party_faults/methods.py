"""Methods that predict mean colors, each with a fault."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import sys
import time
from pathlib import Path

import torch
from bench_third_party.mean_color import MeanColor
from torch import Tensor

import benchmark
from third_party_faults import leftovers
from third_party_faults.activity import gate, note, wait_at_the_gate

STEPS = 6
"""Steps of every training here: 2 epochs of 48 images in batches of 16."""
failures: list[str] = []
"""How the evaluator `fragile` fails in this process."""


class Faulty(MeanColor):
    """Learns mean colors until its fault occurs."""

    def __init__(
        self, fault: str, encoder: benchmark.Encoder, layout: benchmark.Layout, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__(encoder, layout, image_shape, "center")
        self.fault = fault
        self.steps = 0

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of one batch, or the fault."""
        self.steps += 1
        fault = FAULTS.get(self.fault)
        if fault is not None:
            fault(self.steps)
        losses = super().loss(batch)
        if self.fault == "fault_nan" and self.steps == 3:
            return benchmark.Losses(total=losses.total * float("nan"), parts=losses.parts)
        if self.fault == "fault_detached":
            return benchmark.Losses(total=self._without_the_encoder(batch))
        return losses

    def _without_the_encoder(self, batch: benchmark.Batch) -> Tensor:
        return self.head(self.encoder.vector(batch.images).detach()).square().mean()


class OutOfMemory(MeanColor):
    """Runs out of memory if a batch has more images than fit; logs the size of each batch."""

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__(context.encoder, context.layout, context.image_shape, "center")
        self.params = context.params

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of a batch that fits."""
        size = len(batch.images)
        note("batch", f"{self.params.kind}/{size}")
        if size > self.params.fits and self._runs_out():
            raise {
                "torch": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
                "python": MemoryError("unable to allocate 20 GiB"),
                "allocator": RuntimeError(
                    "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: "
                    "you tried to allocate 21474836480 bytes. Error code 12 (Cannot allocate memory)"
                ),
            }[self.params.kind]
        return super().loss(batch)

    def _runs_out(self) -> bool:
        """Whether all processes together have run out of memory less often than `times`."""
        folder = Path(f"{os.environ['THIRD_PARTY_ACTIVITY']}.{self.params.kind}-{self.params.times}")
        folder.mkdir(exist_ok=True)
        before = len(list(folder.iterdir()))
        (folder / f"{os.getpid()}-{before}").touch()
        return before < self.params.times


class FailsLater(MeanColor):
    """Trains normally, and makes the evaluator `fragile` of its process fail."""

    def __init__(self, context: benchmark.MethodContext) -> None:
        super().__init__(context.encoder, context.layout, context.image_shape, "center")
        self.how = context.params.how

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of one batch."""
        failures[:] = [self.how]
        return super().loss(batch)


def _raise(step: int) -> None:
    raise RuntimeError("the third-party loss failed")


def _kill(step: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(step: int) -> None:
    os._exit(7)


def _give_up(step: int) -> None:
    sys.exit("the third-party method gives up")


def _segfault(step: int) -> None:
    sys.stdout.write("the third-party method reads an invalid address\n")
    sys.stdout.flush()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def _hang(step: int) -> None:
    sys.stderr.write("the third-party method sleeps\n")
    sys.stderr.flush()
    while True:
        time.sleep(3600)


def _ignore_interrupts(step: int) -> None:
    note("stubborn", "-")
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(3600)


def _raise_at_the_gate(step: int) -> None:
    note("step", "fault_heals")
    if step == 5 and gate() is not None:
        raise RuntimeError("the third-party method fails for now")


def _fill_the_disk(step: int) -> None:
    if step < STEPS:
        return
    block = b"\0" * 4096
    # Whole blocks first, then single bytes for the rest of the last block.
    for name, piece in (("fill-1", block), ("fill-2", b"\0")):
        handle = os.open(Path(os.environ["THIRD_PARTY_DISK"]) / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        try:
            while True:
                os.write(handle, piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(handle)


def _wait_at_the_gate(step: int) -> None:
    """Writes its process id beside the gate, and waits until the gate file is deleted."""
    closed = gate()
    if closed is not None:
        closed.with_name(f"{closed.name}.reached").write_text(str(os.getpid()))
        wait_at_the_gate()


FAULTS = {
    "fault_loss": _raise,
    "fault_killed": _kill,
    "fault_exits": _exit,
    "fault_gives_up": _give_up,
    "fault_segfault": _segfault,
    "fault_hangs": _hang,
    "fault_stubborn": _ignore_interrupts,
    "fault_heals": _raise_at_the_gate,
    "fault_fills": _fill_the_disk,
    "fault_waits": _wait_at_the_gate,
    **leftovers.FAULTS,
}
"""Method -> what happens before the loss of a step; the argument is the number of the step, from 1."""
