"""Runs of one plan that are killed or interrupted at random moments, compared with an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from conftest import Launch
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
    notes,
    rows,
    until,
    until_all_gone,
)

from benchmark.records import locks

METHODS = "steady,steady_noise,steady_teacher"
SEEDS = 3
CELLS = 9
EPOCHS = 3
STEPS = EPOCHS * 3
"""Of a cell: 48 images in batches of 16."""
WORDS = command(
    *(METHODS, "--seeds", str(SEEDS), "--epochs", str(EPOCHS), "--per-device", "2", "--checkpoint-minutes", "0.001"),
    evaluators="steady_centroid",
)
DELAYS = {"THIRD_PARTY_STEP_SECONDS": "0.035", "THIRD_PARTY_SCORE_SECONDS": "0.12"}
"""Training and scoring take equally long, so that a random moment falls into either."""
NOTES = CELLS * (1 + STEPS + 1 + 2 * 4)
"""Lines that the cells log: a start, the steps, an end, and two for each score at two taps and two metrics."""
PAUSE = 0.07
"""Most seconds between a line in the log and a stop, so that a stop can fall between two lines."""
ACTIVITY = {
    "start": "training",
    "step": "training",
    "end": "writing the weights",
    "score": "scoring",
    "scored": "scoring",
}
"""Last word in a cell's log -> what the cell does."""


@dataclass(frozen=True)
class Undisturbed:
    """One run of the plan without a stop."""

    folder: Path
    run: Ended
    starting: float
    """Seconds until the first cell started."""
    rows: list[dict[str, str]]
    bodies: dict[str, bytes]


@dataclass(frozen=True)
class Moment:
    """When a run is stopped: after a share of its work, so that it does not depend on the speed of the machine."""

    notes: int
    """Lines that the cells of this run have logged; 0: the run is stopped at a time after its start."""
    seconds: float
    """After the last of these lines, or after the start of the command."""


@dataclass(frozen=True)
class Stop:
    """A stop of a run, and the output folder just after it."""

    how: str
    moment: Moment
    at: tuple[str, ...]
    """What each running cell did."""
    done: int
    """Finished cells."""
    kept: dict[str, Kept]
    """Their files."""
    trained: frozenset[str]
    """Cells whose record says that they are trained."""
    starts: Counter[str]
    """How often the training of each cell had started."""
    run: Ended | None = None
    """How the run ended; None after a kill."""

    @property
    def where(self) -> str:
        """What the stop hit, in one word."""
        for activity in ("training", "scoring", "writing the weights"):
            if activity in self.at:
                return activity
        return "between cells" if self.moment.notes else "before the first cell"


@dataclass
class DisturbedRun:
    """Stops a plan at random moments and runs it again until it has finished.

    Args:
        folder: where it runs.
        environment: of its processes.
        launch: see conftest.
    """

    folder: Path
    environment: dict[str, str]
    launch: Launch
    stops: list[Stop] = field(default_factory=list)
    last: Ended | None = None

    def __post_init__(self) -> None:
        self.activity = self.folder / "activity"
        self.environment = {**self.environment, "THIRD_PARTY_ACTIVITY": str(self.activity)}

    def stop_once(self, how: str, moment: Moment, *, in_training: bool = False) -> Stop | None:
        """Starts the command, stops it and waits until all its processes have ended; None if it was done before.

        Args:
            how: `SIGKILL`, `SIGINT` (to all processes, as a terminal does) or `SIGTERM`.
            moment: when.
            in_training: then wait until a cell is in the first half of its training.
        """
        process = self._start()
        before = len(notes(self.activity))
        if moment.notes:
            target = before + moment.notes
            until(lambda: len(notes(self.activity)) >= target or process.poll() is not None, "the cells to work")
        self._sleep(process, moment.seconds)
        if in_training:
            until(lambda: self._trains(before) or process.poll() is not None, "a cell in its training")
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
        # After a kill nothing is written. After an interrupt, cells go on until the end of their step.
        stop = self._observe(how, moment, (lines if run else notes(self.activity))[before:], run)
        self.stops.append(stop)
        return stop

    def finish(self) -> Ended:
        """Runs the command once more without a stop, unless it is done."""
        if self.last is None:
            self.last = ended(self._start(), self.folder)
        return self.last

    def _start(self) -> subprocess.Popen[str]:
        return self.launch(WORDS, self.folder, **self.environment)

    def _trains(self, before: int) -> bool:
        lines = notes(self.activity)[before:]
        last = {pid: (word, cell) for word, cell, pid in lines}
        return any(word == "step" and lines.count((word, cell, pid)) < STEPS // 2 for pid, (word, cell) in last.items())

    def _sleep(self, process: subprocess.Popen[str], seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.002)

    def _observe(self, how: str, moment: Moment, lines: list[tuple[str, str, int]], run: Ended | None) -> Stop:
        last = {pid: (word, cell) for word, cell, pid in lines}
        ended_ones = {pid for pid, (word, cell) in last.items() if word == "scored" and cell == "fc"}
        at = tuple(ACTIVITY[word] for pid, (word, _) in last.items() if pid not in ended_ones)
        records = list(by_label(self.folder).values()) if (self.folder / "runs").is_dir() else []  # none may be damaged
        return Stop(
            how=how,
            moment=moment,
            at=at,
            done=sum(record.state == "done" for record in records),
            kept=kept(self.folder),
            trained=frozenset(cell_of(record) for record in records if record.trained),
            starts=counted(self.activity, "start"),
            run=run,
        )


def moments(chance: random.Random, count: int, *, early: float, starting: float, last: float) -> Iterator[Moment]:
    """Moments of stops, one after another, that are uniformly distributed over the work of a plan.

    Args:
        chance: source of the moments.
        count: number of stops.
        early: probability that a stop falls before the first cell has started.
        starting: seconds until that moment.
        last: the share of the work after which no stop falls.
    """
    points = sorted(chance.uniform(0, last * NOTES) for _ in range(count))
    for before, after in zip([0.0, *points], points, strict=False):
        if chance.random() < early:
            yield Moment(0, chance.uniform(0, starting))
        else:
            yield Moment(1 + int(after - before), chance.uniform(0, PAUSE))


def check_nothing_is_lost(disturbed: DisturbedRun, undisturbed: Undisturbed) -> None:
    """Checks a plan that was stopped, after the same command has finished it."""
    last = disturbed.finish()
    assert last.code == 0, last.tail()
    final = kept(disturbed.folder)
    starts = counted(disturbed.activity, "start")
    for stop in disturbed.stops:
        assert {name: final[name] for name in stop.kept} == stop.kept, "a finished cell was written again"
        again = {cell for cell in stop.trained if starts[cell] > stop.starts[cell]}
        assert not again, "a trained cell was trained again"
    assert last.out == undisturbed.run.out
    assert rows(disturbed.folder) == undisturbed.rows
    assert bodies(disturbed.folder, "model.safetensors", "curve.csv") == undisturbed.bodies
    assert len(final) == 3 * CELLS
    # A cell that was killed after it wrote its record leaves a lock, which is abandoned.
    for path in (disturbed.folder / "runs").glob(f"*/{locks.LOCK}"):
        lock = locks.read_lock(path.parent)
        assert lock is not None
        assert locks.LeaseMonitor().is_abandoned(lock)


def shown(stops: list[Stop]) -> str:
    """A table of the stops, for messages."""
    lines = [f"{'how':8}{'notes':>6}  {'done':>4}  running cells"]
    for stop in stops:
        at = ", ".join(stop.at) or stop.where
        lines.append(f"{stop.how:8}{stop.moment.notes:>6}  {stop.done:>4}  {at}")
    counts = Counter(stop.where for stop in stops)
    lines += [f"{count} of {len(stops)}: {where}" for where, count in counts.most_common()]
    return "\n".join(lines)


def stopped_at_random(
    launch: Launch,
    environment: dict[str, str],
    folder: Path,
    how: list[str],
    chance: random.Random,
    *,
    early: float = 0.0,
    starting: float = 0.0,
    in_training: bool = False,
) -> DisturbedRun:
    """A plan that is stopped by each of these signals, one after another, at random moments.

    Args:
        early: probability that a stop falls before the first cell has started.
        starting: seconds until that moment.
        in_training: each stop waits until a cell is in the first half of its training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    disturbed = DisturbedRun(folder, environment, launch)
    last = 0.6 if in_training else 0.75
    for one, moment in zip(how, moments(chance, len(how), early=early, starting=starting, last=last), strict=True):
        if disturbed.stop_once(one, moment, in_training=in_training) is None:
            break
    disturbed.finish()
    return disturbed
