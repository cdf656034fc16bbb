"""When a training writes down where it is, and what it writes: one file, whole or not there, read without pickle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.records.atomic import replaced


@dataclass(frozen=True, kw_only=True)
class TrainingPosition:
    """A place in a training."""

    epoch: int = 0
    """Epochs that are behind."""
    step: int = 0
    """Steps of the next one that are behind as well."""


class StopRequest:
    """Somebody's wish that a cell stops: the first lets it write down where it is, the second ends it at once."""

    def __init__(self) -> None:
        self.asked = False
        self.patient = False
        """Whether the cell looks at `asked` after each step; where it does not, it is ended at once."""

    def ask(self) -> None:
        """For a signal's handler.

        Raises:
            KeyboardInterrupt: it was asked before, or nobody looks.
        """
        if self.asked or not self.patient:
            raise KeyboardInterrupt
        self.asked = True


class CheckpointInterval:
    """How often a checkpoint is due.

    Args:
        seconds: least time between two.
        epochs: also after every so many epochs; None: by time alone.
        clock: monotonic seconds.
    """

    def __init__(self, seconds: float, epochs: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._epochs, self._clock = seconds, epochs, clock
        self._last = clock()

    def is_due(self, spot: TrainingPosition) -> bool:
        """After a step, or, where the spot's step is 0, after an epoch with all that belongs to it."""
        if spot.step == 0 and self._epochs is not None and spot.epoch % self._epochs == 0:
            return True
        return self._clock() - self._last >= self._seconds

    def written(self) -> None:
        """A checkpoint was written just now."""
        self._last = self._clock()


def write(path: Path, state: Mapping[str, Any]) -> None:
    """Puts a state of tensors, numbers and words into a file; the one before is kept until the new one is whole.

    Raises:
        RecordError: the folder cannot be written.
    """
    with replaced(path) as file:
        torch.save({**state, "threads": torch.get_num_threads()}, file)


def read(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A checkpoint's state, its tensors on the device.

    Raises:
        Exception: whatever torch makes of a file that is damaged, or holds more than tensors, numbers and words.
    """
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def threads_of(path: Path, key: str) -> int | None:
    """The number of threads with which a checkpoint of this key was trained; None where there is none to go on from."""
    try:
        # Mapped, so that weights are not read for a number.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(state["threads"]) if state["key"] == key else None
    except Exception:  # whatever torch makes of a damaged file: training will say so
        return None


def rng_state(draws: torch.Generator, device: torch.device) -> dict[str, torch.Tensor]:
    """Where the generators are that a step draws from."""
    found = {"draws": draws.get_state(), "host": torch.get_rng_state()}
    if device.type == "cuda":
        found["device"] = torch.cuda.get_rng_state(device)
    return found


def set_rng_state(state: Mapping[str, torch.Tensor], draws: torch.Generator, device: torch.device) -> None:
    """Puts the generators where they were."""
    draws.set_state(state["draws"].cpu())
    torch.set_rng_state(state["host"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["device"].cpu(), device)
