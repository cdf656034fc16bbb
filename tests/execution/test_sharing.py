"""Two runs on one output folder: each cell runs once, also if one of them is killed."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Launch
from launched import Ended, by_label, cell_of, command, counted, ended, living, notes, rows, until, until_all_gone

from benchmark.records.locks import LOCK

# --- two runs -----------------------------------------------------------------------------------------------------------

CELLS = 8
WORDS = command("steady,steady_noise", "--seeds", "4", "--per-device", "1", evaluators="steady_centroid")


@pytest.fixture(scope="module")
def environment(environment: dict[str, str]) -> dict[str, str]:
    return {**environment, "THIRD_PARTY_STEP_SECONDS": "0.04", "THIRD_PARTY_SCORE_SECONDS": "0.05"}


def run_single(launch: Launch, environment: dict[str, str], folder: Path) -> Ended:
    """The same request in one run."""
    result = ended(launch(WORDS, folder, **{**environment, "THIRD_PARTY_STEP_SECONDS": "0"}), folder)
    assert result.code == 0, result.tail()
    return result


@dataclasses.dataclass(frozen=True)
class Together:
    """Two runs on one folder."""

    folder: Path
    runs: tuple[Ended, ...]


def start_two(launch: Launch, environment: dict[str, str], folder: Path) -> list[subprocess.Popen[str]]:
    """Two runs of the same request on one folder, of one slot each, that have both started a cell."""
    activity, gate = folder / "activity", folder / "gate"
    gate.touch()
    environment = {**environment, "THIRD_PARTY_ACTIVITY": str(activity), "THIRD_PARTY_GATE": str(gate)}
    processes = [launch(WORDS, folder, **environment) for _ in range(2)]
    until(
        lambda: len(notes(activity)) == 2 or any(each.poll() is not None for each in processes),
        "both runs to start a cell",
    )
    gate.unlink()
    return processes


def run_two(launch: Launch, environment: dict[str, str], folder: Path) -> Together:
    """Two runs of the same request on one folder, until they end."""
    processes = start_two(launch, environment, folder)
    return Together(folder, tuple(ended(process, folder) for process in processes))


def test_two_runs_on_one_folder_run_each_cell_once(together: Together) -> None:
    assert [run.code for run in together.runs] == [0, 0], "\n".join(run.tail() for run in together.runs)
    for word in ("start", "end"):
        counts = counted(together.folder / "activity", word)
        assert len(counts) == CELLS
        assert set(counts.values()) == {1}
    lines = notes(together.folder / "activity")
    scored = [pid for word, tap, pid in lines if (word, tap) == ("scored", "fc")]
    assert sorted(scored) == sorted(
        pid for word, _, pid in lines if word == "start"
    )  # once, by the process that trained it


def test_each_run_reports_the_end_of_every_cell(together: Together) -> None:
    # Its own cells and those of the other run.
    for run in together.runs:
        assert len([line for line in run.err.splitlines() if line.startswith("[") and ": done after" in line]) == CELLS


def test_each_run_prints_the_complete_tables(together: Together, single: Ended) -> None:
    assert [run.out for run in together.runs] == [single.out, single.out]


def test_two_runs_leave_the_same_records_as_one(together: Together, single: Ended) -> None:
    assert rows(together.folder) == rows(single.folder)
    assert {record.state for record in by_label(together.folder).values()} == {"done"}
    assert not list((together.folder / "runs").glob(f"*/{LOCK}"))


@dataclasses.dataclass(frozen=True)
class TakenOver:
    """Two runs on one folder, of which one was killed."""

    folder: Path
    other: Ended
    done: frozenset[str]
    """Cells that were trained before the kill."""


def kill_one(launch: Launch, environment: dict[str, str], folder: Path) -> TakenOver:
    """Two runs of the same request on one folder. One is killed while it trains."""
    activity = folder / "activity"
    victim, other = start_two(launch, environment, folder)

    def in_the_middle() -> bool:
        """A cell is trained, and the run to be killed trains another one."""
        assert victim.poll() is None, ended(victim, folder).tail()
        own, lines = living(victim.pid), notes(activity)
        last = {pid: word for word, _, pid in lines if pid in own}
        return "step" in last.values() and bool(trained())

    def trained() -> frozenset[str]:
        return frozenset(cell_of(record) for record in by_label(folder).values() if record.trained)

    until(in_the_middle, "the run to be killed to train another cell")
    done = trained()
    os.kill(victim.pid, signal.SIGKILL)
    until_all_gone(victim)
    return TakenOver(folder, ended(other, folder), done)


@dataclasses.dataclass(frozen=True)
class Started:
    """Runs that work at the same time, since each needs seconds to start."""

    single: Future[Ended]
    together: Future[Together]
    taken_over: Future[TakenOver]


@pytest.fixture(scope="module")
def started(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Starts all runs; a test waits for the one that it needs."""
    folders = [tmp_path_factory.mktemp(name) for name in ("single", "together", "taken-over")]
    with ThreadPoolExecutor() as pool:
        yield Started(
            *(
                pool.submit(make, launch, environment, folder)
                for make, folder in zip((run_single, run_two, kill_one), folders, strict=True)
            )
        )


@pytest.fixture(scope="module")
def single(started: Started) -> Ended:
    return started.single.result()


@pytest.fixture(scope="module")
def together(started: Started) -> Together:
    return started.together.result()


@pytest.fixture(scope="module")
def taken_over(started: Started) -> TakenOver:
    return started.taken_over.result()


def test_remaining_run_finishes_the_cells_of_a_killed_one(taken_over: TakenOver, single: Ended) -> None:
    assert taken_over.other.code == 0, taken_over.other.tail()
    assert taken_over.other.out == single.out
    assert rows(taken_over.folder) == rows(single.folder)
    assert not list((taken_over.folder / "runs").glob(f"*/{LOCK}"))


def test_only_the_cell_in_progress_of_a_killed_run_is_trained_again(taken_over: TakenOver) -> None:
    counts = counted(taken_over.folder / "activity", "start")
    assert len(counts) == CELLS
    again = {cell for cell, count in counts.items() if count > 1}
    assert len(again) <= 1  # one slot
    assert not again & taken_over.done
    assert max(counts.values()) <= 2


def test_late_run_on_a_finished_folder_does_nothing(
    launch: Launch, environment: dict[str, str], together: Together, single: Ended
) -> None:
    before = (together.folder / "activity").read_bytes()
    late = ended(
        launch(WORDS, together.folder, **environment, THIRD_PARTY_ACTIVITY=str(together.folder / "activity")),
        together.folder,
    )
    assert (late.code, late.out) == (0, single.out)
    assert (together.folder / "activity").read_bytes() == before
