"""Locks on cells: acquisition, heartbeats, abandonment, loss."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from launched import until
from sample_locks import lock_of, taken

from benchmark.errors import RecordError
from benchmark.progress import Event
from benchmark.records.locks import (
    LEASE_SECONDS,
    LOCK,
    LeaseMonitor,
    LockInfo,
    LostLockError,
    Owner,
    acquire,
    current_process,
    exclusive,
    process,
    read_lock,
)

# --- held locks ----------------------------------------------------------------------------------------------------


class Clock:
    """Monotonic seconds, set by tests."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cell folder that does not exist yet."""
    return tmp_path / "runs" / "mean-tiny-stripes-s0-1"


def dead() -> Owner:
    """A process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        return process(child.pid)


def other_lock(folder: Path, owner: Owner, token: str = "other", heartbeat: int = 7) -> LockInfo:
    """A lock that another process has written."""
    folder.mkdir(parents=True, exist_ok=True)
    info = LockInfo(owner=owner, token=token, heartbeat=heartbeat, title="mean", device="cpu", since=time.time())
    (folder / LOCK).write_text(json.dumps(dataclasses.asdict(info)))
    return info


def on_another_machine() -> Owner:
    """A process of another machine with the number of a running process of this one."""
    return dataclasses.replace(current_process(), host="another-machine")


def test_lock_names_owner_cell_and_device(folder: Path) -> None:
    lock = taken(folder)
    info = lock_of(folder)
    assert info.owner == current_process()
    assert info.owner.pid == os.getpid()
    assert (info.title, info.device, info.heartbeat) == ("mean / tiny / stripes / seed 0", "cpu", 0)
    lock.check()
    lock.release()


def test_released_lock_can_be_acquired_again(folder: Path) -> None:
    taken(folder).release()
    assert not (folder / LOCK).exists()
    taken(folder).release()


def test_released_lock_leaves_no_thread(folder: Path) -> None:
    before = threading.active_count()
    lock = taken(folder)
    assert threading.active_count() == before + 1
    lock.release()
    assert threading.active_count() == before


def test_lock_of_a_running_process_is_not_acquired(folder: Path) -> None:
    lock = taken(folder)
    assert acquire(folder, "mean", "cpu") is None
    lock.check()
    lock.release()


def test_lock_of_a_running_process_is_kept_without_heartbeats(folder: Path) -> None:
    clock = Clock()
    monitor = LeaseMonitor(clock=clock)
    before = other_lock(folder, process(os.getppid()))
    assert acquire(folder, "mean", "cpu", monitor=monitor) is None
    clock.now += 100 * LEASE_SECONDS
    assert acquire(folder, "mean", "cpu", monitor=monitor) is None
    assert lock_of(folder) == before


def test_lock_records_progress_with_the_heartbeat(folder: Path) -> None:
    lock = taken(folder, heartbeat_seconds=0.01)
    events: list[Event] = []
    event = Event(kind="epoch", cell="mean", stage="train", done=3, total=6, values={"loss": 0.5, "bad": float("nan")})
    lock.record_progress(events.append)(event)
    until(lambda: lock_of(folder).heartbeat >= 3 and lock_of(folder).stage == "train", "three heartbeats")
    info = lock_of(folder)
    assert (info.done, info.total, info.values["loss"]) == (3, 6, 0.5)
    assert events == [event]
    lock.release()


def test_lock_file_is_always_complete(folder: Path) -> None:
    lock = taken(folder, heartbeat_seconds=0.0001)
    heartbeats = [lock_of(folder).heartbeat for _ in range(500)]
    assert heartbeats == sorted(heartbeats)
    lock.release()


def test_unwritable_folder_is_a_record_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RecordError, match="cannot be written"):
        acquire(tmp_path / "runs" / "cell", "mean", "cpu")


# --- abandoned locks ---------------------------------------------------------------------------------------------


def test_lock_of_a_dead_process_is_acquired_at_once(folder: Path) -> None:
    other_lock(folder, dead())
    lock = taken(folder)
    assert lock_of(folder).owner == current_process()
    lock.release()


def test_lock_of_a_dead_process_is_acquired_despite_its_clock(folder: Path) -> None:
    info = other_lock(folder, dead())
    for since in (0.0, time.time() + 10**6):
        (folder / LOCK).write_text(json.dumps(dataclasses.asdict(dataclasses.replace(info, since=since))))
        os.utime(folder / LOCK, (time.time() + 10**6,) * 2)
        taken(folder).release()


def test_process_with_a_reused_number_is_not_the_owner(folder: Path) -> None:
    other_lock(folder, dataclasses.replace(current_process(), started="1"))
    taken(folder).release()


OTHERS = {
    "earlier boot, or another machine of that name": {"boot": "00000000-0000-0000-0000-000000000000"},
    "container of that name": {"namespace": "pid:[1]"},
    "container with the same process number, which has ended here": {"namespace": "pid:[1]", "started": "1"},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS.keys())
def test_lock_of_a_process_that_cannot_be_seen_from_here_is_kept_for_a_lease(
    folder: Path, changes: dict[str, str]
) -> None:
    clock = Clock()
    monitor = LeaseMonitor(clock=clock)
    other_lock(folder, dataclasses.replace(current_process(), **changes))
    assert acquire(folder, "mean", "cpu", monitor=monitor) is None
    clock.now += LEASE_SECONDS - 0.1
    assert acquire(folder, "mean", "cpu", monitor=monitor) is None
    clock.now += 0.1
    taken(folder, monitor=monitor).release()


def test_process_of_an_earlier_boot_seems_gone_in_displays() -> None:
    assert dataclasses.replace(current_process(), boot="00000000-0000-0000-0000-000000000000").seems_gone()
    assert not dataclasses.replace(current_process(), namespace="pid:[1]").seems_gone()
    assert not current_process().seems_gone()


def test_lock_of_an_earlier_version_is_compared_by_process_number(folder: Path) -> None:
    other_lock(folder, dataclasses.replace(process(os.getppid()), namespace=""))
    assert acquire(folder, "mean", "cpu") is None
    other_lock(folder, dataclasses.replace(dead(), namespace=""))
    taken(folder).release()


def test_zombie_process_is_gone(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = process(child.pid)
    other_lock(folder, owner)
    assert acquire(folder, "mean", "cpu") is None
    child.kill()
    until(lambda: owner.is_gone(), "a killed process to be gone")
    taken(folder).release()
    assert child.stdin is not None
    child.stdin.close()
    child.wait()


def test_lock_of_another_machine_is_kept_for_a_lease(folder: Path) -> None:
    clock = Clock()
    monitor = LeaseMonitor(clock=clock)
    other_lock(folder, on_another_machine())
    assert acquire(folder, "mean", "cpu", monitor=monitor) is None
    clock.now += LEASE_SECONDS - 0.1
    assert acquire(folder, "mean", "cpu", monitor=monitor) is None
    clock.now += 0.1
    taken(folder, monitor=monitor).release()


def test_lock_of_another_machine_is_kept_while_it_has_heartbeats(folder: Path) -> None:
    clock = Clock()
    monitor = LeaseMonitor(clock=clock)
    for number in range(20):
        other_lock(folder, on_another_machine(), heartbeat=number)
        assert acquire(folder, "mean", "cpu", monitor=monitor) is None
        clock.now += LEASE_SECONDS * 0.9
    assert lock_of(folder).owner.host == "another-machine"


def test_heartbeat_renews_the_whole_lease(folder: Path) -> None:
    clock = Clock()
    monitor = LeaseMonitor(clock=clock)
    assert not monitor.is_abandoned(other_lock(folder, on_another_machine(), heartbeat=1))
    clock.now += LEASE_SECONDS - 1
    assert not monitor.is_abandoned(other_lock(folder, on_another_machine(), heartbeat=2))
    clock.now += LEASE_SECONDS - 1
    assert not monitor.is_abandoned(lock_of(folder))
    clock.now += 1
    assert monitor.is_abandoned(lock_of(folder))


def test_new_lock_of_another_machine_has_a_whole_lease(folder: Path) -> None:
    clock = Clock()
    monitor = LeaseMonitor(clock=clock)
    assert not monitor.is_abandoned(other_lock(folder, on_another_machine(), token="first", heartbeat=7))
    clock.now += 2 * LEASE_SECONDS
    assert not monitor.is_abandoned(other_lock(folder, on_another_machine(), token="second", heartbeat=7))


def test_new_observer_keeps_the_lock_of_another_machine(folder: Path) -> None:
    info = other_lock(folder, on_another_machine())
    os.utime(folder / LOCK, (0, 0))
    assert acquire(folder, "mean", "cpu") is None
    assert lock_of(folder) == info


def test_lock_with_the_abandoned_token_is_acquired(folder: Path) -> None:
    other_lock(folder, on_another_machine(), token="monitored")
    assert acquire(folder, "mean", "cpu", abandoned_token="another") is None
    taken(folder, abandoned_token="monitored").release()


DAMAGED = {
    "empty": b"",
    "half": b'{"owner": {"host": "h", "pid": 1',
    "noise": bytes(range(256)),
    "list": b"[]",
    "number": b"3",
    "nobody": b'{"owner": null}',
    "no token": b'{"owner": {"host": "h", "pid": 1, "started": "", "boot": ""}}',
    "other keys": b'{"owner": {"host": "h", "pid": 1, "started": "", "boot": ""}, "token": "t", "heartbeat": 1, "title": "",'
    b' "device": "", "since": 0, "color": "red"}',
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_lock_is_ignored(folder: Path, damage: str) -> None:
    folder.mkdir(parents=True)
    (folder / LOCK).write_bytes(DAMAGED[damage])
    assert read_lock(folder) is None
    lock = taken(folder)
    assert lock_of(folder).owner == current_process()
    lock.release()


@pytest.mark.parametrize("pid", ["seven", None, 10**30, 0, -1])
def test_lock_with_an_impossible_process_number_is_ignored(folder: Path, pid: Any) -> None:
    other_lock(folder, dataclasses.replace(current_process(), pid=pid))
    taken(folder).release()


# --- lost locks ----------------------------------------------------------------------------------------------------


def test_check_raises_after_another_run_took_over(folder: Path) -> None:
    lock = taken(folder)
    theirs = other_lock(folder, on_another_machine())
    with pytest.raises(LostLockError, match="another run took over this cell"):
        lock.check()
    lock.release()
    assert lock_of(folder) == theirs


def test_deleted_lock_is_lost(folder: Path) -> None:
    lock = taken(folder)
    (folder / LOCK).unlink()
    with pytest.raises(LostLockError):
        lock.check()
    lock.release()


def test_lost_lock_stays_lost(folder: Path) -> None:
    lock = taken(folder)
    mine = (folder / LOCK).read_bytes()
    other_lock(folder, on_another_machine())
    with pytest.raises(LostLockError):
        lock.check()
    (folder / LOCK).write_bytes(mine)
    with pytest.raises(LostLockError):
        lock.check()
    lock.release()


def test_heartbeat_notices_a_lost_lock_and_does_not_overwrite_it(folder: Path) -> None:
    lost = threading.Event()
    lock = taken(folder, on_lost=lost.set, heartbeat_seconds=0.01)
    with exclusive(folder.parent):
        theirs = other_lock(folder, on_another_machine())
    assert lost.wait(60)
    assert lock.lost
    lock.release()
    assert lock_of(folder) == theirs


def test_heartbeat_does_not_overwrite_a_new_owner(folder: Path) -> None:
    for _ in range(30):
        mine = taken(folder, heartbeat_seconds=0.0001)
        theirs = taken(folder, abandoned_token=lock_of(folder).token)
        until(lambda mine=mine: mine.lost, "the first one to notice")
        theirs.check()
        mine.release()
        theirs.release()
    assert not (folder / LOCK).exists()


# --- concurrent acquisition -------------------------------------------------------------------------------------------

TRIES, RACERS = 150, 3


def acquire_all(out: str, start: Any, finish: Any, won: Any) -> None:
    """Acquire the lock of every folder at the same time as the others, and hold it until all have tried."""
    for number in range(TRIES):
        start.wait(60)
        lock = acquire(Path(out) / f"cell-{number}", "mean", "cpu")
        finish.wait(60)
        if lock is not None:
            won.put((number, os.getpid()))
            lock.check()
            lock.release()


@pytest.mark.parametrize("stale", [True, False], ids=["abandoned", "no lock"])
def test_exactly_one_of_several_processes_acquires_a_lock(tmp_path: Path, stale: bool) -> None:
    owner = dead()
    for number in range(TRIES * stale):
        other_lock(tmp_path / f"cell-{number}", owner, token=f"abandoned-{number}")
    together = multiprocessing.get_context("spawn")
    start, finish, won = together.Barrier(RACERS), together.Barrier(RACERS), together.Queue()
    racers = [together.Process(target=acquire_all, args=(str(tmp_path), start, finish, won)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    winners = [won.get(timeout=60) for _ in range(TRIES)]
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * RACERS
    assert won.empty()
    assert sorted(number for number, _ in winners) == list(range(TRIES))
    assert not list(tmp_path.glob("*/lock.json"))
    won.close()
    won.join_thread()
