"""Two runs that share an output folder: each cell is done once."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import THIRD_PARTY, Launch
from launched import Ended, by_label, cell_of, command, counted, ended, living, notes, rows, until, until_all_gone

from benchmark.records.locks import LOCK

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
    activity, gate = folder / "activity", folder / "gate"
    gate.touch()
    environment = {**environment, "THIRD_PARTY_ACTIVITY": str(activity), "THIRD_PARTY_GATE": str(gate)}
    processes = [launch(WORDS, folder, **environment) for _ in range(2)]
    until(
        lambda: len(notes(activity)) == 2 or any(each.poll() is not None for each in processes), "both to begin a cell"
    )
    gate.unlink()
    return processes


def side_by_side(launch: Launch, environment: dict[str, str], folder: Path) -> Together:
    """Two runs of the same request in one folder, from first to last."""
    processes = both_at_work(launch, environment, folder)
    return Together(folder, tuple(ended(process, folder) for process in processes))


def test_two_runs_share_a_folder_and_each_cell_is_done_once(together: Together) -> None:
    assert [run.code for run in together.runs] == [0, 0], "\n".join(run.tail() for run in together.runs)
    for word in ("start", "end"):
        counts = counted(together.folder / "activity", word)
        assert len(counts) == CELLS
        assert set(counts.values()) == {1}
    lines = notes(together.folder / "activity")
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
    assert not list((together.folder / "runs").glob(f"*/{LOCK}"))


@dataclasses.dataclass(frozen=True)
class TakenOver:
    """Two runs of which one was killed."""

    folder: Path
    other: Ended
    done: frozenset[str]
    """Cells that were trained before."""


def one_killed(launch: Launch, environment: dict[str, str], folder: Path) -> TakenOver:
    """Two runs of the same request in one folder, of which one is killed in the middle."""
    activity = folder / "activity"
    victim, other = both_at_work(launch, environment, folder)

    def in_the_middle() -> bool:
        """Something is trained, and the one to be killed is in the middle of a training."""
        assert victim.poll() is None, ended(victim, folder).tail()
        mine, lines = living(victim.pid), notes(activity)
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
    assert not list((taken_over.folder / "runs").glob(f"*/{LOCK}"))


def test_only_what_the_killed_one_was_at_is_trained_again(taken_over: TakenOver) -> None:
    counts = counted(taken_over.folder / "activity", "start")
    assert len(counts) == CELLS
    again = {cell for cell, count in counts.items() if count > 1}
    assert len(again) <= 1  # it has one slot
    assert not again & taken_over.done
    assert max(counts.values()) <= 2


def test_a_run_that_comes_late_and_finds_all_done_does_nothing(
    launch: Launch, environment: dict[str, str], together: Together, alone: Ended
) -> None:
    before = (together.folder / "activity").read_bytes()
    late = ended(
        launch(WORDS, together.folder, **environment, THIRD_PARTY_ACTIVITY=str(together.folder / "activity")),
        together.folder,
    )
    assert (late.code, late.out) == (0, alone.out)
    assert (together.folder / "activity").read_bytes() == before
