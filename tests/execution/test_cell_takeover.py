"""A cell that another run takes over while it runs stops, and changes nothing that the other run has written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sample_jobs import JobMaker, folder_of, run_done
from sample_locks import lock_of, taken
from session_runs import Session, with_executor

from benchmark.api.cells import Job, Outcome
from benchmark.execution.cell import run_cell
from benchmark.progress import Event
from benchmark.records.locks import LOCK, CellLock
from benchmark.records.record import CHECKPOINT
from benchmark.records.record_files import read_record

MOMENTS = {
    "epoch 1": ("epoch", "train"),
    "training": ("stage", "train"),
    "features": ("stage", "features"),
    "first evaluator": ("stage", "evaluate centroid at conv"),
    "last evaluator": ("stage", "evaluate centroid at fc"),
}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def taken_over(job: Job, moment: str, finished: Path) -> tuple[Outcome, CellLock]:
    """Runs a job. At a moment another run takes its lock and finishes the cell."""
    locks: list[CellLock] = []

    def take(event: Event) -> None:
        if (event.kind, event.stage) == MOMENTS[moment] and not locks:
            locks.append(taken(folder_of(job), abandoned_token=lock_of(folder_of(job)).token))
            (folder_of(job) / CHECKPOINT).unlink(missing_ok=True)
            for path in finished.iterdir():
                shutil.copy2(path, folder_of(job))

    outcome = run_cell(job, reporter=take)
    return outcome, locks[0]


@pytest.mark.parametrize(
    ("method", "moment"), [*(("mean_color", moment) for moment in MOMENTS), ("fault_loss", "training")]
)
def test_cell_that_was_taken_over_keeps_the_files_of_the_other_run(
    job: JobMaker, tmp_path: Path, method: str, moment: str
) -> None:
    finished = folder_of(job(out=tmp_path / "other", epochs=2))
    run_done(job(out=tmp_path / "other", epochs=2))
    options: dict[str, Any] = {"checkpoint_seconds": 0.0, "epochs": 2}
    outcome, lock = taken_over(job(method, **options), moment, finished)
    assert outcome.state == "elsewhere"
    assert files(folder_of(job(method, **options))) == files(finished)
    lock.check()
    lock.release()


def test_cell_that_never_keeps_its_lock_fails_after_some_tries(session: Session) -> None:
    runs: list[str] = []

    def without_lock(jobs: Any) -> Any:
        for job in jobs:
            runs.append(job.folder)

            def delete(event: Event, job: Job = job) -> None:
                if event.kind == "epoch":
                    (folder_of(job) / LOCK).unlink()

            yield run_cell(job, reporter=delete)

    result = session.run(executor="planted", catalog=with_executor(without_lock))
    assert 1 < len(runs) < 10
    (failed,) = result.failed
    assert "lost the lock" in failed.reason
    assert f"given up after {len(runs)} tries" in failed.reason
    assert read_record(session.folder()).state == "failed"


def test_crash_does_not_change_the_record_of_a_run_that_holds_the_cell(session: Session) -> None:
    held: list[CellLock] = []

    def crash(jobs: Any) -> Any:
        (job,) = jobs
        held.append(taken(folder_of(job)))
        yield Outcome(cell_id=job.cell.id, folder=job.folder, state="failed", seconds=0.0, reason="crashed")

    session.run(executor="planted", catalog=with_executor(crash))
    assert files(session.folder()) == {}
    held[0].check()
    held[0].release()
