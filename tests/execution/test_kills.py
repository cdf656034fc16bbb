"""Runs that are killed and interrupted at random moments: what is finished stays, the rest goes on, to the same numbers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import THIRD_PARTY, Launch
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

from benchmark.records import locks
from benchmark.records.record import Record

METHODS = "steady,steady_noise,steady_teacher"
SEEDS = 4
CELLS = 12
EPOCHS = 3
STEPS = EPOCHS * 3
"""Of a cell: 48 images in batches of 16."""
WORDS = command(
    *(METHODS, "--seeds", str(SEEDS), "--epochs", str(EPOCHS), "--per-device", "2", "--checkpoint-minutes", "0.001"),
    evaluators="steady_centroid",
)
TAKES_TIME = {"THIRD_PARTY_STEP_SECONDS": "0.035", "THIRD_PARTY_SCORE_SECONDS": "0.12"}
"""Training and scoring take about as long, so that what happens at a random moment happens in either."""
IN_WORDS = {
    "start": "training",
    "step": "training",
    "end": "writing the weights",
    "score": "scoring",
    "scored": "scoring",
}
"""What a cell is at, by the last that it has said."""


@dataclass(frozen=True)
class Undisturbed:
    """The plan carried out once, from first to last."""

    folder: Path
    run: Ended
    starting: float
    """Seconds until a first cell was at work."""
    working: float
    """Seconds from then until the last cell had been scored."""
    rows: list[dict[str, str]]
    bodies: dict[str, bytes]


@pytest.fixture(scope="module")
def environment(site: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(site), "BENCH_PLUGINS": THIRD_PARTY, **TAKES_TIME}


@pytest.fixture(scope="module")
def undisturbed(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    activity = folder / "activity"
    start = time.monotonic()
    process = launch(WORDS, folder, **environment, THIRD_PARTY_ACTIVITY=str(activity))
    until(lambda: activity.exists() or process.poll() is not None, "a first cell")
    first = time.monotonic()
    until(lambda: _scored(notes(activity)) == CELLS or process.poll() is not None, "the last cell")
    end = time.monotonic()
    run = ended(process, folder)
    assert run.code == 0, run.tail()
    assert counted(activity, "start") == Counter(dict.fromkeys(counted(activity, "start"), 1))
    assert len(counted(activity, "start")) == CELLS
    files = bodies(folder, "model.safetensors", "curve.csv")
    assert len(files) == 2 * CELLS
    return Undisturbed(folder, run, first - start, end - first, rows(folder), files)


def _scored(lines: list[tuple[str, str, int]]) -> int:
    """How many cells have been scored at their last tap."""
    return sum(line[:2] == ("scored", "fc") for line in lines)


# --- the harness ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blow:
    """Something that befell a run, and what was there just after."""

    how: str
    seconds: float
    """After the first cell of this run was at work; before that if negative."""
    at: tuple[str, ...]
    """What each running cell was at."""
    done: int
    """Finished cells."""
    kept: dict[str, Kept]
    """Their files."""
    trained: frozenset[str]
    """Cells whose record says that nothing has to be trained any more."""
    starts: Counter[str]
    """How often each cell's training had been started by then."""
    run: Ended | None = None
    """How the run ended, where it could say so."""

    @property
    def place(self) -> str:
        """In a word."""
        for place in ("training", "scoring", "writing the weights"):
            if place in self.at:
                return place
        return "before the first cell" if self.seconds < 0 else "between cells"


@dataclass
class Ordeal:
    """A plan that is struck again and again until it is through.

    Args:
        folder: where it runs.
        environment: of its processes.
        launch: see conftest.
    """

    folder: Path
    environment: dict[str, str]
    launch: Launch
    blows: list[Blow] = field(default_factory=list)
    last: Ended | None = None

    def __post_init__(self) -> None:
        self.activity = self.folder / "activity"
        self.environment = {**self.environment, "THIRD_PARTY_ACTIVITY": str(self.activity)}

    def strike(self, how: str, seconds: float, starting: float = 0.0) -> Blow | None:
        """Starts the command, strikes it and waits until nothing of it is left; None where it was through before.

        Args:
            how: `SIGKILL`, `SIGINT` (to all its processes, as a terminal does), `SIGTERM`.
            seconds: after the first cell is at work; if negative, before the moment in which it would be by experience.
            starting: that moment, in seconds from the start.
        """
        process = self._start()
        before = len(notes(self.activity))
        if seconds < 0:
            self._sleep(process, max(0.0, starting + seconds))
        else:
            until(lambda: len(notes(self.activity)) > before or process.poll() is not None, "a cell to work")
            self._sleep(process, seconds)
        if process.poll() is not None:
            self.last = ended(process, self.folder)
            return None
        number = signal.Signals[how]
        lines = notes(self.activity)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)
        run = None if number == signal.SIGKILL else ended(process, self.folder)
        until_all_gone(process)
        # After a kill nothing is written any more; after an interruption, cells have gone on to a place to stop at.
        blow = self._look(how, seconds, (lines if run else notes(self.activity))[before:], run)
        self.blows.append(blow)
        return blow

    def finish(self) -> Ended:
        """The command once more, undisturbed, unless it is through."""
        if self.last is None:
            self.last = ended(self._start(), self.folder)
        return self.last

    def _start(self) -> subprocess.Popen[str]:
        return self.launch(WORDS, self.folder, **self.environment)

    def _sleep(self, process: subprocess.Popen[str], seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.002)

    def _look(self, how: str, seconds: float, lines: list[tuple[str, str, int]], run: Ended | None) -> Blow:
        last = {pid: (word, cell) for word, cell, pid in lines}
        ended_ones = {pid for pid, (word, cell) in last.items() if word == "scored" and cell == "fc"}
        at = tuple(IN_WORDS[word] for pid, (word, _) in last.items() if pid not in ended_ones)
        records = list(by_label(self.folder).values()) if (self.folder / "runs").is_dir() else []  # all are whole
        return Blow(
            how=how,
            seconds=seconds,
            at=at,
            done=sum(record.state == "done" for record in records),
            kept=kept(self.folder),
            trained=frozenset(cell_of(record) for record in records if record.trained),
            starts=counted(self.activity, "start"),
            run=run,
        )


def moments(chance: random.Random, count: int, length: float) -> Iterator[float]:
    """Seconds between so many blows that fall at random into a plan of this length, each moment as likely as another."""
    points = sorted(chance.uniform(0, length) for _ in range(count))
    yield from (after - before for before, after in zip([0.0, *points], points, strict=False))


def nothing_is_lost(ordeal: Ordeal, undisturbed: Undisturbed) -> None:
    """What must hold of a plan that was struck, once the same command has come to its end."""
    last = ordeal.finish()
    assert last.code == 0, last.tail()
    final = kept(ordeal.folder)
    starts = counted(ordeal.activity, "start")
    for blow in ordeal.blows:
        assert {name: final[name] for name in blow.kept} == blow.kept, "a finished cell was written again"
        again = {cell for cell in blow.trained if starts[cell] > blow.starts[cell]}
        assert not again, "a trained cell was trained again"
    assert last.out == undisturbed.run.out
    assert rows(ordeal.folder) == undisturbed.rows
    assert bodies(ordeal.folder, "model.safetensors", "curve.csv") == undisturbed.bodies
    assert len(final) == 3 * CELLS
    # One that was killed between its record and its end leaves a claim, which keeps nobody away.
    for path in (ordeal.folder / "runs").glob(f"*/{locks.LOCK}"):
        sign = locks.read_lock(path.parent)
        assert sign is not None
        assert locks.LeaseMonitor().is_abandoned(sign)


def shown(blows: list[Blow]) -> str:
    """A table of where blows landed."""
    lines = [f"{'how':8}{'after':>8}  {'done':>4}  cells at work"]
    for blow in blows:
        at = ", ".join(blow.at) or blow.place
        lines.append(f"{blow.how:8}{blow.seconds:7.2f}s  {blow.done:>4}  {at}")
    counts = Counter(blow.place for blow in blows)
    lines += [f"{count} of {len(blows)}: {place}" for place, count in counts.most_common()]
    return "\n".join(lines)


def struck(
    launch: Launch,
    environment: dict[str, str],
    folder: Path,
    undisturbed: Undisturbed,
    how: list[str],
    chance: random.Random,
    *,
    early: float = 0.0,
) -> Ordeal:
    """A plan that is struck in all these ways, one after another, at random moments of its length.

    Args:
        early: how likely a blow falls while the run is starting.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ordeal = Ordeal(folder, environment, launch)
    for one, seconds in zip(how, moments(chance, len(how), undisturbed.working), strict=True):
        at_first = chance.random() < early
        when = -chance.uniform(0, undisturbed.starting) if at_first else seconds
        if ordeal.strike(one, when, undisturbed.starting) is None:
            break
    ordeal.finish()
    return ordeal


@dataclass(frozen=True)
class Begun:
    """Ordeals that go on side by side: each takes seconds for starting alone."""

    killed: Future[Ordeal]
    interrupted: Future[Ordeal]
    bereaved: Future[Bereaved]


@pytest.fixture(scope="module")
def begun(
    launch: Launch, environment: dict[str, str], undisturbed: Undisturbed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Begun]:
    """Five kills in one plan; an interruption of each kind in another one; two cells' processes in a third."""
    given = (launch, environment)
    folders = [tmp_path_factory.mktemp(name) for name in ("killed", "interrupted", "bereaved")]
    kills, both = ["SIGKILL"] * 5, ["SIGINT", "SIGTERM"]
    with ThreadPoolExecutor() as pool:
        yield Begun(
            killed=pool.submit(struck, *given, folders[0], undisturbed, kills, random.Random(1)),
            interrupted=pool.submit(struck, *given, folders[1], undisturbed, both, random.Random(2)),
            bereaved=pool.submit(bereave, *given, folders[2]),
        )


# --- kill -9 of the run -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(begun: Begun) -> Ordeal:
    return begun.killed.result()


def test_a_run_that_is_killed_five_times_loses_nothing(killed: Ordeal, undisturbed: Undisturbed) -> None:
    assert len(killed.blows) == 5, shown(killed.blows)
    nothing_is_lost(killed, undisturbed)


def test_most_kills_land_in_training_or_scoring(killed: Ordeal) -> None:
    inside = [blow for blow in killed.blows if {"training", "scoring"} & set(blow.at)]
    assert 2 * len(inside) >= len(killed.blows), shown(killed.blows)


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
    blows: list[Blow] = []
    plans = 0
    while len(blows) < 50:
        wanted = ["SIGKILL"] * min(5, 50 - len(blows))
        folder = tmp_path / f"plan-{plans}"
        ordeal = struck(launch, environment, folder, undisturbed, wanted, chance, early=0.1)
        nothing_is_lost(ordeal, undisturbed)
        blows += ordeal.blows
        plans += 1
        assert plans < 30, shown(blows)
    text = f"{shown(blows)}\n{plans} plans of {CELLS} cells"
    record_property("kills", text)  # type: ignore[operator]
    with capsys.disabled():
        os.write(1, f"\n{text}\n".encode())
    inside = [blow for blow in blows if {"training", "scoring"} & set(blow.at)]
    assert 2 * len(inside) >= len(blows), text
    assert {"training", "scoring"} <= {place for blow in blows for place in blow.at}, text


# --- kill -9 of single cells --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bereaved:
    """A run that lost some of its cells' processes, and the same command again."""

    folder: Path
    victims: frozenset[str]
    first: Ended
    records: dict[str, Record]
    kept: dict[str, Kept]
    starts: Counter[str]
    again: Ended


def bereave(launch: Launch, environment: dict[str, str], folder: Path) -> Bereaved:
    """Two cells' processes are killed, one in its first epoch and one somewhere in its training."""
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
        if chosen is None:  # it has gone on meanwhile; the next one will be there
            until(at_step, "a cell in its training")
            chosen = at_step()
        assert chosen is not None
        os.kill(chosen[1], signal.SIGKILL)
        victims.add(chosen[0])
    first = ended(process, folder)
    records = by_label(folder)
    before, starts = kept(folder), counted(activity, "start")
    again = ended(launch(WORDS, folder, **environment), folder)
    return Bereaved(folder, frozenset(victims), first, records, before, starts, again)


@pytest.fixture(scope="module")
def bereaved(begun: Begun) -> Bereaved:
    return begun.bereaved.result()


def test_a_cell_whose_process_is_killed_costs_only_itself(bereaved: Bereaved) -> None:
    assert bereaved.first.code == 3, bereaved.first.tail()
    failed = {cell_of(record): record for record in bereaved.records.values() if record.state == "failed"}
    assert failed.keys() == bereaved.victims
    assert all("SIGKILL" in str((record.failure or {})["reason"]) for record in failed.values())
    assert sum(record.state == "done" for record in bereaved.records.values()) == CELLS - 2


def test_the_same_command_does_killed_cells_again_and_no_other(bereaved: Bereaved, undisturbed: Undisturbed) -> None:
    assert bereaved.again.code == 0, bereaved.again.tail()
    final = kept(bereaved.folder)
    assert {name: final[name] for name in bereaved.kept} == bereaved.kept
    starts = counted(bereaved.folder / "activity", "start")
    assert {cell for cell in starts if starts[cell] > bereaved.starts[cell]} == bereaved.victims
    assert rows(bereaved.folder) == undisturbed.rows
    assert bodies(bereaved.folder, "model.safetensors", "curve.csv") == undisturbed.bodies


# --- SIGINT and SIGTERM -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def interrupted(begun: Begun) -> Ordeal:
    return begun.interrupted.result()


def test_interruptions_at_random_moments_lose_nothing(interrupted: Ordeal, undisturbed: Undisturbed) -> None:
    assert Counter(blow.how for blow in interrupted.blows) == {"SIGINT": 1, "SIGTERM": 1}, shown(interrupted.blows)
    nothing_is_lost(interrupted, undisturbed)


def test_an_interrupted_run_ends_with_130_and_says_what_is_kept(interrupted: Ordeal) -> None:
    for blow in interrupted.blows:
        assert blow.run is not None
        if blow.run.code != -signal.Signals[blow.how]:  # it was through and leaving: a shell says 130 or 143 of that
            assert blow.run.code == 130, blow.run.tail()
            assert "bench: interrupted" in blow.run.err
        assert "Traceback" not in blow.run.err


def test_no_step_is_made_twice_for_an_interruption(interrupted: Ordeal) -> None:
    steps, starts = counted(interrupted.activity, "step"), counted(interrupted.activity, "start")
    assert len(steps) == CELLS
    assert sum(starts.values()) > CELLS  # some were interrupted in the middle of their training
    for cell, count in steps.items():
        assert STEPS <= count <= STEPS + starts[cell] - 1, f"{cell}: at most the step that was interrupted is lost"


def test_the_second_interruption_ends_a_run_at_once(
    launch: Launch, environment: dict[str, str], tmp_path: Path
) -> None:
    activity = tmp_path / "activity"
    words = command("fault_stubborn", "--seeds", "2", "--per-device", "2")
    process = launch(words, tmp_path, **environment, THIRD_PARTY_ACTIVITY=str(activity))
    until(lambda: len(notes(activity)) == 2 or process.poll() is not None, "two cells that will not be interrupted")
    for _ in range(2):
        if process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            time.sleep(0.5)
    start = time.monotonic()
    result = ended(process, tmp_path)
    assert time.monotonic() - start < 8, "it has waited for cells"
    assert result.code == 130, result.tail()
    until_all_gone(process)
    assert not [record for record in by_label(tmp_path).values() if record.state == "done"]
