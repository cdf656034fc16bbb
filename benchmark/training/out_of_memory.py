"""Out-of-memory failures: detection, the figures to report, the batch that would fit, and the rule for a second try."""

from __future__ import annotations

import dataclasses
import gc
import resource
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmark.api.cells import Job, Outcome
from benchmark.encoder import NormalizedEncoder
from benchmark.errors import PLUGIN_ERRORS
from benchmark.progress import silent
from benchmark.training.loop import train
from benchmark.training.memory import NO_LIMIT, free_memory
from benchmark.training.task import TrainingData, TrainingTask

TRIAL_STEPS = 2
"""Training steps of a trial with a smaller batch. The optimizer allocates its state in the first."""
TORCH_MESSAGES = ("can't allocate memory", "out of memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Parts of the messages with which torch and its libraries report that memory ran out."""


@dataclass(frozen=True, kw_only=True)
class FailedTraining:
    """A training that ran out of memory."""

    task: TrainingTask
    data: TrainingData
    new_encoder: Callable[[], NormalizedEncoder]
    """Builds a fresh encoder on the training's device."""

    @property
    def batch(self) -> int:
        """Images in one step."""
        return min(self.task.recipe.batch, len(self.data.images))


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or an error that it was raised from, reports that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError | OSError) and any(message in str(error) for message in TORCH_MESSAGES):
            return True
        error = error.__cause__ or error.__context__
    return False


def retry_job(job: Job, outcome: Outcome) -> Job | None:
    """The job to run after an outcome, or None.

    A cell that ran out of memory may have shared the device with others. It is run once more with the device to itself.
    If it runs out of memory again, it has failed.
    """
    if outcome.cause != "memory" or job.exclusive:
        return None
    return dataclasses.replace(job, exclusive=True)


def retry_note(job: Job, outcome: Outcome) -> str:
    """The note that announces a second try."""
    return f"{job.cell.title} runs once more with the device to itself: {outcome.reason}"


def memory_report(device: torch.device, failed: FailedTraining | None, *, exclusive: bool) -> str:
    """Text to add to the reason of an out-of-memory failure.

    Args:
        device: the device of the cell.
        failed: the training that ran out of memory. None if it happened in another stage.
        exclusive: whether the cell had the device to itself. If so, the batch that would fit is searched for.

    Returns:
        Text that starts with a space, such as ` (batch 512; this cell held up to 70.00 GiB of the GPU's 79.00 GiB)`.
    """
    figures = memory_figures(device)
    if failed is None:
        return f" ({figures})"
    if not exclusive:
        return f" (batch {failed.batch}; {figures})"
    fitting = batch_that_fits(failed)
    advice = f"a batch of {fitting} would fit" if fitting else "no batch of 2 or more would fit"
    return (
        f" (batch {failed.batch}, with the device to itself; {figures}); {advice} (--set batch=...; it is not used "
        "automatically, because another batch size is another experiment)"
    )


def memory_figures(device: torch.device) -> str:
    """Peak memory of this process, and the memory of the device, as text."""
    if device.type == "cuda":
        held, whole = torch.cuda.max_memory_reserved(device), torch.cuda.mem_get_info(device)[1]
        return f"this cell held up to {_gibibytes(held)} of the GPU's {_gibibytes(whole)}"
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    free = free_memory(device)
    rest = "" if free >= NO_LIMIT else f"; {_gibibytes(free)} are free now"
    return f"this cell's process held up to {_gibibytes(held)}{rest}"


def batch_that_fits(failed: FailedTraining) -> int | None:
    """The largest of batch / 2, batch / 4, ... with which two training steps succeed here; None if none does.

    Nothing of the failed training is written or changed.
    """
    batch = failed.batch // 2
    while batch >= 2:
        _release_memory(failed.data)
        try:
            train(_trial(failed.task, batch), failed.data, failed.new_encoder(), silent)
        except PLUGIN_ERRORS as error:  # plugin code
            if not is_out_of_memory(error):
                return None
        else:
            return batch
        batch //= 2
    return None


def _trial(task: TrainingTask, batch: int) -> TrainingTask:
    recipe = dataclasses.replace(task.recipe, batch=batch)
    return dataclasses.replace(task, recipe=recipe, checkpoint=None, stop=None, steps=TRIAL_STEPS)


def _release_memory(data: TrainingData) -> None:
    """Frees memory that only reference cycles or torch's cache hold."""
    gc.collect()
    if (data.device or data.images.device).type == "cuda":
        torch.cuda.empty_cache()


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
