"""Mean colours, with something wrong."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from bench_stranger.mean_colour import MeanColour
from torch import Tensor

import benchmark


class Faulty(MeanColour):
    """A method that learns mean colours until its fault comes up."""

    def __init__(
        self, fault: str, encoder: benchmark.Encoder, layout: benchmark.Layout, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__(encoder, layout, image_shape, "centre")
        self.fault = fault
        self.steps = 0

    def loss(self, batch: benchmark.Batch) -> benchmark.Losses:
        """The loss of one batch, or whatever goes wrong."""
        self.steps += 1
        if self.fault == "fault_loss":
            raise RuntimeError("the stranger's loss went wrong")
        if self.fault == "fault_killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "fault_exits":
            os._exit(7)
        if self.fault == "fault_waits":
            _wait_at_the_gate()
        losses = super().loss(batch)
        if self.fault == "fault_nan" and self.steps == 3:
            return benchmark.Losses(total=losses.total * float("nan"), parts=losses.parts)
        if self.fault == "fault_detached":
            return benchmark.Losses(total=self._without_the_encoder(batch))
        return losses

    def _without_the_encoder(self, batch: benchmark.Batch) -> Tensor:
        return self.head(self.encoder.vector(batch.images).detach()).square().mean()


def _wait_at_the_gate() -> None:
    """Tells its process id beside the gate, and goes on once the gate is gone."""
    gate = os.environ.get("STRANGER_GATE", "")
    if not gate or not Path(gate).exists():
        return
    Path(f"{gate}.reached").write_text(str(os.getpid()))
    while Path(gate).exists():
        time.sleep(0.02)
