"""Run one cell: load the dataset, train, extract features, score, write the record.

A job holds only plain values, so a cell can run in any process on any machine. Exceptions of plugin code are caught here.
The failure and everything that was finished before it are kept in the record and in the outcome.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import traceback
from pathlib import Path
from typing import Literal

import torch

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Cause, Job, Outcome, State
from benchmark.errors import BenchError, RecordError
from benchmark.evaluation.cell_data import load_cell_data
from benchmark.execution.cell_folder import CellFolder
from benchmark.execution.cell_record import TRACEBACK_CHARACTERS, cell_json, failure_json, sentence
from benchmark.execution.cell_run import CellProgress, CellRun
from benchmark.execution.cell_scoring import score_cell
from benchmark.execution.cell_training import read_trained_encoder, train_cell
from benchmark.execution.devices import threads
from benchmark.execution.provenance import training_sources
from benchmark.plain_text import shortened
from benchmark.progress import Event, Reporter, silent
from benchmark.records import locks
from benchmark.records.record import Record
from benchmark.training import checkpoints, out_of_memory
from benchmark.training.memory import fits_in_memory
from benchmark.training.stop import StopRequest
from benchmark.working_directory import working_directory_kept


def run_cell(
    job: Job,
    *,
    device: str = "cpu",
    reporter: Reporter = silent,
    catalog: Catalog | None = None,
    stop: StopRequest | None = None,
) -> Outcome:
    """Runs one job and leaves its record in `job.out_dir/job.folder`.

    Args:
        job: the cell, the requested scores, and where and how to run.
        device: `cpu` or `cuda:0`.
        reporter: receives the start, each epoch, each stage and the end.
        catalog: the installed plugins; default: all of them.
        stop: asks the cell to write a checkpoint and stop; None: no stop can be requested.

    Returns:
        How the cell ended. A failure is an outcome, not an exception. `elsewhere`: another run works on the cell.

    Raises:
        KeyboardInterrupt: the cell was stopped; its checkpoint and its record say so.
    """
    started = time.monotonic()
    try:
        lock = locks.acquire(
            Path(job.out_dir) / job.folder, job.cell.title, device, abandoned_token=job.abandoned_token
        )
    except BenchError as error:
        return _finished(_outcome(job, "failed", started, sentence(error), traceback.format_exc()), job, reporter)
    if lock is None:
        return Outcome(cell_id=job.cell.id, folder=job.folder, state="elsewhere", seconds=0.0)
    try:
        run = _new_run(job, device, _until_lost(lock, reporter), catalog or load_catalog(), lock, stop)
        with working_directory_kept():
            outcome = _run_locked(run, started)
    finally:
        lock.release()
    return _finished(outcome, job, reporter)


def _until_lost(lock: locks.CellLock, reporter: Reporter) -> Reporter:
    """A reporter that stores progress in the lock, and ends a cell that another run has taken over."""
    record = lock.record_progress(reporter)

    def report(event: Event) -> None:
        lock.check_progress()
        record(event)

    return report


def _new_run(
    job: Job, device: str, reporter: Reporter, catalog: Catalog, lock: locks.CellLock, stop: StopRequest | None
) -> CellRun:
    cell = job.cell
    folder = CellFolder(path=Path(job.out_dir) / job.folder, lock=lock)
    key = f"{cell.id}/{cell.method.version}.{cell.encoder.version}.{cell.dataset.version}"
    reporter(Event(kind="started", cell=cell.title, text=device))
    began = checkpoints.conditions_of(folder.checkpoint, key)
    return CellRun(
        job=job,
        device=torch.device(device),
        catalog=catalog,
        folder=folder,
        progress=CellProgress(title=cell.title, reporter=reporter),
        threads=job.threads if began is None else began.threads,
        sources=training_sources(cell, catalog) if began is None else dict(began.sources),
        checkpoint_key=key,
        stop=stop,
    )


def _run_locked(run: CellRun, started: float) -> Outcome:
    """The outcome of a cell whose lock is held."""
    try:
        with threads(run.threads):
            record = _run_stages(run)
        return _outcome(run.job, record.state, started)
    except KeyboardInterrupt:
        _write_failure(run, "interrupted", "interrupted", "")
        raise
    except locks.LostLockError as error:
        return _outcome(run.job, "elsewhere", started, str(error))
    except BaseException as error:  # plugin code may raise anything
        reason, trace = sentence(error), traceback.format_exc()
        cause: Cause = "memory" if out_of_memory.is_out_of_memory(error) else ""
        if cause:
            traceback.clear_frames(error.__traceback__)  # its frames hold the tensors that filled the memory
            reason += out_of_memory.memory_report(run.device, run.progress.training, exclusive=run.job.exclusive)
        _write_failure(run, "failed", reason, trace)
        state: Literal["failed", "elsewhere"] = "elsewhere" if run.folder.lock.lost else "failed"
        return _outcome(run.job, state, started, reason, trace, cause)


def _run_stages(run: CellRun) -> Record:
    """Runs all stages in order, except those that an earlier run finished."""
    stored = run.stored_record()
    if stored is not None and run.job.rerun:
        stored = None
    if stored is not None and stored.is_complete(run.job.scores) and not run.job.rescore:
        return stored  # another run finished the cell first
    run.progress.enter("load the dataset")
    data = load_cell_data(
        run.cell,
        run.catalog,
        Path(run.job.data_dir),
        device=run.device,
        fits=lambda size: fits_in_memory(size, run.device),
    )
    if stored is not None and stored.trained:
        encoder, record = read_trained_encoder(run, stored, data), stored
    else:
        run.progress.enter("train")
        encoder, record = train_cell(run, data)
    run.progress.enter("features")
    return score_cell(run, encoder, record, data)


def _write_failure(run: CellRun, state: State, reason: str, trace: str) -> None:
    """Keeps a failure in log.txt and in the record; a finished record stays finished."""
    try:
        run.folder.lock.check()
        stored = run.stored_record()
    except (BenchError, OSError):
        return  # another run's folder, or another version's record, must not change; or nothing can be written
    failure = failure_json(run.progress.stage, reason, trace)
    run.folder.append_log(f"{state} in '{run.progress.stage}': {failure['reason']}\n{failure['traceback']}")
    if stored is None:
        record = Record(
            id=run.cell.id, state=state, cell=cell_json(run.cell), provenance=run.provenance(), failure=failure
        )
    else:
        record = dataclasses.replace(stored, state="done" if stored.state == "done" else state, failure=failure)
    with contextlib.suppress(RecordError, locks.LostLockError):  # the disk may be full; the outcome has the reason
        run.folder.write_record(record)


def _outcome(
    job: Job, state: State | Literal["elsewhere"], started: float, reason: str = "", trace: str = "", cause: Cause = ""
) -> Outcome:
    return Outcome(
        cell_id=job.cell.id,
        folder=job.folder,
        state=state,
        seconds=time.monotonic() - started,
        reason=shortened(reason),
        traceback=shortened(trace, TRACEBACK_CHARACTERS),
        cause=cause,
    )


def _finished(outcome: Outcome, job: Job, reporter: Reporter) -> Outcome:
    """Reports the end of a cell, unless it is another run's."""
    if outcome.state != "elsewhere":
        values = {"seconds": outcome.seconds}
        reporter(Event(kind="finished", cell=job.cell.title, stage=outcome.state, values=values, text=outcome.reason))
    return outcome
