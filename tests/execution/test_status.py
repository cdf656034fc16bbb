"""`bench status`: claims, run files and records put together; nobody who works is taken for dead, nor the other way."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from sample_records import sample_record

from benchmark.api.cells import Outcome
from benchmark.errors import RecordError
from benchmark.execution import run_files as runfiles
from benchmark.execution import runner, status
from benchmark.execution.run_files import RUNS, QueuedCell, RunFile, announce, read_runs
from benchmark.records import index, locks
from benchmark.records.locks import LOCK, LockInfo, Owner
from benchmark.records.record import CHECKPOINT, RECORD, write_record
from benchmark.reports.render import render_tables

GONE = dataclasses.replace(locks.current_process(), started="0")
"""A process of this machine that had our number and has ended."""
FAR = Owner(host="far", pid=7, started="1", boot="b")
"""Of another machine, of which nothing is known."""


def due(folder: str, seconds: float | None = None, stamp: index.Stamp | None = None) -> QueuedCell:
    return QueuedCell(id=folder, folder=folder, title=f"title of {folder}", seconds=seconds, stamp=stamp)


def announce_run(out: Path, *cells: QueuedCell, owner: Owner | None = None, slots: int = 2) -> None:
    """A run file, as a process leaves it that is still there."""
    owner = owner or locks.current_process()
    body = {"owner": dataclasses.asdict(owner), "since": 1.0, "slots": slots, "cells": [vars(cell) for cell in cells]}
    (out / RUNS).mkdir(exist_ok=True, parents=True)
    (out / RUNS / f"{owner.host}-{owner.pid}-{owner.started}.json").write_text(json.dumps(body))


def claim(out: Path, folder: str, owner: Owner | None = None, **changes: Any) -> None:
    """A claim on a cell, as its process renews it."""
    fields: dict[str, Any] = {
        **{
            "owner": owner or locks.current_process(),
            "token": folder,
            "heartbeat": 0,
            "title": f"title of {folder}",
            "device": "cpu",
        },
        **{"since": time.time()},
    }
    (out / folder).mkdir(parents=True, exist_ok=True)
    (out / folder / LOCK).write_text(json.dumps(dataclasses.asdict(LockInfo(**{**fields, **changes}))))


def put(out: Path, folder: str, **changes: Any) -> index.Stamp | None:
    write_record(out / folder, sample_record(**changes))
    return index.stamp_of(str(out / folder))


def waiting(found: status.Status) -> list[str]:
    return [cell.folder for cell in found.waiting]


# --- what is where ----------------------------------------------------------------------------------------------------


def test_each_cell_is_in_one_place(tmp_path: Path) -> None:
    announce_run(tmp_path, due("busy"), due("next"), due("finished"), due("broken"))
    claim(tmp_path, "busy")
    put(tmp_path, "finished")
    put(tmp_path, "broken", state="failed", failure={"stage": "train", "reason": "NaN\nin step 3", "traceback": ""})
    put(tmp_path, "older")
    put(tmp_path, "tried", state="smoke")
    put(tmp_path, "stopped", state="interrupted")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / CHECKPOINT).touch()
    found = status.read_status(tmp_path)
    assert [each.folder for each in found.running] == ["busy"]
    assert waiting(found) == ["next"]
    assert (found.done, found.smoke) == (2, 1)
    assert found.failed == {"broken": "NaN in step 3"}
    assert found.interrupted == ("begun", "stopped")


def test_what_is_to_be_done_again_waits_until_it_has_been(tmp_path: Path) -> None:
    failure = {"stage": "train", "reason": "NaN", "traceback": ""}
    stamps = {"good": put(tmp_path, "good"), "bad": put(tmp_path, "bad", state="failed", failure=failure)}
    announce_run(tmp_path, *(due(name, stamp=stamp) for name, stamp in stamps.items()))
    assert waiting(status.read_status(tmp_path)) == ["good", "bad"]
    put(tmp_path, "good", cost={"train_seconds": 123.25})
    found = status.read_status(tmp_path)
    assert (waiting(found), found.done, dict(found.failed)) == (["bad"], 1, {})


def test_a_cell_that_was_interrupted_waits_if_a_run_goes_on(tmp_path: Path) -> None:
    put(tmp_path, "stopped", state="interrupted")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / CHECKPOINT).touch()
    announce_run(tmp_path, due("stopped"), due("begun"))
    found = status.read_status(tmp_path)
    assert (waiting(found), found.interrupted) == (["stopped", "begun"], ())


def test_a_running_cell_with_an_older_record_is_running_alone(tmp_path: Path) -> None:
    put(tmp_path, "cell", state="failed", failure={"stage": "train", "reason": "x", "traceback": ""})
    claim(tmp_path, "cell")
    found = status.read_status(tmp_path)
    assert (len(found.running), len(found.failed)) == (1, 0)


def test_two_runs_on_one_folder_share_what_waits_and_add_their_slots(tmp_path: Path) -> None:
    announce_run(tmp_path, due("one"), due("two"))
    announce_run(tmp_path, due("two"), due("three"), owner=FAR, slots=3)
    found = status.read_status(tmp_path)
    assert (sorted(waiting(found)), found.slots, len(found.runs)) == (["one", "three", "two"], 5, 2)


# --- who is gone ------------------------------------------------------------------------------------------------------


def test_a_claim_whose_process_is_gone_is_left_behind_and_its_cell_waits_for_a_run(tmp_path: Path) -> None:
    claim(tmp_path, "cell", owner=GONE)
    (each,) = status.read_status(tmp_path).running
    assert each.left
    announce_run(tmp_path, due("cell", 10))
    found = status.read_status(tmp_path)
    assert (waiting(found), found.rests) == (["cell"], [10])
    assert "left behind" in render_tables(status.status_tables(found), "table")


def test_of_another_machine_nobody_is_called_gone(tmp_path: Path) -> None:
    claim(tmp_path, "cell", owner=FAR)
    announce_run(tmp_path, due("next"), owner=FAR)
    found = status.read_status(tmp_path)
    assert not found.running[0].left
    assert (waiting(found), found.ended) == (["next"], ())


def test_a_run_that_died_is_named_and_what_it_had_to_do_does_not_wait(tmp_path: Path) -> None:
    announce_run(tmp_path, due("next"), owner=GONE)
    found = status.read_status(tmp_path)
    assert (waiting(found), found.runs, len(found.ended)) == ([], (), 1)
    text = render_tables(status.status_tables(found), "table")
    assert f"The run {GONE.host}:{GONE.pid} has ended without a word" in text
    assert "No run is going on." in text


# --- the time that is left --------------------------------------------------------------------------------------------


def test_the_time_left_is_that_of_what_waits_and_the_rest_of_what_runs_over_the_slots(tmp_path: Path) -> None:
    announce_run(tmp_path, due("busy", 100), due("next", 60), due("last", 40), slots=2)
    claim(tmp_path, "busy", heartbeat=8)  # 40 s of heartbeats
    found = status.read_status(tmp_path)
    assert found.rests == [60, 60, 40]
    assert found.seconds_left == 80
    assert "Time left: 80 s on 2 slots." in render_tables(status.status_tables(found), "table")


def test_a_cell_that_takes_longer_than_expected_has_nothing_left_and_no_less(tmp_path: Path) -> None:
    announce_run(tmp_path, due("busy", 10))
    claim(tmp_path, "busy", heartbeat=100)
    assert status.read_status(tmp_path).rests == [0]


def test_what_is_not_known_is_said_to_be_unknown_and_of_how_many(tmp_path: Path) -> None:
    announce_run(tmp_path, due("busy"), due("next"), slots=1)
    claim(tmp_path, "busy")
    found = status.read_status(tmp_path)
    assert found.seconds_left is None
    assert "Time left: unknown on 1 slot; 2 of 2 cells have no past record." in render_tables(
        status.status_tables(found), "table"
    )
    announce_run(tmp_path, due("busy"), due("next"), due("third", 30), slots=1)
    text = render_tables(status.status_tables(status.read_status(tmp_path)), "table")
    assert "Time left: 30 s on 1 slot; 2 of 3 cells have no past record." in text


# --- run files --------------------------------------------------------------------------------------------------------


def test_a_run_file_says_what_was_put_in_and_is_gone_in_the_end(tmp_path: Path) -> None:
    cells = [due("one", 1.5), due("two", None, index.Stamp(10, 20))]
    with announce(tmp_path, 3, cells):
        (run,) = read_runs(tmp_path)
        assert run == RunFile(owner=locks.current_process(), since=run.since, slots=3, cells=tuple(cells))
        assert abs(run.since - time.time()) < 60
    assert read_runs(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_run_file_is_gone_after_an_interrupt_or_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), announce(tmp_path, 1, []):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_run_that_died_is_cleared_away_by_the_next_and_no_other(tmp_path: Path) -> None:
    announce_run(tmp_path, owner=FAR)
    path = tmp_path / RUNS / f"{GONE.host}-{GONE.pid}.json"
    announce_run(tmp_path, owner=GONE)
    (tmp_path / RUNS / f"{GONE.host}-{GONE.pid}-0.json").rename(path)
    with announce(tmp_path, 1, []):
        assert sorted(run.owner.host for run in read_runs(tmp_path)) == sorted([FAR.host, locks.current_process().host])


def test_a_folder_that_another_run_takes_away_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, turns = runfiles.replaced, iter([True, False])

    def hindered(path: Path, *, synced: bool) -> Any:
        if next(turns):
            raise RecordError("the folder is gone")
        return real(path, synced=synced)

    monkeypatch.setattr(runfiles, "replaced", hindered)
    with announce(tmp_path, 1, [due("one")]):
        assert len(read_runs(tmp_path)) == 1


def test_where_no_run_file_can_be_written_it_is_done_without(tmp_path: Path) -> None:
    (tmp_path / RUNS).write_text("a file in the way")
    with announce(tmp_path, 1, [due("one")]):
        assert read_runs(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"owner": {}, "cells": [], "since": 1, "slots": 1}'])
def test_a_run_file_that_is_not_whole_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / RUNS).mkdir()
    (tmp_path / RUNS / "x.json").write_text(text)
    assert read_runs(tmp_path) == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_bench_run_announces_what_is_due_while_it_goes_on(
    third_party: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None
) -> None:
    seen: list[RunFile] = []

    def watched(errands: object, *_: object, **__: object) -> Iterator[Any]:
        seen.extend(read_runs(tmp_path / "runs"))
        if error is not None:
            raise error
        return iter(())

    monkeypatch.setattr(runner, "run", watched)
    words = ("--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid", "--no-floors", "--device", "cpu")
    result = bench("run", "--methods", "mean_color", "--seeds", "2", *words, "--per-device", "3")
    assert result.exit_code == (0 if error is None else 130)
    (run,) = seen
    assert (run.owner, run.slots) == (locks.current_process(), 3)
    assert [cell.title for cell in run.cells] == [f"mean_color / tiny / stripes / seed {seed}" for seed in (0, 1)]
    assert [cell.stamp for cell in run.cells] == [None, None]
    assert not (tmp_path / "runs" / RUNS).exists()


def test_what_another_run_did_is_counted_apart(
    third_party: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(errands: Any, *_: object, **__: object) -> Iterator[Any]:
        for errand in errands:
            reason = runner.BY_ANOTHER if errand.cell.seed else ""
            fields = {"cell_id": errand.cell.id, "folder": errand.folder, "seconds": 0.0}
            yield Outcome(**fields, state="done", reason=reason)

    monkeypatch.setattr(runner, "run", elsewhere)
    words = ("--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid", "--no-floors", "--device", "cpu")
    result = bench("run", "--methods", "mean_color", "--seeds", "3", *words)
    assert "1 cells done, 0 finished before, 0 failed" in result.stderr
    assert "2 cells done by another run" in result.stderr


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A folder with one of each."""
    out = tmp_path / "runs"
    announce_run(out, due("busy", 100), due("next", 60), due("third"))
    claim(out, "busy", stage="train", done=3, total=10, values={"loss": 0.5, "images/s": 1234.5})
    put(out, "done")
    put(out, "broken", state="failed", failure={"stage": "train", "reason": "the loss was NaN", "traceback": ""})
    return out


def test_people_see_what_runs_waits_and_failed_and_why(bench: Bench, busy: Path) -> None:
    shown = bench("status")
    assert shown.exit_code == 0, shown.output
    rows = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert {"running 1", "waiting 2", "done 1", "failed 1", "interrupted 0"} <= set(rows)
    (row,) = [line for line in rows if line.startswith("title of busy")]
    for word in ("cpu", "train", "3/10", "loss 0.5000", "images/s 1,234", f":{os.getpid()}", "1.7 min"):
        assert word in row
    assert "title of third unknown" in rows
    assert "broken the loss was NaN" in rows


def test_machines_get_all_of_it(bench: Bench, busy: Path) -> None:
    body = json.loads(bench("status", "runs", "--format", "json").stdout)
    (running,) = body["running"]
    assert {key: running[key] for key in ("folder", "device", "stage", "done", "total", "left_behind")} == {
        **{"folder": "busy", "device": "cpu", "stage": "train", "done": 3, "total": 10, "left_behind": False}
    }
    assert running["values"] == {"loss": 0.5, "images/s": 1234.5}
    assert running["owner"] == f"{locks.current_process().host}:{os.getpid()}"
    assert [(cell["folder"], cell["expected_seconds"]) for cell in body["waiting"]] == [("next", 60), ("third", None)]
    assert (body["done"], body["interrupted"], body["slots"]) == (1, [], 2)
    assert body["failed"] == [{"folder": "broken", "reason": "the loss was NaN"}]
    assert (body["seconds_left"], body["without_estimate"]) == (100, 1)


def test_of_many_that_wait_the_first_are_named_and_the_others_counted(tmp_path: Path) -> None:
    announce_run(tmp_path, *(due(f"cell-{number:02}") for number in range(25)))
    text = render_tables(status.status_tables(status.read_status(tmp_path)), "table")
    assert text.count("title of cell-") == status.NEXT
    assert "and 15 more" in text


def test_a_damaged_record_is_told_of_and_the_rest_is_shown(bench: Bench, busy: Path) -> None:
    (busy / "done" / RECORD).write_text("{")
    shown = bench("status")
    assert shown.exit_code == 0
    assert "bench: left out:" in shown.stderr
    assert "title of busy" in shown.stdout


def test_an_empty_folder_has_nothing_and_one_that_is_not_there_is_told_of(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shown = bench("status", "empty")
    assert shown.exit_code == 0
    assert "No run is going on." in shown.stdout
    assert bench("status", "nowhere").exit_code == 2


@pytest.mark.parametrize("words", [["status", "runs"], ["explain", "busy", "busy", "--format", "json"]], ids=" ".join)
def test_another_terminal_does_not_wait_for_torch(busy: Path, words: list[str]) -> None:
    put(busy, "busy")
    script = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(sorted({'torch', 'pandas', 'sklearn'} & set(sys.modules)), file=sys.stderr))\n"
        f"from benchmark.cli.main import main\nmain({words!r})\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=busy.parent, check=False)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (0, "[]"), ran.stderr
