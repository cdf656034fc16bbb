"""Losses of an epoch, summed where they arise: nothing is read back from the device before the epoch has ended."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.api.methods import Losses
from benchmark.errors import TrainingError


class LossSums:
    """Sums of the losses' parts, and the first step that was not finite with its parts; all on the device.

    The tensors stay where they are from the first step on, so that a captured step can write to them.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._bad: dict[str, Tensor] = {}
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._bad_step = torch.full((), -1, dtype=torch.int64, device=device)

    def reset(self) -> None:
        """Starts an epoch."""
        self._step.zero_()
        self._bad_step.fill_(-1)
        for value in self._sums.values():
            value.zero_()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """All of it, to be written down in the middle of an epoch."""
        counted = {"step": self._step, "bad_step": self._bad_step}
        return {"sums": dict(self._sums), "bad": dict(self._bad), "counted": counted}

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Goes on from a `state`."""
        self._sums = {name: value.to(self._device) for name, value in state["sums"].items()}
        self._bad = {name: value.to(self._device) for name, value in state["bad"].items()}
        self._step.copy_(state["counted"]["step"])
        self._bad_step.copy_(state["counted"]["bad_step"])

    def add(self, losses: Losses) -> None:
        """Takes the losses of a step; nothing is read back."""
        given = {"total": losses.total, **losses.parts}
        values = {name: value.detach().reshape(()) for name, value in given.items()}
        if not self._sums:
            self._sums = {name: torch.zeros((), dtype=torch.float64, device=self._device) for name in values}
            self._bad = {name: torch.zeros((), device=self._device) for name in values}
        first_bad = ~torch.isfinite(values["total"]) & (self._bad_step < 0)
        self._bad_step.copy_(torch.where(first_bad, self._step, self._bad_step))
        for name, value in values.items():
            self._sums[name] += value
            self._bad[name].copy_(torch.where(first_bad, value.float(), self._bad[name]))
        self._step += 1

    def means(self, steps: int, title: str, epoch: int, steps_per_epoch: int) -> dict[str, float]:
        """Mean of each part. Raises TrainingError if a total was not finite, with the step and the parts there."""
        bad = int(self._bad_step)
        if bad >= 0:
            parts = ", ".join(f"{name} {float(value):g}" for name, value in self._bad.items())
            raise TrainingError(
                f"{title}: the loss was not finite in step {epoch * steps_per_epoch + bad + 1} (epoch {epoch + 1}): {parts}. "
                "Try a smaller rate: --set lr=..."
            )
        return {name: float(total) / steps for name, total in self._sums.items()}
