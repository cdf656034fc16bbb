"""Run many cells: hand jobs to an executor, retry what ran out of memory, wait for cells of other runs.

A cell that fails does not stop the others. The runner writes a record only for a cell whose process died before it could.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Cell, Job, Outcome
from benchmark.api.executors import Executor, ExecutorContext, ExecutorSpec
from benchmark.api.parameters import bind
from benchmark.errors import PLUGIN_ERRORS, BenchError, DataError, PluginError, UsageError
from benchmark.execution import output_folder
from benchmark.execution.cell_record import TRACEBACK_CHARACTERS, cell_json, failure_json
from benchmark.execution.cell_state import PendingCell
from benchmark.execution.run_options import RunConfig
from benchmark.plain_text import error_text, shortened
from benchmark.progress import Event, Reporter
from benchmark.records import locks
from benchmark.records.record import RECORD, Record
from benchmark.records.record_files import read_record, write_record

BY_ANOTHER = "done by another run"
"""Part of the reason of an outcome that another run on the same output folder produced."""
WATCH_SECONDS = 0.5
"""Seconds between two checks of the cells that another run works on."""
MAX_TAKEOVERS = 5
"""How often a cell is started again after it lost its lock or could not take an abandoned one."""

Estimator = Callable[[Cell], tuple[float | None, int | None]]
"""Cell -> (seconds of training and scoring, bytes held), from past records; None where there are none."""


def no_estimate(cell: Cell) -> tuple[float | None, int | None]:
    """The estimate of a cell without past records."""
    return None, None


def run(
    pending: Sequence[PendingCell],
    catalog: Catalog,
    config: RunConfig,
    reporter: Reporter,
    estimate: Estimator = no_estimate,
) -> Iterator[Outcome]:
    """Runs the pending cells, longest first, and yields each outcome when it is final. Closing the iterator stops the run.

    Raises:
        UsageError: the output folder cannot be written, or the executor does not exist.
        DataError: a dataset cannot be loaded; no cell was started.
    """
    output_folder.create(config.out)
    spec = catalog.find(catalog.executors, "executor", config.executor.name).spec
    executor = new_executor(catalog, config)
    _load_datasets(pending, catalog, config.data_dir)
    jobs = longest_first([_job(cell, config, spec, estimate) for cell in pending])
    monitor, takeovers = locks.LeaseMonitor(), Counter[str]()
    while jobs:
        elsewhere: list[Job] = []
        retries: list[Job] = []
        for job, outcome in _executed(executor, spec.name, jobs, _without_ends(reporter)):
            if outcome.state == "elsewhere" and not _is_given_up(job, outcome, takeovers):
                elsewhere.append(job)
            elif (retry := _retry(job, outcome, reporter)) is not None:
                retries.append(retry)
            else:
                final = _given_up(outcome) if outcome.state == "elsewhere" else outcome
                if final.state == "failed":
                    _write_failure(job, final)
                yield _reported(job, final, reporter)
        jobs = []
        if retries:
            jobs = [*retries, *elsewhere]
            continue
        for each in _watched(elsewhere, monitor, reporter):
            if isinstance(each, Outcome):
                yield each
            else:
                jobs.append(each)


def _is_given_up(job: Job, outcome: Outcome, takeovers: Counter[str]) -> bool:
    """Whether a cell was started too often, although no other run holds or has finished it."""
    if locks.read_lock(Path(job.out_dir) / job.folder) is not None or _outcome_of_another(job) is not None:
        return False
    takeovers[job.cell.id] += 1
    return takeovers[job.cell.id] > MAX_TAKEOVERS


def _given_up(outcome: Outcome) -> Outcome:
    reason = outcome.reason or "the process of the cell found a lock of another run that is not in the folder"
    return dataclasses.replace(outcome, state="failed", reason=f"{reason} (given up after {MAX_TAKEOVERS + 1} tries)")


def longest_first(jobs: Sequence[Job]) -> list[Job]:
    """Jobs in the order in which they start. Those without an estimate come first, since they may be the longest."""
    return sorted(jobs, key=lambda job: -math.inf if job.expected_seconds is None else -job.expected_seconds)


def new_executor(catalog: Catalog, config: RunConfig) -> Executor:
    """The executor of a run. It starts nothing before its `run`, so that a plan builds it too.

    Raises:
        UsageError: it does not exist, or cannot be used on this machine.
    """
    spec = catalog.find(catalog.executors, "executor", config.executor.name).spec
    context = ExecutorContext(
        params=bind(spec.params, config.executor.params, f"executor '{spec.name}'"),
        devices=config.devices,
        slots=config.slots,
        threads=config.threads,
        memory=config.memory,
    )
    try:
        return spec.build(context)
    except BenchError:
        raise
    except PLUGIN_ERRORS as error:
        raise UsageError(
            f"executor '{spec.name}' cannot be used: {type(error).__name__}: {error_text(error)}"
        ) from error


def _job(pending: PendingCell, config: RunConfig, spec: ExecutorSpec, estimate: Estimator) -> Job:
    seconds, memory = estimate(pending.cell)
    return Job(
        cell=pending.cell,
        scores=pending.planned.scores,
        data_dir=output_folder.absolute(config.data_dir),
        out_dir=output_folder.absolute(config.out),
        folder=pending.folder,
        threads=config.threads,
        rerun=pending.retrain,
        rescore=pending.rescore,
        accelerate=config.accelerate,
        checkpoint_seconds=config.checkpoint_seconds,
        checkpoint_epochs=config.checkpoint_epochs,
        timeout=config.timeout,
        expected_seconds=seconds,
        memory=memory,
        exclusive=spec.exclusive,
    )


def _load_datasets(pending: Sequence[PendingCell], catalog: Catalog, data_dir: Path) -> None:
    """Downloads, decodes and caches each dataset once, before cells would do so at the same time.

    Raises:
        DataError: a dataset is not available or holds a damaged image.
    """
    datasets = {each.cell.fingerprint: each.cell.dataset for each in pending}
    for item in datasets.values():
        spec = catalog.find(catalog.datasets, "dataset", f"{item.provider}:{item.name}").spec
        params = bind(spec.params, item.params, f"dataset '{spec.name}'")
        try:
            spec.load(params, data_dir)
        except BenchError:
            raise
        except PLUGIN_ERRORS as error:  # plugin code
            raise DataError(
                f"cannot load dataset '{item.label}': {type(error).__name__}: {error_text(error)}"
            ) from error


# --- one round of the executor ----------------------------------------------------------------------------------------


def _executed(executor: Executor, name: str, jobs: Sequence[Job], reporter: Reporter) -> Iterator[tuple[Job, Outcome]]:
    """Every job with its outcome, in the order in which cells end. A job that the executor forgets has failed."""
    waiting = {job.cell.id: job for job in jobs}
    outcomes = iter(executor.run(jobs, reporter))
    try:
        for outcome in outcomes:
            job = waiting.pop(outcome.cell_id, None)
            if job is None:
                raise PluginError(f"executor '{name}' returned an outcome for an unknown job: {outcome.folder}")
            yield job, _with_short_texts(outcome)
        for job in waiting.values():
            reason = f"executor '{name}' ended without an outcome for this cell"
            yield job, Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason=reason)
    finally:
        close = getattr(outcomes, "close", None)
        if close is not None:
            close()


def _with_short_texts(outcome: Outcome) -> Outcome:
    """An outcome without the middle of long texts, whatever the executor returned."""
    reason, trace = shortened(" ".join(outcome.reason.split())), shortened(outcome.traceback, TRACEBACK_CHARACTERS)
    return dataclasses.replace(outcome, reason=reason, traceback=trace)


def _without_ends(reporter: Reporter) -> Reporter:
    """A reporter for executors. A cell that ends may be retried, so the runner itself reports ends that are final."""

    def report(event: Event) -> None:
        if event.kind != "finished":
            reporter(event)

    return report


def _reported(job: Job, outcome: Outcome, reporter: Reporter) -> Outcome:
    """Reports a final outcome."""
    values = {"seconds": outcome.seconds}
    reporter(Event(kind="finished", cell=job.cell.title, stage=outcome.state, values=values, text=outcome.reason))
    return outcome


def _retry(job: Job, outcome: Outcome, reporter: Reporter) -> Job | None:
    """The job to run once more because memory ran out, with the device to itself; None if the outcome is final."""
    if outcome.cause != "memory":
        return None
    from benchmark.training.out_of_memory import retry_job, retry_note  # imports torch

    retry = retry_job(job, outcome)
    if retry is not None:
        reporter(Event(kind="note", cell=job.cell.title, text=retry_note(job, outcome)))
    return retry


def _write_failure(job: Job, outcome: Outcome) -> None:
    """Writes the record of a cell whose process died before it could, unless another run works on the cell."""
    folder = Path(job.out_dir) / job.folder
    with contextlib.suppress(BenchError):  # the disk may be full; the outcome has the reason
        lock = locks.acquire(folder, job.cell.title, "", abandoned_token=job.abandoned_token)
        if lock is not None:
            try:
                _write_failed_record(job, outcome, lock)
            finally:
                lock.release()


def _write_failed_record(job: Job, outcome: Outcome, lock: locks.CellLock) -> None:
    folder = Path(job.out_dir) / job.folder
    failure = failure_json("process", outcome.reason, outcome.traceback)
    try:
        record = read_record(folder)
        if record.state in ("done", "failed"):
            return
        record = dataclasses.replace(record, state="failed", failure=failure)
    except BenchError:
        if (folder / RECORD).exists():
            return
        record = Record(id=job.cell.id, state="failed", cell=cell_json(job.cell), failure=failure)
    write_record(folder, record, lock.replaced)


# --- cells of other runs ----------------------------------------------------------------------------------------------


def _watched(jobs: Sequence[Job], monitor: locks.LeaseMonitor, reporter: Reporter) -> Iterator[Outcome | Job]:
    """Waits for cells that another run works on. Yields the outcome it left, or the job again if it left none."""
    waiting = list(jobs)
    if waiting:
        text = f"waiting for {len(waiting)} cells that another run in this output folder is working on"
        reporter(Event(kind="note", cell="", text=text))
    while waiting:
        abandoned = False
        for job in list(waiting):
            lock = locks.read_lock(Path(job.out_dir) / job.folder)
            if lock is not None and not monitor.is_abandoned(lock):
                continue
            waiting.remove(job)
            outcome = _outcome_of_another(job) if lock is None else None
            if outcome is not None:
                yield _reported(job, outcome, reporter)
            else:
                abandoned = True
                yield dataclasses.replace(job, abandoned_token="" if lock is None else lock.token)
        if abandoned:
            # The executor must run: it returns `elsewhere` immediately for cells that are still locked.
            yield from waiting
            return
        if waiting:
            time.sleep(WATCH_SECONDS)


def _outcome_of_another(job: Job) -> Outcome | None:
    """The outcome that another run left in a cell's folder; None if the cell is not complete."""
    try:
        record = read_record(Path(job.out_dir) / job.folder)
    except BenchError:
        return None
    if record.is_complete(job.scores) or (record.state == "smoke" and job.cell.smoke):
        seconds = float(record.cost.get("train_seconds") or 0.0)
        return Outcome(cell_id=job.cell.id, folder=job.folder, state=record.state, seconds=seconds, reason=BY_ANOTHER)
    if record.state == "failed":
        reason = f"{(record.failure or {}).get('reason', '')} ({BY_ANOTHER})"
        return Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason=reason)
    return None
