"""Save the state of a training and restore it exactly. A checkpoint is one file, written atomically, read without
pickle, and only if its checksum is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from benchmark.training.checkpoint_file import read_state, write_state
from benchmark.training.optimizer import move_rates_to
from benchmark.training.step import TrainingStep
from benchmark.training.task import EpochLosses, TrainingPosition


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training, except the weights and the optimizer's state."""

    position: TrainingPosition = field(default_factory=TrainingPosition)
    """The position between two steps."""
    seconds: float = 0.0
    """Training time up to the position."""
    curve: tuple[EpochLosses, ...] = ()
    """The losses of the finished epochs."""
    generators: Mapping[str, torch.Tensor] | None = None
    """States of the random number generators; None between two epochs, where they are seeded anew."""
    sums: dict[str, dict[str, torch.Tensor]] | None = None
    """Sums of the losses of the current epoch; None between two epochs."""


class CheckpointError(Exception):
    """Why a training cannot resume from a checkpoint."""


class CheckpointInterval:
    """When a checkpoint is due.

    Args:
        seconds: minimum time between two checkpoints.
        epochs: also after every `epochs` epochs; None: by time only.
        clock: monotonic time in seconds.
    """

    def __init__(self, seconds: float, epochs: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._epochs, self._clock = seconds, epochs, clock
        self._last = clock()

    def is_due(self, position: TrainingPosition) -> bool:
        """Whether a checkpoint is due at a position; step 0 is the end of an epoch."""
        if position.step == 0 and self._epochs is not None and position.epoch % self._epochs == 0:
            return True
        return self._clock() - self._last >= self._seconds

    def restart(self) -> None:
        """Counts the time from now on: a checkpoint was written, or the training begins."""
        self._last = self._clock()


def save(checkpoint: Checkpoint, step: TrainingStep, optimizer: Optimizer) -> None:
    """Writes the checkpoint of a task, if it names a file. The earlier one is kept until the new one is complete.

    Args:
        checkpoint: position, time and losses.
        step: the method, whose weights are saved, and its task.
        optimizer: its state is saved.

    Raises:
        RecordError: the file cannot be written.
    """
    task = step.task
    if task.checkpoint is None:
        return
    state: dict[str, Any] = {
        "key": task.checkpoint_key,
        "threads": torch.get_num_threads(),
        "sources": dict(task.sources),
        "epoch": checkpoint.position.epoch,
        "step": checkpoint.position.step,
        "seconds": checkpoint.seconds,
        "curve": [(row.epoch, row.learning_rate, dict(row.losses)) for row in checkpoint.curve],
        "method": step.method.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    if checkpoint.position.step:
        state |= {"generators": checkpoint.generators, "sums": checkpoint.sums}
    write_state(task.checkpoint, state, task.replace)


def restore(path: Path, key: str, step: TrainingStep, optimizer: Optimizer) -> Checkpoint:
    """Reads a checkpoint and loads it into the method and the optimizer.

    Args:
        path: the file.
        key: cell id and versions; must be that of the checkpoint.
        step: the method, whose weights are replaced.
        optimizer: its state is replaced.

    Raises:
        CheckpointError: the file is damaged, has another key or does not fit the method. The method is unchanged.
    """
    try:
        state = read_state(path, step.device)
        if state["key"] == key:
            return _load(state, step, optimizer)
    except Exception as error:  # torch raises many kinds of errors for a damaged file
        raise CheckpointError(f"is damaged or does not fit the method ({type(error).__name__})") from error
    raise CheckpointError("belongs to another cell or version")


def _load(state: Mapping[str, Any], step: TrainingStep, optimizer: Optimizer) -> Checkpoint:
    """Everything is read before the method changes, so that a broken checkpoint changes nothing."""
    position = TrainingPosition(epoch=int(state["epoch"]), step=int(state["step"]))
    checkpoint = Checkpoint(
        position=position,
        seconds=float(state["seconds"]),
        curve=tuple(EpochLosses(epoch=e, learning_rate=rate, losses=losses) for e, rate, losses in state["curve"]),
        generators=state["generators"] if position.step else None,
        sums=state["sums"] if position.step else None,
    )
    if _shapes(state["method"]) != _shapes(step.method.state_dict()):
        raise ValueError("the method has other weights")
    optimizer.load_state_dict(state["optimizer"])
    if step.device.type == "cuda":
        move_rates_to(optimizer, step.device)
    step.method.load_state_dict(state["method"])
    return checkpoint


def _shapes(state: Mapping[str, Any]) -> dict[str, object]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions under which the training of a checkpoint began. It resumes under the same, or records them."""

    threads: int
    sources: Mapping[str, Any]
    """Fingerprints of the code; empty if an earlier version wrote the checkpoint."""


def conditions_of(path: Path, key: str) -> Conditions | None:
    """The conditions of a checkpoint; None if there is none with this key."""
    try:
        state = read_state(path, torch.device("cpu"))
        if state["key"] == key:
            return Conditions(threads=int(state["threads"]), sources=dict(state.get("sources", {})))
    except Exception:  # the file is missing or damaged; the training reports that
        return None
    return None
