"""Runs that are killed or interrupted at random moments keep what is finished and resume to the same numbers."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Launch
from disturbed_runs import (
    CELLS,
    DELAYS,
    NOTES,
    STEPS,
    WORDS,
    DisturbedRun,
    Stop,
    Undisturbed,
    check_nothing_is_lost,
    shown,
    stopped_at_random,
)
from launched import (
    Ended,
    Kept,
    bodies,
    by_label,
    cell_of,
    command,
    counted,
    ended,
    kept,
    living,
    notes,
    rows,
    until,
    until_all_gone,
)

from benchmark.records.record import Record


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, **DELAYS}


def run_undisturbed(launch: Launch, environment: dict[str, str], folder: Path) -> Undisturbed:
    activity = folder / "activity"
    start = time.monotonic()
    process = launch(WORDS, folder, **environment, THIRD_PARTY_ACTIVITY=str(activity))
    until(lambda: activity.exists() or process.poll() is not None, "a first cell")
    first = time.monotonic()
    run = ended(process, folder)
    assert run.code == 0, run.tail()
    assert counted(activity, "start") == Counter(dict.fromkeys(counted(activity, "start"), 1))
    assert len(counted(activity, "start")) == CELLS
    assert len(notes(activity)) == NOTES
    files = bodies(folder, "model.safetensors", "curve.csv")
    assert len(files) == 2 * CELLS
    return Undisturbed(folder, run, first - start, rows(folder), files)


@dataclass(frozen=True)
class Started:
    """Runs that work at the same time, since each needs seconds to start."""

    undisturbed: Future[Undisturbed]
    killed: Future[DisturbedRun]
    interrupted: Future[DisturbedRun]
    lost_cells: Future[LostCells]


@pytest.fixture(scope="module")
def started(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Five kills of one plan, an interrupt of each kind of another one, and two killed processes of a third."""
    arguments = (launch, environment)
    folders = [tmp_path_factory.mktemp(name) for name in ("killed", "interrupted", "lost_cells", "undisturbed")]
    kills, both = ["SIGKILL"] * 5, ["SIGINT", "SIGTERM"]
    with ThreadPoolExecutor() as pool:
        yield Started(
            killed=pool.submit(stopped_at_random, *arguments, folders[0], kills, random.Random(1)),
            interrupted=pool.submit(
                stopped_at_random, *arguments, folders[1], both, random.Random(2), in_training=True
            ),
            lost_cells=pool.submit(lose_cells, *arguments, folders[2]),
            undisturbed=pool.submit(run_undisturbed, *arguments, folders[3]),
        )


@pytest.fixture(scope="module")
def undisturbed(started: Started) -> Undisturbed:
    return started.undisturbed.result()


# --- kill -9 of the run -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(started: Started) -> DisturbedRun:
    return started.killed.result()


def test_run_that_is_killed_five_times_loses_nothing(killed: DisturbedRun, undisturbed: Undisturbed) -> None:
    assert len(killed.stops) == 5, shown(killed.stops)
    check_nothing_is_lost(killed, undisturbed)


def test_most_kills_hit_training_or_scoring(killed: DisturbedRun) -> None:
    inside = [stop for stop in killed.stops if {"training", "scoring"} & set(stop.at)]
    assert 2 * len(inside) >= len(killed.stops), shown(killed.stops)


@pytest.mark.slow
def test_fifty_kills_lose_nothing(
    launch: Launch,
    environment: dict[str, str],
    undisturbed: Undisturbed,
    tmp_path: Path,
    record_property: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chance = random.Random(50)
    stops: list[Stop] = []
    plans = 0
    while len(stops) < 50:
        signals = ["SIGKILL"] * min(5, 50 - len(stops))
        folder = tmp_path / f"plan-{plans}"
        early = {"early": 0.1, "starting": undisturbed.starting}
        disturbed = stopped_at_random(launch, environment, folder, signals, chance, **early)
        check_nothing_is_lost(disturbed, undisturbed)
        stops += disturbed.stops
        plans += 1
        assert plans < 30, shown(stops)
    text = f"{shown(stops)}\n{plans} plans of {CELLS} cells"
    record_property("kills", text)  # type: ignore[operator]
    with capsys.disabled():
        os.write(1, f"\n{text}\n".encode())
    inside = [stop for stop in stops if {"training", "scoring"} & set(stop.at)]
    assert 2 * len(inside) >= len(stops), text
    assert {"training", "scoring"} <= {activity for stop in stops for activity in stop.at}, text


# --- kill -9 of single cells --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LostCells:
    """A run of which some processes were killed, and the same command again."""

    folder: Path
    victims: frozenset[str]
    first: Ended
    records: dict[str, Record]
    kept: dict[str, Kept]
    starts: Counter[str]
    again: Ended


def lose_cells(launch: Launch, environment: dict[str, str], folder: Path) -> LostCells:
    """Kills the processes of two cells, one in its first epoch and one later in its training."""
    activity = folder / "activity"
    environment = {**environment, "THIRD_PARTY_ACTIVITY": str(activity)}
    process = launch(WORDS, folder, **environment)
    victims: set[str] = set()
    for steps in (1, random.Random(3).randrange(2, STEPS - 2)):

        def at_step(steps: int = steps) -> tuple[str, int] | None:
            assert process.poll() is None, ended(process, folder).tail()
            lines = notes(activity)
            for word, cell, pid in reversed(lines[-8:]):
                noted = sum(line == ("step", cell, pid) for line in lines)
                if word == "step" and cell not in victims and noted == steps and pid in living(process.pid):
                    return cell, pid
            return None

        until(at_step, "a cell in its training")
        chosen = at_step() or at_step()
        if chosen is None:  # it has made another step meanwhile; take the next cell
            until(at_step, "a cell in its training")
            chosen = at_step()
        assert chosen is not None
        os.kill(chosen[1], signal.SIGKILL)
        victims.add(chosen[0])
    first = ended(process, folder)
    records = by_label(folder)
    before, starts = kept(folder), counted(activity, "start")
    again = ended(launch(WORDS, folder, **environment), folder)
    return LostCells(folder, frozenset(victims), first, records, before, starts, again)


@pytest.fixture(scope="module")
def lost_cells(started: Started) -> LostCells:
    return started.lost_cells.result()


def test_killed_process_fails_only_its_cell(lost_cells: LostCells) -> None:
    assert lost_cells.first.code == 3, lost_cells.first.tail()
    failed = {cell_of(record): record for record in lost_cells.records.values() if record.state == "failed"}
    assert failed.keys() == lost_cells.victims
    assert all("SIGKILL" in str((record.failure or {})["reason"]) for record in failed.values())
    assert sum(record.state == "done" for record in lost_cells.records.values()) == CELLS - 2


def test_same_command_runs_only_the_killed_cells_again(lost_cells: LostCells, undisturbed: Undisturbed) -> None:
    assert lost_cells.again.code == 0, lost_cells.again.tail()
    final = kept(lost_cells.folder)
    assert {name: final[name] for name in lost_cells.kept} == lost_cells.kept
    starts = counted(lost_cells.folder / "activity", "start")
    assert {cell for cell in starts if starts[cell] > lost_cells.starts[cell]} == lost_cells.victims
    assert rows(lost_cells.folder) == undisturbed.rows
    assert bodies(lost_cells.folder, "model.safetensors", "curve.csv") == undisturbed.bodies


# --- SIGINT and SIGTERM -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(started: Started) -> DisturbedRun:
    return started.interrupted.result()


def test_interrupts_at_random_moments_lose_nothing(interrupted: DisturbedRun, undisturbed: Undisturbed) -> None:
    assert Counter(stop.how for stop in interrupted.stops) == {"SIGINT": 1, "SIGTERM": 1}, shown(interrupted.stops)
    check_nothing_is_lost(interrupted, undisturbed)


def test_interrupted_run_exits_with_130_and_a_message(interrupted: DisturbedRun) -> None:
    for stop in interrupted.stops:
        assert stop.run is not None
        if stop.run.code != -signal.Signals[stop.how]:  # it was done and exiting: a shell reports 130 or 143
            assert stop.run.code == 130, stop.run.tail()
            assert "bench: interrupted" in stop.run.err
        assert "Traceback" not in stop.run.err


def test_interrupts_repeat_no_training_step(interrupted: DisturbedRun) -> None:
    steps, starts = counted(interrupted.activity, "step"), counted(interrupted.activity, "start")
    assert len(steps) == CELLS
    assert sum(starts.values()) > CELLS  # some were interrupted during their training
    for cell, count in steps.items():
        assert STEPS <= count <= STEPS + starts[cell] - 1, f"{cell}: at most the interrupted step is repeated"


def test_second_interrupt_ends_a_run_at_once(launch: Launch, environment: dict[str, str], tmp_path: Path) -> None:
    activity = tmp_path / "activity"
    words = command("fault_stubborn", "--seeds", "2", "--per-device", "2")
    process = launch(words, tmp_path, **environment, THIRD_PARTY_ACTIVITY=str(activity))
    until(lambda: len(notes(activity)) == 2 or process.poll() is not None, "two cells that ignore interrupts")
    for _ in range(2):
        if process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.5)
    start = time.monotonic()
    result = ended(process, tmp_path)
    assert time.monotonic() - start < 8, "the run waited for cells"
    assert result.code == 130, result.tail()
    until_all_gone(process)
    assert not [record for record in by_label(tmp_path).values() if record.state == "done"]
