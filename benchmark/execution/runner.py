"""Many cells: what is finished is skipped, the rest goes to an executor, and one that fails costs no other.

Reads records to see what is there; writes one only for a cell that died without being able to.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.api.catalog import Catalog
from benchmark.api.cells import Accelerate, Cell, Item, Job, Outcome
from benchmark.api.executors import Executor, ExecutorContext
from benchmark.api.parameters import bind
from benchmark.errors import BenchError, DataError, PluginError, RecordError, UsageError
from benchmark.execution.cell_state import PendingCell, Rerun
from benchmark.progress import Event, Reporter
from benchmark.records import locks
from benchmark.records.record import RECORD, Record, read_record, write_record

BY_ANOTHER = "done by another run"
"""How the reason of an outcome begins or ends that another run on the same folder brought about."""
WATCH_SECONDS = 0.5
"""Between two looks at cells that another run works on."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where and how cells run."""

    out: Path
    data_dir: Path
    executor: Item
    devices: tuple[str, ...]
    slots: int
    """On each device."""
    threads: int
    """CPU threads of each cell."""
    rerun: Rerun = "failed"
    accelerate: Accelerate = "auto"
    timeout: float | None = None
    """Seconds of silence after which a cell counts as hung; None: never."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints of a cell."""
    checkpoint_epochs: int | None = None
    """Also after every so many epochs."""
    memory: Mapping[str, int] = field(default_factory=dict)
    """Device -> bytes that cells may hold there together."""


Estimate = Callable[[Cell], tuple[float | None, int | None]]
"""What past records say of a cell: (seconds of training and scoring, bytes held); None where they say nothing."""


def no_estimate(cell: Cell) -> tuple[float | None, int | None]:
    """Nothing is known of any cell."""
    return None, None


def run(
    errands: Sequence[PendingCell],
    catalog: Catalog,
    place: RunConfig,
    reporter: Reporter,
    guess: Estimate = no_estimate,
) -> Iterator[Outcome]:
    """Outcomes of all errands, as they end, longest first. Stopping to iterate stops what is running.

    Raises:
        UsageError: the output folder cannot be written, or there is no such executor.
    """
    check_writable(place.out)
    executor_spec = catalog.find(catalog.executors, "executor", place.executor.name).spec
    params = bind(executor_spec.params, place.executor.params, f"executor '{executor_spec.name}'")
    context = ExecutorContext(
        params=params, devices=place.devices, slots=place.slots, threads=place.threads, memory=place.memory
    )
    executor = executor_spec.build(context)
    _fetch_datasets(errands, catalog, place.data_dir)
    jobs = longest_first([_job(errand, place, guess) for errand in errands])
    watch = locks.LeaseMonitor()
    while jobs:
        elsewhere: list[Job] = []
        for job, outcome in _carried_out(executor, executor_spec.name, jobs, reporter):
            if outcome.state == "elsewhere":
                elsewhere.append(job)
                continue
            if outcome.state == "failed":
                _keep_failure(job, outcome)
            yield outcome
        jobs = []
        for left in _watched(elsewhere, watch, reporter):
            if isinstance(left, Outcome):
                yield left
            else:
                jobs.append(left)


def longest_first(jobs: Sequence[Job]) -> list[Job]:
    """In the order in which they start; those of which nothing is known come first, since they may be the longest."""
    return sorted(jobs, key=lambda job: -math.inf if job.expected_seconds is None else -job.expected_seconds)


def _carried_out(
    executor: Executor, name: str, jobs: Sequence[Job], reporter: Reporter
) -> Iterator[tuple[Job, Outcome]]:
    """Every job with its outcome, as an executor gives them; none is lost whatever the executor does."""
    waiting = {job.cell.id: job for job in jobs}
    outcomes = iter(executor.run(jobs, reporter))
    try:
        for outcome in outcomes:
            job = waiting.pop(outcome.cell_id, None)
            if job is None:
                raise PluginError(f"executor '{name}' gave an outcome that nobody waits for: {outcome.folder}")
            yield job, outcome
        for job in waiting.values():
            reason = f"executor '{name}' ended without an outcome for it"
            yield job, Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason=reason)
    finally:
        close = getattr(outcomes, "close", None)
        if close is not None:
            close()


def _watched(jobs: Sequence[Job], watch: locks.LeaseMonitor, reporter: Reporter) -> Iterator[Outcome | Job]:
    """What becomes of cells that another run works on: the outcome it left, or the job again where it left none."""
    waiting = list(jobs)
    if waiting:
        text = f"{len(waiting)} cells are being done by another run on this output folder; waiting for them"
        reporter(Event(kind="note", cell="", text=text))
    while waiting:
        left = False
        for job in list(waiting):
            sign = locks.read_lock(Path(job.out_dir) / job.folder)
            if sign is not None and not watch.is_left(sign):
                continue
            waiting.remove(job)
            outcome = _left_by_another(job) if sign is None else None
            if outcome is not None:
                values = {"seconds": outcome.seconds}
                title = job.cell.title
                reporter(Event(kind="finished", cell=title, stage=outcome.state, values=values, text=outcome.reason))
                yield outcome
                continue
            left = True
            yield dataclasses.replace(job, left_token="" if sign is None else sign.token)
        if left:
            # What is still done elsewhere is asked for again with it: it comes back as quickly.
            yield from waiting
            return
        if waiting:
            time.sleep(WATCH_SECONDS)


def _left_by_another(job: Job) -> Outcome | None:
    """The outcome that another run left in a cell's folder; None where the cell is not whole."""
    try:
        record = read_record(Path(job.out_dir) / job.folder)
    except BenchError:
        return None
    if record.is_whole(job.scores) or (record.state == "smoke" and job.cell.smoke):
        seconds = float(record.cost.get("train_seconds") or 0.0)
        return Outcome(cell_id=job.cell.id, folder=job.folder, state=record.state, seconds=seconds, reason=BY_ANOTHER)
    if record.state == "failed":
        reason = f"{(record.failure or {}).get('reason', '')} ({BY_ANOTHER})"
        return Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason=reason)
    return None


def _fetch_datasets(errands: Sequence[PendingCell], catalog: Catalog, data_dir: Path) -> None:
    """Downloads, decodes and caches each dataset once, before cells would do so side by side.

    Raises:
        DataError: a dataset cannot be had or holds a broken image; no cell was started.
    """
    datasets = {errand.cell.fingerprint: errand.cell.dataset for errand in errands}
    for item in datasets.values():
        spec = catalog.find(catalog.datasets, "dataset", f"{item.provider}:{item.name}").spec
        params = bind(spec.params, item.params, f"dataset '{spec.name}'")
        try:
            spec.load(params, data_dir)
        except BenchError:
            raise
        except Exception as error:  # a stranger's code: said in a sentence, as its own errors would be
            raise DataError(f"dataset '{item.label}' cannot be loaded: {type(error).__name__}: {error}") from error


def check_writable(out: Path) -> None:
    """Makes the output folder and proves that it takes files.

    Raises:
        UsageError: it does not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written ({error.strerror}); choose another folder") from error


def _job(errand: PendingCell, place: RunConfig, guess: Estimate) -> Job:
    seconds, size = guess(errand.cell)
    return Job(
        cell=errand.cell,
        scores=errand.planned.scores,
        data_dir=str(place.data_dir),
        out_dir=str(place.out),
        folder=errand.folder,
        threads=place.threads,
        rerun=errand.retrain,
        accelerate=place.accelerate,
        checkpoint_seconds=place.checkpoint_seconds,
        checkpoint_epochs=place.checkpoint_epochs,
        timeout=place.timeout,
        expected_seconds=seconds,
        memory=size,
    )


def _keep_failure(job: Job, outcome: Outcome) -> None:
    """A record for a cell whose process died before it could write one."""
    folder = Path(job.out_dir) / job.folder
    failure = {"stage": "process", "reason": outcome.reason, "traceback": outcome.traceback}
    try:
        record = read_record(folder)
        if record.state in ("done", "failed"):
            return
        record = dataclasses.replace(record, state="failed", failure=failure)
    except BenchError:
        if (folder / RECORD).exists():
            return
        cell = job.cell
        named = {"method": cell.method, "encoder": cell.encoder, "dataset": cell.dataset}
        body = {
            kind: {"name": item.name, "label": item.label, "params": dict(item.identity)}
            for kind, item in named.items()
        }
        record = Record(id=cell.id, state="failed", cell={**body, "seed": cell.seed}, failure=failure)
    try:
        write_record(folder, record)
    except RecordError:
        return  # the outcome tells it; there is no room to write
