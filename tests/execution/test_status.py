"""The status of an output folder: which cells are running, waiting, done or failed, and the time left."""

from __future__ import annotations

from pathlib import Path

from sample_run_files import DEAD, FAILURE, REMOTE, queued, write_checkpoint, write_lock, write_run_file, write_sample

from benchmark.execution.status import Status, read_status


def waiting(status: Status) -> list[str]:
    return [cell.folder for cell in status.waiting]


# --- states -----------------------------------------------------------------------------------------------------------


def test_each_cell_counts_once(tmp_path: Path) -> None:
    write_run_file(tmp_path, queued("busy"), queued("next"), queued("finished"), queued("broken"))
    write_lock(tmp_path, "busy")
    write_sample(tmp_path, "finished")
    write_sample(tmp_path, "broken", state="failed", failure=FAILURE)
    write_sample(tmp_path, "older")
    write_sample(tmp_path, "tried", state="smoke")
    write_sample(tmp_path, "stopped", state="interrupted")
    write_checkpoint(tmp_path, "begun")
    status = read_status(tmp_path)
    assert [each.folder for each in status.running] == ["busy"]
    assert waiting(status) == ["next"]
    assert (status.done, status.smoke) == (2, 1)
    assert status.failed == {"broken": "NaN in step 3"}
    assert status.interrupted == ("begun", "stopped")


def test_cell_to_run_again_waits_until_its_record_changes(tmp_path: Path) -> None:
    stamps = {
        "good": write_sample(tmp_path, "good"),
        "bad": write_sample(tmp_path, "bad", state="failed", failure=FAILURE),
    }
    write_run_file(tmp_path, *(queued(name, stamp=stamp) for name, stamp in stamps.items()))
    assert waiting(read_status(tmp_path)) == ["good", "bad"]
    write_sample(tmp_path, "good", cost={"train_seconds": 123.25})
    status = read_status(tmp_path)
    assert (waiting(status), status.done, dict(status.failed)) == (["bad"], 1, {})


def test_interrupted_cell_waits_while_a_run_is_active(tmp_path: Path) -> None:
    write_sample(tmp_path, "stopped", state="interrupted")
    write_checkpoint(tmp_path, "begun")
    write_run_file(tmp_path, queued("stopped"), queued("begun"))
    status = read_status(tmp_path)
    assert (waiting(status), status.interrupted) == (["stopped", "begun"], ())


def test_running_cell_does_not_count_by_its_older_record(tmp_path: Path) -> None:
    write_sample(tmp_path, "cell", state="failed", failure=FAILURE)
    write_lock(tmp_path, "cell")
    status = read_status(tmp_path)
    assert (len(status.running), len(status.failed)) == (1, 0)


def test_two_runs_on_one_folder_share_waiting_cells_and_add_their_slots(tmp_path: Path) -> None:
    write_run_file(tmp_path, queued("one"), queued("two"))
    write_run_file(tmp_path, queued("two"), queued("three"), owner=REMOTE, slots=3)
    status = read_status(tmp_path)
    assert (sorted(waiting(status)), status.slots, len(status.runs)) == (["one", "three", "two"], 5, 2)


# --- dead processes ---------------------------------------------------------------------------------------------------


def test_lock_of_a_dead_process_is_abandoned_and_its_cell_waits(tmp_path: Path) -> None:
    write_lock(tmp_path, "cell", owner=DEAD)
    (running,) = read_status(tmp_path).running
    assert running.abandoned
    write_run_file(tmp_path, queued("cell", 10))
    status = read_status(tmp_path)
    assert (waiting(status), status.estimates) == (["cell"], [10])


def test_lock_of_a_dead_process_on_a_finished_cell_does_not_count(tmp_path: Path) -> None:
    write_sample(tmp_path, "cell")
    write_lock(tmp_path, "cell", owner=DEAD)
    status = read_status(tmp_path)
    assert (status.running, status.done) == ((), 1)


def test_processes_of_another_machine_count_as_alive(tmp_path: Path) -> None:
    write_lock(tmp_path, "cell", owner=REMOTE)
    write_run_file(tmp_path, queued("next"), owner=REMOTE)
    status = read_status(tmp_path)
    assert not status.running[0].abandoned
    assert (waiting(status), status.dead_runs) == (["next"], ())


def test_cells_of_a_dead_run_do_not_wait(tmp_path: Path) -> None:
    write_run_file(tmp_path, queued("next"), owner=DEAD)
    status = read_status(tmp_path)
    assert (waiting(status), status.runs, len(status.dead_runs)) == ([], (), 1)


# --- time left --------------------------------------------------------------------------------------------------------


def test_time_left_is_the_rest_of_all_cells_over_the_slots(tmp_path: Path) -> None:
    write_run_file(tmp_path, queued("busy", 100), queued("next", 60), queued("last", 40), slots=2)
    write_lock(tmp_path, "busy", heartbeat=8)  # 40 s of heartbeats
    status = read_status(tmp_path)
    assert status.estimates == [60, 60, 40]
    assert status.seconds_left == 80


def test_time_left_of_a_cell_is_never_negative(tmp_path: Path) -> None:
    write_run_file(tmp_path, queued("busy", 10))
    write_lock(tmp_path, "busy", heartbeat=100)
    assert read_status(tmp_path).estimates == [0]


def test_time_left_is_unknown_without_estimates(tmp_path: Path) -> None:
    write_run_file(tmp_path, queued("busy"), queued("next"), slots=1)
    write_lock(tmp_path, "busy")
    status = read_status(tmp_path)
    assert (status.seconds_left, status.estimates) == (None, [None, None])
