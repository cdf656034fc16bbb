"""Memory that ran out: how that is told from other errors, what was held, and which batch would have fitted."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import resource
from collections.abc import Callable

import torch

from benchmark.encoder import NormalizedEncoder
from benchmark.progress import silent
from benchmark.training.batches import NO_LIMIT, free_memory
from benchmark.training.loop import TrainingData, TrainingTask, train

TRIED_STEPS = 2
"""Steps of a trial: the optimizer makes its state in the first."""
SAID_BY_TORCH = ("can't allocate memory", "out of memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""How torch says on a CPU, and its libraries on a GPU, that memory ran out."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, here or in what was raised before."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError | OSError) and any(words in str(error) for words in SAID_BY_TORCH):
            return True
        error = error.__cause__ or error.__context__
    return False


def memory_figures(device: torch.device) -> str:
    """The most that this process held, and what there is, in words."""
    if device.type == "cuda":
        held, whole = torch.cuda.max_memory_reserved(device), torch.cuda.mem_get_info(device)[1]
        return f"this cell held up to {_words(held)} of the GPU's {_words(whole)}"
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    free = free_memory(device)
    rest = "" if free >= NO_LIMIT else f", and {_words(free)} are free"
    return f"this cell's process held up to {_words(held)}{rest}"


def batch_that_fits(task: TrainingTask, data: TrainingData, encoder: Callable[[], NormalizedEncoder]) -> int | None:
    """The largest of half the batch, a quarter and so on with which two steps can be made here; None where none can.

    Args:
        task: what ran out of memory; nothing of it is written or changed.
        data: what it was to be trained on.
        encoder: makes a fresh one on the device.
    """
    batch = min(task.recipe.batch, len(data.images)) // 2
    while batch >= 2:
        smaller = dataclasses.replace(
            task,
            recipe=dataclasses.replace(task.recipe, batch=batch),
            checkpoint=None,
            stop=None,
            steps=TRIED_STEPS,
        )
        _let_go(data)
        try:
            train(smaller, data, encoder(), silent)
        except Exception as error:  # a stranger's code: whatever else goes wrong with a smaller batch, it does not fit
            if not is_out_of_memory(error):
                return None
        else:
            return batch
        batch //= 2
    return None


def _let_go(data: TrainingData) -> None:
    """Memory that only cycles and torch's cache still hold is given back."""
    gc.collect()
    with contextlib.suppress(AttributeError):
        if (data.device or data.images.device).type == "cuda":
            torch.cuda.empty_cache()


def _words(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
