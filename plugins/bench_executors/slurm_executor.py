"""Executor `slurm`: cells as a Slurm job array, through submitit. All machines share the disk of the output folder.

A cell that Slurm preempts writes a checkpoint, is queued again by submitit and resumes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

import benchmark
from bench_executors import outcomes
from bench_executors.output import kept_part, last_lines
from bench_executors.parameters import SlurmParams
from bench_executors.process_start import without_working_directory_in_path
from bench_executors.slurm_job import HUNG, CellTask
from benchmark.executors import outcome_from_json, read_lock, to_json
from benchmark.progress import Event, EventKind, Reporter

POLL_SECONDS = 1.0
"""Seconds between two reads of the shared files. submitit itself asks Slurm once a minute."""
LARGEST_ARRAY = 1000
"""Slurm's default MaxArraySize is 1001."""


@dataclass(kw_only=True)
class _Queued:
    """A cell that was submitted to Slurm."""

    job: benchmark.Job
    task: Any
    """submitit's job."""
    earlier_token: str
    """Token of a lock that was there before the task; empty if there was none."""
    submitted: float
    """Time of submission, by the monotonic clock."""
    reported: Event | None = None
    """The last event that was reported."""


class SlurmExecutor:
    """Submits cells in arrays of up to a thousand jobs.

    Args:
        context: threads of each cell, and what each job requests from Slurm.
    """

    def __init__(self, context: benchmark.ExecutorContext) -> None:
        self._params: SlurmParams = context.params or SlurmParams()
        self._threads = context.threads
        if self._params.cluster == "auto" and shutil.which("srun") is None:
            raise benchmark.UsageError(
                "executor 'slurm' needs srun, which is not on this machine; run bench on a machine with Slurm's commands, "
                "or try it here with --executor 'slurm[cluster=local]'"
            )

    def submitit_executor(self, folder: Path) -> submitit.AutoExecutor:
        """Submitit's executor with the requests of a job.

        Args:
            folder: for submitit's files and logs.
        """
        params = self._params
        executor = submitit.AutoExecutor(folder=folder, cluster=None if params.cluster == "auto" else params.cluster)
        optional = {name: getattr(params, name) or None for name in ("partition", "account", "qos", "constraint")}
        executor.update_parameters(
            name="repbench",
            timeout_min=params.minutes,
            cpus_per_task=params.cpus or self._threads,
            gpus_per_node=params.gpus or None,
            mem_gb=params.memory_gb or None,
            slurm_array_parallelism=params.array_parallelism,
            **{f"slurm_{name}": value for name, value in optional.items()},
        )
        return executor

    def run(self, jobs: Sequence[benchmark.Job], reporter: Reporter) -> Iterator[benchmark.Outcome]:
        """Outcomes in the order in which cells end. Closing the iterator cancels the jobs.

        Raises:
            UsageError: Slurm does not accept the jobs.
        """
        queued: list[_Queued] = []
        try:
            for start in range(0, len(jobs), LARGEST_ARRAY):
                queued += self._submit(jobs[start : start + LARGEST_ARRAY])
            while queued:
                for cell in list(queued):
                    if cell.task.done():
                        queued.remove(cell)
                        if cell.reported is None:
                            reporter(Event(kind="started", cell=cell.job.cell.title))
                        yield _outcome(cell)
                    elif (event := _new_event(cell)) is not None:
                        cell.reported = event
                        reporter(event)
                if queued:
                    time.sleep(POLL_SECONDS)
        finally:
            for cell in queued:
                cell.task.cancel(check=False)

    def _submit(self, jobs: Sequence[benchmark.Job]) -> list[_Queued]:
        folder = Path(self._params.folder or Path(jobs[0].out_dir) / ".slurm").absolute()
        texts = [to_json(job) for job in jobs]
        tokens = [_lock_token(job) for job in jobs]
        device = "cuda:0" if self._params.gpus else "cpu"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with without_working_directory_in_path():
                tasks = self.submitit_executor(folder).map_array(CellTask(device), texts)
        except (OSError, submitit.core.utils.FailedSubmissionError, submitit.core.utils.FailedJobError) as error:
            reason = " ".join(str(error).split())[-300:]
            raise benchmark.UsageError(
                f"executor 'slurm': Slurm does not accept the jobs ({reason}); submitit's files are in {folder}"
            ) from error
        now = time.monotonic()
        return [
            _Queued(job=job, task=task, earlier_token=token, submitted=now)
            for job, task, token in zip(jobs, tasks, tokens, strict=True)
        ]


def _lock_token(job: benchmark.Job) -> str:
    lock = read_lock(Path(job.out_dir) / job.folder)
    return "" if lock is None else lock.token


def _new_event(cell: _Queued) -> Event | None:
    """The cell's stage if it has changed. Only the cell's lock, which the node renews, shows it."""
    lock = read_lock(Path(cell.job.out_dir) / cell.job.folder)
    if lock is None or lock.token == cell.earlier_token:
        return None
    title = cell.job.cell.title
    if cell.reported is None:
        return Event(kind="started", cell=title, text=f"{lock.device} of {lock.owner.host}")
    if not lock.stage:
        return None
    kind: EventKind = "epoch" if lock.stage == "train" and lock.done else "stage"
    event = Event(kind=kind, cell=title, stage=lock.stage, done=lock.done, total=lock.total, values=dict(lock.values))
    return None if event == cell.reported else event


def _outcome(cell: _Queued) -> benchmark.Outcome:
    """The outcome that the task returned, or one made from its standard error."""
    try:
        return outcome_from_json(cell.task.result())
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError, OSError) as error:
        text = kept_part(cell.task.stderr() or str(error))
    except benchmark.BenchError as error:
        text = str(error)
    hung = next((line for line in text.splitlines() if line.startswith(HUNG)), "")
    reason = hung.removeprefix("repbench: ")
    reason = reason or f"Slurm job {cell.task.job_id} ended without an outcome{last_lines(text)}"
    return outcomes.failed(cell.job, cell.submitted, reason, cause="silence" if hung else "crash", traceback=text)
