"""Check the losses of each step, and sum them on the device: nothing is read back before the epoch ends."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.api.methods import Losses
from benchmark.errors import PluginError, TrainingError


class LossChecker:
    """Checks that a method returns scalar losses, with the same parts in every step.

    Args:
        method: name of the method, for messages.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._parts: tuple[str, ...] | None = None

    def check(self, losses: object, function: str) -> None:
        """Checks the losses of a step.

        Args:
            losses: what the method returned.
            function: the method's function that returned it, for messages.

        Raises:
            PluginError: it is no `Losses`, a value is not a scalar tensor, or the parts differ from those of earlier steps.
        """
        if not isinstance(losses, Losses) or not _is_scalar(losses.total):
            raise PluginError(
                f"method '{self._method}': {function} must return benchmark.Losses with a scalar tensor as total"
            )
        for part, value in losses.parts.items():
            if not _is_scalar(value):
                raise PluginError(
                    f"method '{self._method}': the part '{part}' that {function} returned is not a scalar tensor"
                )
        parts = tuple(losses.parts)
        if self._parts is None:
            self._parts = parts
        elif set(parts) != set(self._parts):
            first, current = (", ".join(names) or "none" for names in (self._parts, parts))
            raise PluginError(
                f"method '{self._method}': {function} returned the parts {first} at first and {current} now; return the "
                "same parts in every step"
            )


def _is_scalar(value: object) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1


class LossSums:
    """Sums of the losses of an epoch, and the losses of the first step whose total is not finite.

    The tensors keep their addresses from the first step on, so that a captured step can write to them.

    Args:
        device: where the losses are.
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
        """Everything that a checkpoint in the middle of an epoch needs: all tensors, by group and name."""
        counted = {"step": self._step, "bad_step": self._bad_step}
        return {"sums": dict(self._sums), "bad": dict(self._bad), "counted": counted}

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Restores a `state`."""
        self._sums = {name: value.to(self._device) for name, value in state["sums"].items()}
        self._bad = {name: value.to(self._device) for name, value in state["bad"].items()}
        self._step.copy_(state["counted"]["step"])
        self._bad_step.copy_(state["counted"]["bad_step"])

    def add(self, losses: Losses) -> None:
        """Adds the losses of a step, without reading them back."""
        values = {name: value.detach().reshape(()) for name, value in {"total": losses.total, **losses.parts}.items()}
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
        """The mean of each part over the epoch.

        Args:
            steps: number of steps of the epoch.
            title: name of the cell, for messages.
            epoch: number of earlier epochs.
            steps_per_epoch: number of steps of a whole epoch.

        Raises:
            TrainingError: a total was not finite; the message names the first such step and its losses.
        """
        bad = int(self._bad_step)
        if bad >= 0:
            parts = ", ".join(f"{name} {float(value):g}" for name, value in self._bad.items())
            raise TrainingError(
                f"{title}: the loss was not finite in step {epoch * steps_per_epoch + bad + 1} (epoch {epoch + 1}): {parts}. "
                "Try a lower learning rate: --set lr=..."
            )
        return {name: float(total) / steps for name, total in self._sums.items()}
