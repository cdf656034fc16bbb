"""Out-of-memory failures: which errors are one, when a cell is tried again, and what the report says."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
from sample_jobs import sample_job
from small_trainings import RECIPE, MeanColor, data_of, small_encoder, task_of, with_loss

import benchmark
from benchmark.api.cells import Outcome
from benchmark.training.out_of_memory import (
    FailedTraining,
    batch_that_fits,
    is_out_of_memory,
    memory_report,
    retry_job,
    retry_note,
)

CPU = torch.device("cpu")


def raised_from(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def raised_while(error: Exception, context: BaseException) -> Exception:
    error.__context__ = context
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        OSError(12, "not enough memory"),
        raised_from(ValueError("the step failed"), MemoryError()),
        raised_while(ValueError("the step failed"), torch.OutOfMemoryError("out of memory")),
    ],
    ids=["python", "torch", "allocator", "cublas", "system", "cause", "context"],
)
def test_error_is_out_of_memory(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [None, ValueError("out of memory"), RuntimeError("shape mismatch"), OSError(28, "No space left on device")]
)
def test_other_error_is_not_out_of_memory(error: BaseException | None) -> None:
    assert not is_out_of_memory(error)


# --- the second try ---------------------------------------------------------------------------------------------------


def outcome_of(job: benchmark.Job, cause: Any) -> Outcome:
    return Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=1.0, reason="it failed", cause=cause)


def test_cell_that_ran_out_of_memory_runs_once_more_with_the_device_to_itself() -> None:
    job = sample_job()
    retried = retry_job(job, outcome_of(job, "memory"))
    assert retried == dataclasses.replace(job, exclusive=True)
    assert retry_job(retried, outcome_of(retried, "memory")) is None


@pytest.mark.parametrize("cause", ["", "silence", "crash"])
def test_cell_that_failed_for_another_cause_is_not_run_again(cause: str) -> None:
    job = sample_job()
    assert retry_job(job, outcome_of(job, cause)) is None


def test_retry_note_names_the_cell_and_the_reason() -> None:
    job = sample_job()
    note = retry_note(job, outcome_of(job, "memory"))
    assert note == f"{job.cell.title} runs once more with the device to itself: it failed"


# --- the batch that fits ----------------------------------------------------------------------------------------------


def failing_above(limit: int, error: Exception, tried: list[int], batch: int = 16) -> FailedTraining:
    """A training whose loss raises for batches above a limit."""

    def limited(method: MeanColor, batch: benchmark.Batch, losses: benchmark.Losses) -> benchmark.Losses:
        tried.append(len(batch.images))
        if len(batch.images) > limit:
            raise error
        return losses

    task = task_of(with_loss(limited), recipe=dataclasses.replace(RECIPE, batch=batch))
    return FailedTraining(task=task, data=data_of(), new_encoder=small_encoder)


@pytest.mark.parametrize(("limit", "fitting", "tried"), [(5, 4, [8, 4, 4]), (2, 2, [8, 4, 2, 2]), (1, None, [8, 4, 2])])
def test_batch_is_halved_until_two_steps_fit(limit: int, fitting: int | None, tried: list[int]) -> None:
    seen: list[int] = []
    assert batch_that_fits(failing_above(limit, MemoryError(), seen)) == fitting
    assert seen == tried


def test_search_starts_at_half_of_the_images_if_the_batch_holds_them_all() -> None:
    seen: list[int] = []
    assert batch_that_fits(failing_above(100, MemoryError(), seen, batch=512)) == 20
    assert seen == [20, 20]


def test_search_ends_if_a_smaller_batch_fails_otherwise() -> None:
    seen: list[int] = []
    assert batch_that_fits(failing_above(1, ValueError("a batch of 8"), seen)) is None
    assert seen == [8]


def test_search_does_not_change_the_checkpoint(tmp_path: Any) -> None:
    failed = failing_above(5, MemoryError(), [])
    task = dataclasses.replace(failed.task, checkpoint=tmp_path / "checkpoint.pt", checkpoint_seconds=0.0)
    assert batch_that_fits(dataclasses.replace(failed, task=task)) == 4
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("limit", "exclusive", "message"),
    [
        (5, False, r" \(batch 16; this cell's process held up to \d+\.\d\d GiB.*\)$"),
        (5, True, r" \(batch 16, with the device to itself; .*\); a batch of 4 would fit \(--set batch="),
        (1, True, r"; no batch of 2 or more would fit \(--set batch="),
    ],
)
def test_report_has_batch_and_memory_and_for_exclusive_jobs_the_fitting_batch(
    limit: int, exclusive: bool, message: str
) -> None:
    failed = failing_above(limit, MemoryError(), [])
    assert re.search(message, memory_report(CPU, failed, exclusive=exclusive))


def test_report_outside_of_training_has_the_figures_only() -> None:
    assert re.search(
        r"^ \(this cell's process held up to \d+\.\d\d GiB[^)]*\)$", memory_report(CPU, None, exclusive=True)
    )
