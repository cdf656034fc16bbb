"""Cells as an array of Slurm jobs, through submitit: all machines share the disk, so each cell works in its own folder.

A cell that Slurm takes off its node writes a checkpoint, is queued again by submitit and goes on from there.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import submitit

import benchmark
from bench_executors import child, endings, in_array
from bench_executors.clusters import SlurmParams
from benchmark.executors import outcome_from_json, read_lock, to_json
from benchmark.progress import Event, EventKind, Reporter

POLL_SECONDS = 1.0
"""Between two looks at files; submitit asks Slurm itself once a minute."""
ARRAY_LARGEST = 1000
"""Slurm refuses larger arrays unless its MaxArraySize, 1001 as installed, is raised."""


@dataclass(kw_only=True)
class _Queued:
    """A cell that Slurm has."""

    job: benchmark.Job
    task: Any
    """submitit's job."""
    known: str
    """Token of a claim on the cell that was there before: not this task's."""
    since: float
    shown: Event | None = None
    """The last that was told of it."""


class OnSlurm:
    """A job array for each thousand cells.

    Args:
        context: threads of each cell; what else is asked of Slurm stands in the parameters.
    """

    def __init__(self, context: benchmark.ExecutorContext) -> None:
        self._params: SlurmParams = context.params or SlurmParams()
        self._threads = context.threads
        if self._params.cluster == "auto" and shutil.which("srun") is None:
            raise benchmark.UsageError(
                "executor 'slurm' finds no srun on this machine; run bench where Slurm's commands are, or try it here with "
                "--executor 'slurm[cluster=local]'"
            )

    def executor(self, folder: Path) -> submitit.AutoExecutor:
        """The executor of submitit, with what is asked of Slurm for each cell."""
        asked = self._params
        found = submitit.AutoExecutor(folder=folder, cluster=None if asked.cluster == "auto" else asked.cluster)
        words = {name: getattr(asked, name) or None for name in ("partition", "account", "qos", "constraint")}
        found.update_parameters(
            name="repbench",
            timeout_min=asked.minutes,
            cpus_per_task=asked.cpus or self._threads,
            gpus_per_node=asked.gpus or None,
            mem_gb=asked.memory_gb or None,
            slurm_array_parallelism=asked.array_parallelism,
            **{f"slurm_{name}": value for name, value in words.items()},
        )
        return found

    def run(self, jobs: Sequence[benchmark.Job], reporter: Reporter) -> Iterator[benchmark.Outcome]:
        """Outcomes in the order in which cells end. When the caller stops listening, jobs are canceled.

        Raises:
            UsageError: Slurm does not take the jobs.
        """
        queued: list[_Queued] = []
        try:
            for start in range(0, len(jobs), ARRAY_LARGEST):
                queued += self._submit(jobs[start : start + ARRAY_LARGEST])
            while queued:
                for cell in list(queued):
                    if cell.task.done():
                        queued.remove(cell)
                        outcome = _outcome(cell)
                        if cell.shown is None:
                            reporter(Event(kind="started", cell=cell.job.cell.title))
                        endings.tell(cell.job, outcome, reporter)
                        yield outcome
                    elif (event := _news(cell)) is not None:
                        cell.shown = event
                        reporter(event)
                if queued:
                    time.sleep(POLL_SECONDS)
        finally:
            for cell in queued:
                cell.task.cancel(check=False)

    def _submit(self, given: Sequence[benchmark.Job]) -> list[_Queued]:
        folder = Path(self._params.folder or Path(given[0].out_dir) / ".slurm").absolute()
        # A Slurm job has its memory to itself: a cell that runs out of it says at once which batch would fit.
        texts = [to_json(dataclasses.replace(job, exclusive=True)) for job in given]
        tokens = [_token(job) for job in given]
        device = "cuda:0" if self._params.gpus else "cpu"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tasks = self.executor(folder).map_array(in_array.Carry(device), texts)
        except (OSError, submitit.core.utils.FailedSubmissionError, submitit.core.utils.FailedJobError) as error:
            reason = " ".join(str(error).split())[-300:]
            raise benchmark.UsageError(f"executor 'slurm': Slurm takes no jobs ({reason}); see {folder}") from error
        now = time.monotonic()
        return [
            _Queued(job=job, task=task, known=token, since=now)
            for job, task, token in zip(given, tasks, tokens, strict=True)
        ]


def _token(job: benchmark.Job) -> str:
    sign = read_lock(Path(job.out_dir) / job.folder)
    return "" if sign is None else sign.token


def _news(cell: _Queued) -> Event | None:
    """What the cell's claim says of it, if that has not been told: no other word comes from its node."""
    sign = read_lock(Path(cell.job.out_dir) / cell.job.folder)
    if sign is None or sign.token == cell.known:
        return None
    title = cell.job.cell.title
    if cell.shown is None:
        return Event(kind="started", cell=title, text=f"{sign.device} of {sign.owner.host}")
    if not sign.stage:
        return None
    kind: EventKind = "epoch" if sign.stage == "train" and sign.done else "stage"
    event = Event(kind=kind, cell=title, stage=sign.stage, done=sign.done, total=sign.total, values=dict(sign.values))
    return None if event == cell.shown else event


def _outcome(cell: _Queued) -> benchmark.Outcome:
    """What the task gave back, or what is known of one that gave nothing."""
    try:
        return outcome_from_json(cell.task.result())
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError, OSError) as error:
        text = (cell.task.stderr() or str(error))[-child.KEPT :]
    except benchmark.BenchError as error:
        text = str(error)
    silent = next((line for line in text.splitlines() if line.startswith(in_array.SILENT)), "")
    reason = f"its Slurm job {cell.task.job_id} ended without an outcome{child.last_words(text)}"
    return endings.ended(
        cell.job,
        cell.since,
        "failed",
        reason=silent.removeprefix("repbench: ") or reason,
        cause="silence" if silent else "crash",
        traceback=text,
    )
