"""Two runs in one folder: who may take a cell, when a claim counts as left behind, and nothing done twice."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import THIRD_PARTY, Launch
from launched import Ended, by_label, cell_of, command, counted, ended, living, rows, told, until, until_all_gone

from benchmark.errors import RecordError
from benchmark.progress import Event
from benchmark.records import locks as claims
from benchmark.records.locks import (
    LEASE_SECONDS,
    CellLock,
    LeaseMonitor,
    LockInfo,
    LostLockError,
    Owner,
    acquire,
    current_process,
    read_lock,
)

# --- a claim, held ----------------------------------------------------------------------------------------------------


class Clock:
    """Monotonic seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cell's, not yet made."""
    return tmp_path / "runs" / "mean-tiny-stripes-s0-1"


def taken(folder: Path, **options: Any) -> CellLock:
    claim = acquire(folder, "mean / tiny / stripes / seed 0", "cpu", **options)
    assert claim is not None
    return claim


def sign_of(folder: Path) -> LockInfo:
    sign = read_lock(folder)
    assert sign is not None
    return sign


def dead() -> Owner:
    """A process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        return dataclasses.replace(current_process(), pid=process.pid, started=claims._start_of(process.pid))


def somebodys(folder: Path, owner: Owner, token: str = "somebody's", beat: int = 7, **more: Any) -> LockInfo:
    """A claim that somebody else has written."""
    folder.mkdir(parents=True, exist_ok=True)
    sign = LockInfo(owner=owner, token=token, heartbeat=beat, title="mean", device="cpu", since=time.time(), **more)
    (folder / claims.LOCK).write_text(json.dumps(dataclasses.asdict(sign)))
    return sign


def elsewhere() -> Owner:
    """A process of another machine, whose number is that of a living one here."""
    return dataclasses.replace(current_process(), host="another-machine")


def test_a_claim_says_who_works_on_what_and_where(folder: Path) -> None:
    claim = taken(folder)
    sign = sign_of(folder)
    assert sign.owner == current_process()
    assert sign.owner.pid == os.getpid()
    assert (sign.title, sign.device, sign.heartbeat) == ("mean / tiny / stripes / seed 0", "cpu", 0)
    claim.check()
    claim.release()


def test_a_released_claim_is_gone_and_the_cell_may_be_taken_again(folder: Path) -> None:
    taken(folder).release()
    assert not (folder / claims.LOCK).exists()
    taken(folder).release()


def test_no_thread_outlives_a_released_claim(folder: Path) -> None:
    before = threading.active_count()
    claim = taken(folder)
    assert threading.active_count() == before + 1
    claim.release()
    assert threading.active_count() == before


def test_a_claim_of_a_living_process_is_refused(folder: Path) -> None:
    claim = taken(folder)
    assert acquire(folder, "mean", "cpu") is None
    claim.check()
    claim.release()


def test_a_claim_of_a_living_process_is_refused_however_long_its_heart_stands_still(folder: Path) -> None:
    clock = Clock()
    watch = LeaseMonitor(clock=clock)
    before = somebodys(
        folder, dataclasses.replace(current_process(), pid=os.getppid(), started=claims._start_of(os.getppid()))
    )
    assert acquire(folder, "mean", "cpu", monitor=watch) is None
    clock.now += 100 * LEASE_SECONDS
    assert acquire(folder, "mean", "cpu", monitor=watch) is None
    assert sign_of(folder) == before


def test_what_it_is_doing_is_told_with_the_heartbeat(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    claim = taken(folder)
    heard: list[Event] = []
    event = Event(kind="epoch", cell="mean", stage="train", done=3, total=6, values={"loss": 0.5, "bad": float("nan")})
    claim.record_progress(heard.append)(event)
    until(lambda: sign_of(folder).beat >= 3 and sign_of(folder).stage == "train", "three heartbeats")
    sign = sign_of(folder)
    assert (sign.done, sign.total, sign.values["loss"]) == (3, 6, 0.5)
    assert heard == [event]
    claim.release()


def test_the_file_is_whole_at_every_moment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.0001)
    claim = taken(folder)
    beats = [sign_of(folder).beat for _ in range(500)]
    assert beats == sorted(beats)
    claim.release()


def test_a_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RecordError, match="cannot be written"):
        acquire(tmp_path / "runs" / "cell", "mean", "cpu")


# --- a claim, left behind ---------------------------------------------------------------------------------------------


def test_a_claim_of_a_dead_process_is_taken_over_at_once(folder: Path) -> None:
    somebodys(folder, dead())
    claim = taken(folder)
    assert sign_of(folder).owner == current_process()
    claim.release()


def test_a_dead_process_s_claim_is_taken_over_whatever_its_clock_said(folder: Path) -> None:
    sign = somebodys(folder, dead())
    for since in (0.0, time.time() + 10**6):
        (folder / claims.LOCK).write_text(json.dumps(dataclasses.asdict(dataclasses.replace(sign, since=since))))
        os.utime(folder / claims.LOCK, (time.time() + 10**6,) * 2)
        taken(folder).release()


def test_a_process_that_has_got_a_dead_one_s_number_is_not_its_owner(folder: Path) -> None:
    somebodys(folder, dataclasses.replace(current_process(), started="1"))
    taken(folder).release()


def test_a_process_of_an_earlier_start_of_the_machine_is_gone(folder: Path) -> None:
    somebodys(folder, dataclasses.replace(current_process(), boot="00000000-0000-0000-0000-000000000000"))
    taken(folder).release()


def test_a_process_that_ended_and_was_not_waited_for_is_gone(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = dataclasses.replace(current_process(), pid=process.pid, started=claims._start_of(process.pid))
    somebodys(folder, owner)
    assert acquire(folder, "mean", "cpu") is None
    process.kill()
    until(lambda: owner.is_gone(), "a killed process to be gone")
    taken(folder).release()
    assert process.stdin is not None
    process.stdin.close()
    process.wait()


def test_another_machine_s_claim_is_left_alone_until_its_heart_stood_still_for_a_lease(folder: Path) -> None:
    clock = Clock()
    watch = LeaseMonitor(clock=clock)
    somebodys(folder, elsewhere())
    assert acquire(folder, "mean", "cpu", monitor=watch) is None
    clock.now += LEASE_SECONDS - 0.1
    assert acquire(folder, "mean", "cpu", monitor=watch) is None
    clock.now += 0.1
    taken(folder, monitor=watch).release()


def test_another_machine_s_claim_is_left_alone_while_its_heart_beats(folder: Path) -> None:
    clock = Clock()
    watch = LeaseMonitor(clock=clock)
    for beat in range(20):
        somebodys(folder, elsewhere(), heartbeat=beat)
        assert acquire(folder, "mean", "cpu", monitor=watch) is None
        clock.now += LEASE_SECONDS * 0.9
    assert sign_of(folder).owner.host == "another-machine"


def test_a_heart_that_goes_on_after_a_rest_has_its_whole_lease_again(folder: Path) -> None:
    clock = Clock()
    watch = LeaseMonitor(clock=clock)
    assert not watch.is_abandoned(somebodys(folder, elsewhere(), heartbeat=1))
    clock.now += LEASE_SECONDS - 1
    assert not watch.is_abandoned(somebodys(folder, elsewhere(), heartbeat=2))
    clock.now += LEASE_SECONDS - 1
    assert not watch.is_abandoned(sign_of(folder))
    clock.now += 1
    assert watch.is_abandoned(sign_of(folder))


def test_a_new_claim_of_another_machine_is_watched_from_its_beginning(folder: Path) -> None:
    clock = Clock()
    watch = LeaseMonitor(clock=clock)
    assert not watch.is_abandoned(somebodys(folder, elsewhere(), token="first", heartbeat=7))
    clock.now += 2 * LEASE_SECONDS
    assert not watch.is_abandoned(somebodys(folder, elsewhere(), token="second", heartbeat=7))


def test_whoever_has_just_come_does_not_know_how_long_a_heart_stands_still(folder: Path) -> None:
    sign = somebodys(folder, elsewhere())
    os.utime(folder / claims.LOCK, (0, 0))
    assert acquire(folder, "mean", "cpu") is None
    assert sign_of(folder) == sign


def test_a_claim_that_another_has_watched_may_be_taken_and_no_other(folder: Path) -> None:
    somebodys(folder, elsewhere(), token="watched")
    assert acquire(folder, "mean", "cpu", abandoned_token="another") is None
    taken(folder, abandoned_token="watched").release()


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
def test_a_damaged_claim_is_nobodys(folder: Path, damage: str) -> None:
    folder.mkdir(parents=True)
    (folder / claims.LOCK).write_bytes(DAMAGED[damage])
    assert read_lock(folder) is None
    claim = taken(folder)
    assert sign_of(folder).owner == current_process()
    claim.release()


@pytest.mark.parametrize("pid", ["seven", None, 10**30, 0, -1])
def test_a_claim_of_a_process_number_that_cannot_be_is_nobodys(folder: Path, pid: Any) -> None:
    somebodys(folder, dataclasses.replace(current_process(), pid=pid))
    taken(folder).release()


# --- a claim, lost ----------------------------------------------------------------------------------------------------


def test_whoever_lost_its_claim_is_told_before_it_writes(folder: Path) -> None:
    claim = taken(folder)
    theirs = somebodys(folder, elsewhere())
    with pytest.raises(LostLockError, match="taken over by another run"):
        claim.check()
    claim.release()
    assert sign_of(folder) == theirs


def test_a_claim_that_was_taken_away_is_lost_too(folder: Path) -> None:
    claim = taken(folder)
    (folder / claims.LOCK).unlink()
    with pytest.raises(LostLockError):
        claim.check()
    claim.release()


def test_a_lost_claim_stays_lost(folder: Path) -> None:
    claim = taken(folder)
    mine = (folder / claims.LOCK).read_bytes()
    somebodys(folder, elsewhere())
    with pytest.raises(LostLockError):
        claim.check()
    (folder / claims.LOCK).write_bytes(mine)
    with pytest.raises(LostLockError):
        claim.check()
    claim.release()


def test_the_heartbeat_notices_a_lost_claim_and_undoes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    lost = threading.Event()
    claim = taken(folder, on_lost=lost.set)
    # Between its reading and its writing nobody may come in: what takes over does so under the same guard.
    with claims._guarded(folder.parent):
        theirs = somebodys(folder, elsewhere())
    assert lost.wait(60)
    assert claim.lost
    claim.release()
    assert sign_of(folder) == theirs


def test_somebody_who_takes_over_is_not_overwritten_by_a_heart_that_beats_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.0001)
    for _ in range(30):
        mine = taken(folder)
        theirs = taken(folder, abandoned_token=sign_of(folder).token)
        until(lambda mine=mine: mine.lost, "the first one to notice")
        theirs.check()
        mine.release()
        theirs.release()
    assert not (folder / claims.LOCK).exists()


# --- many that want one claim -------------------------------------------------------------------------------------------

TRIES, RACERS = 150, 3


def race(out: str, start: Any, finish: Any, won: Any) -> None:
    """Takes every folder's claim together with the others, and keeps it until all have tried."""
    for number in range(TRIES):
        start.wait(60)
        claim = acquire(Path(out) / f"cell-{number}", "mean", "cpu")
        finish.wait(60)
        if claim is not None:
            won.put((number, os.getpid()))
            claim.check()
            claim.release()


@pytest.mark.parametrize("stale", [True, False], ids=["left behind", "none there"])
def test_of_several_processes_that_want_one_claim_exactly_one_gets_it(tmp_path: Path, stale: bool) -> None:
    owner = dead()
    for number in range(TRIES * stale):
        somebodys(tmp_path / f"cell-{number}", owner, token=f"left-{number}")
    together = multiprocessing.get_context("spawn")
    start, finish, won = together.Barrier(RACERS), together.Barrier(RACERS), together.Queue()
    racers = [together.Process(target=race, args=(str(tmp_path), start, finish, won)) for _ in range(RACERS)]
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


# --- two runs -----------------------------------------------------------------------------------------------------------

CELLS = 8
WORDS = command("steady,steady_noise", "--seeds", "4", "--per-device", "1", evaluators="steady_centroid")


@pytest.fixture(scope="module")
def environment(site: Path) -> dict[str, str]:
    times = {"THIRD_PARTY_STEP_SECONDS": "0.04", "THIRD_PARTY_SCORE_SECONDS": "0.05"}
    return {"PYTHONPATH": str(site), "BENCH_PLUGINS": THIRD_PARTY, **times}


def by_itself(launch: Launch, environment: dict[str, str], folder: Path) -> Ended:
    """What one run makes of it, undisturbed and without haste."""
    result = ended(launch(WORDS, folder, **{**environment, "THIRD_PARTY_STEP_SECONDS": "0"}), folder)
    assert result.code == 0, result.tail()
    return result


@dataclasses.dataclass(frozen=True)
class Together:
    """What runs made that shared a folder."""

    folder: Path
    runs: tuple[Ended, ...]


def both_at_work(launch: Launch, environment: dict[str, str], folder: Path) -> list[subprocess.Popen[str]]:
    """Two runs of the same request in one folder, each of which has begun a cell: it has one slot."""
    diary, gate = folder / "diary", folder / "gate"
    gate.touch()
    environment = {**environment, "THIRD_PARTY_DIARY": str(diary), "THIRD_PARTY_GATE": str(gate)}
    processes = [launch(WORDS, folder, **environment) for _ in range(2)]
    until(lambda: len(told(diary)) == 2 or any(each.poll() is not None for each in processes), "both to begin a cell")
    gate.unlink()
    return processes


def side_by_side(launch: Launch, environment: dict[str, str], folder: Path) -> Together:
    """Two runs of the same request in one folder, from first to last."""
    processes = both_at_work(launch, environment, folder)
    return Together(folder, tuple(ended(process, folder) for process in processes))


def test_two_runs_share_a_folder_and_each_cell_is_done_once(together: Together) -> None:
    assert [run.code for run in together.runs] == [0, 0], "\n".join(run.tail() for run in together.runs)
    for word in ("start", "end"):
        counts = counted(together.folder / "diary", word)
        assert len(counts) == CELLS
        assert set(counts.values()) == {1}
    lines = told(together.folder / "diary")
    scored = [pid for word, tap, pid in lines if (word, tap) == ("scored", "fc")]
    assert sorted(scored) == sorted(pid for word, _, pid in lines if word == "start")  # once, where it was trained


def test_two_runs_share_the_work(together: Together) -> None:
    # The harness has seen both at work at once; here, that each has told of all cells, its own and the other's.
    for run in together.runs:
        assert len([line for line in run.err.splitlines() if line.startswith("[") and ": done after" in line]) == CELLS


def test_two_runs_print_full_tables_both(together: Together, alone: Ended) -> None:
    assert [run.out for run in together.runs] == [alone.out, alone.out]


def test_two_runs_leave_what_one_would(together: Together, alone: Ended) -> None:
    assert rows(together.folder) == rows(alone.folder)
    assert {record.state for record in by_label(together.folder).values()} == {"done"}
    assert not list((together.folder / "runs").glob(f"*/{claims.LOCK}"))


@dataclasses.dataclass(frozen=True)
class TakenOver:
    """Two runs of which one was killed."""

    folder: Path
    other: Ended
    done: frozenset[str]
    """Cells that were trained before."""


def one_killed(launch: Launch, environment: dict[str, str], folder: Path) -> TakenOver:
    """Two runs of the same request in one folder, of which one is killed in the middle."""
    diary = folder / "diary"
    victim, other = both_at_work(launch, environment, folder)

    def in_the_middle() -> bool:
        """Something is trained, and the one to be killed is in the middle of a training."""
        assert victim.poll() is None, ended(victim, folder).tail()
        mine, lines = living(victim.pid), told(diary)
        last = {pid: word for word, _, pid in lines if pid in mine}
        return "step" in last.values() and bool(trained())

    def trained() -> frozenset[str]:
        return frozenset(cell_of(record) for record in by_label(folder).values() if record.trained)

    until(in_the_middle, "the one that is to be killed to train another cell")
    done = trained()
    os.kill(victim.pid, signal.SIGKILL)
    until_all_gone(victim)
    return TakenOver(folder, ended(other, folder), done)


@dataclasses.dataclass(frozen=True)
class Begun:
    """Runs that go on side by side: each takes seconds for starting alone."""

    alone: Future[Ended]
    together: Future[Together]
    taken_over: Future[TakenOver]


@pytest.fixture(scope="module")
def begun(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Begun]:
    """All of them; a test waits for the one that it needs."""
    folders = [tmp_path_factory.mktemp(name) for name in ("alone", "together", "taken-over")]
    with ThreadPoolExecutor() as pool:
        yield Begun(
            *(
                pool.submit(make, launch, environment, folder)
                for make, folder in zip((by_itself, side_by_side, one_killed), folders, strict=True)
            )
        )


@pytest.fixture(scope="module")
def alone(begun: Begun) -> Ended:
    return begun.alone.result()


@pytest.fixture(scope="module")
def together(begun: Begun) -> Together:
    return begun.together.result()


@pytest.fixture(scope="module")
def taken_over(begun: Begun) -> TakenOver:
    return begun.taken_over.result()


def test_whoever_is_left_finishes_what_the_killed_one_had_begun(taken_over: TakenOver, alone: Ended) -> None:
    assert taken_over.other.code == 0, taken_over.other.tail()
    assert taken_over.other.out == alone.out
    assert rows(taken_over.folder) == rows(alone.folder)
    assert not list((taken_over.folder / "runs").glob(f"*/{claims.LOCK}"))


def test_only_what_the_killed_one_was_at_is_trained_again(taken_over: TakenOver) -> None:
    counts = counted(taken_over.folder / "diary", "start")
    assert len(counts) == CELLS
    again = {cell for cell, count in counts.items() if count > 1}
    assert len(again) <= 1  # it has one slot
    assert not again & taken_over.done
    assert max(counts.values()) <= 2


def test_a_run_that_comes_late_and_finds_all_done_does_nothing(
    launch: Launch, environment: dict[str, str], together: Together, alone: Ended
) -> None:
    before = (together.folder / "diary").read_bytes()
    late = ended(
        launch(WORDS, together.folder, **environment, THIRD_PARTY_DIARY=str(together.folder / "diary")), together.folder
    )
    assert (late.code, late.out) == (0, alone.out)
    assert (together.folder / "diary").read_bytes() == before
