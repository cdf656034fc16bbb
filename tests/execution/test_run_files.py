"""Run files: written while a run works, removed when it ends or has died."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sample_run_files import DEAD, REMOTE, queued, write_run_file
from session_runs import Session, with_executor

from benchmark.api.cells import Job, Outcome
from benchmark.execution.run_files import RUNS, RunFile, announce, read_runs
from benchmark.execution.runner import BY_ANOTHER
from benchmark.records import index, locks


def test_run_file_holds_owner_slots_and_cells_and_is_removed_at_the_end(tmp_path: Path) -> None:
    cells = [queued("one", 1.5), queued("two", None, index.Stamp(10, 20))]
    with announce(tmp_path, 3, cells):
        (run,) = read_runs(tmp_path)
        assert run == RunFile(owner=locks.current_process(), since=run.since, slots=3, cells=tuple(cells))
        assert abs(run.since - time.time()) < 60
    assert read_runs(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_run_file_is_removed_after_an_interrupt_or_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), announce(tmp_path, 1, []):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_run_file_of_a_dead_process_is_removed_by_the_next_run(tmp_path: Path) -> None:
    write_run_file(tmp_path, owner=REMOTE)
    write_run_file(tmp_path, owner=DEAD)
    path = tmp_path / RUNS / f"{DEAD.host}-{DEAD.pid}.json"
    (tmp_path / RUNS / f"{DEAD.host}-{DEAD.pid}-0.json").rename(path)
    with announce(tmp_path, 1, []):
        hosts = sorted(run.owner.host for run in read_runs(tmp_path))
        assert hosts == sorted([REMOTE.host, locks.current_process().host])


def test_run_file_is_written_although_another_run_removes_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, fail = os.replace, iter([True, False])

    def without_folder(source: Path, target: Path) -> None:
        if next(fail):
            raise FileNotFoundError(2, "another run has removed the folder")
        replace(source, target)

    monkeypatch.setattr(os, "replace", without_folder)
    with announce(tmp_path, 1, [queued("one")]):
        assert len(read_runs(tmp_path)) == 1


def test_run_goes_on_if_its_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / RUNS).write_text("a file in the way")
    with announce(tmp_path, 1, [queued("one")]):
        assert read_runs(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"owner": {}, "cells": [], "since": 1, "slots": 1}', "\xff"])
def test_damaged_run_file_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / RUNS).mkdir()
    (tmp_path / RUNS / "x.json").write_text(text, encoding="latin-1")
    assert read_runs(tmp_path) == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_session_announces_its_pending_cells_while_it_runs(
    third_party: Path, tmp_path: Path, error: type[BaseException] | None
) -> None:
    session, seen = Session(out=tmp_path / "runs"), list[RunFile]()

    def watch(jobs: Sequence[Job]) -> Iterator[Outcome]:
        seen.extend(read_runs(session.out))
        if error is not None:
            raise error
        yield from ()

    catalog = with_executor(watch)
    if error is None:
        session.run(seeds=(0, 1), executor="planted", catalog=catalog)
    else:
        with pytest.raises(error):
            session.run(seeds=(0, 1), executor="planted", catalog=catalog)
    (run,) = seen
    assert run.owner == locks.current_process()
    assert [cell.title for cell in run.cells] == [f"mean_color / tiny / stripes / seed {seed}" for seed in (0, 1)]
    assert [cell.stamp for cell in run.cells] == [None, None]
    assert not (session.out / RUNS).exists()


def test_session_counts_cells_of_other_runs_separately(third_party: Path, tmp_path: Path) -> None:
    def elsewhere(jobs: Sequence[Job]) -> Iterator[Outcome]:
        for job in jobs:
            reason = BY_ANOTHER if job.cell.seed else ""
            yield Outcome(cell_id=job.cell.id, folder=job.folder, seconds=0.0, state="done", reason=reason)

    session = Session(out=tmp_path / "runs")
    result = session.run(seeds=(0, 1, 2), executor="planted", catalog=with_executor(elsewhere))
    assert result.summary[0].startswith("cells: 1 done, 0 finished before, 0 failed")
    assert result.summary[1] == "cells done by another run: 2"
