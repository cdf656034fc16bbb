"""Where cells run: a process of its own for each, so that one that dies costs only itself, and Ctrl-C loses nothing."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import THIRD_PARTY, Bench, Launch

from bench_executors import child, local
from benchmark.api.executors import ExecutorContext
from benchmark.records.csv_columns import VARIES
from benchmark.records.record import Record
from benchmark.records.record_files import read_records

WORDS = ("--encoders", "tiny", "--dataset", "stripes", "--evaluators", "centroid", "--no-floors", "--device", "cpu")
TIMEOUT = 120.0
"""Seconds after which something hangs: two processes load torch before a first cell starts."""


def command(methods: str, *words: str) -> list[str]:
    return ["run", "--methods", methods, *WORDS, "--out", "runs", *words]


def records(folder: Path) -> dict[str, Record]:
    return {record.cell["method"]["name"]: record for record in read_records(folder / "runs")[0]}


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@dataclass
class Ended:
    """What `bench` left behind."""

    folder: Path
    code: int
    out: str
    err: str


def ended(process: subprocess.Popen[str], folder: Path) -> Ended:
    out, err = process.communicate(timeout=TIMEOUT)
    return Ended(folder=folder, code=process.returncode, out=out, err=err)


@pytest.fixture(scope="module")
def environment(site: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(site), "BENCH_PLUGINS": THIRD_PARTY}


# --- a cell that dies -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crashed(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Two cells that take their process with them, one that raises, and one that is right."""
    folder = tmp_path_factory.mktemp("crashed")
    return ended(launch(command("fault_killed,fault_exits,fault_loss,mean_color"), folder, **environment), folder)


def test_a_cell_that_is_killed_costs_only_itself(crashed: Ended) -> None:
    assert crashed.code == 3
    states = {name: record.state for name, record in records(crashed.folder).items()}
    assert states == {"fault_killed": "failed", "fault_exits": "failed", "fault_loss": "failed", "mean_color": "done"}


def test_the_signal_or_exit_status_of_a_dead_cell_is_told(crashed: Ended) -> None:
    assert "the cell's process was ended by SIGKILL" in crashed.err
    assert "out of memory" in crashed.err
    assert "the cell's process ended with exit status 7" in crashed.err
    found = records(crashed.folder)
    assert "SIGKILL" in (found["fault_killed"].failure or {})["reason"]
    assert (found["fault_exits"].failure or {})["stage"] == "process"


def test_what_was_raised_in_a_cells_process_reaches_people(crashed: Ended) -> None:
    assert "RuntimeError: the third-party loss failed" in crashed.err
    failure = records(crashed.folder)["fault_loss"].failure or {}
    assert "third_party_faults" in failure["traceback"]


def test_dead_cells_stand_in_the_table_with_their_reason(crashed: Ended) -> None:
    rows = [line for line in crashed.out.splitlines() if "fault_killed" in line]
    assert any("SIGKILL" in line for line in rows)
    assert "mean_color" in crashed.out


def test_progress_of_cells_in_other_processes_comes_as_plain_lines(crashed: Ended) -> None:
    assert "mean_color / tiny / stripes / seed 0: started on cpu" in crashed.err
    assert "mean_color / tiny / stripes / seed 0: epoch 2/2 (loss" in crashed.err
    assert "[4/4]" in crashed.err
    assert "\x1b" not in crashed.err + crashed.out


def test_no_cell_is_told_to_have_finished_twice(crashed: Ended) -> None:
    lines = [line for line in crashed.err.splitlines() if line.startswith("[")]
    assert sorted(line.partition(" ")[2].partition(" / ")[0] for line in lines) == [
        "fault_exits",
        "fault_killed",
        "fault_loss",
        "mean_color",
    ]


# --- a run that is killed ---------------------------------------------------------------------------------------------


@dataclass
class Killed:
    """A run that was killed in its second cell, and what came after."""

    folder: Path
    child: int
    before: dict[str, int]
    """The first cell's files with their times, when the run was killed."""
    states: dict[str, str]
    """As read just after."""
    again: Ended


def at_the_gate(process: subprocess.Popen[str], folder: Path) -> int:
    """Waits until the first cell is finished and the second one waits in a step; gives the second one's process."""
    reached = folder / "gate.reached"

    def is_there() -> bool:
        assert process.poll() is None, process.communicate()
        first = list((folder / "runs").glob("mean_color-*/record.json")) if (folder / "runs").is_dir() else []
        return reached.exists() and bool(first) and '"state": "done"' in first[0].read_text()

    until(is_there, "the second cell")
    return int(reached.read_text())


def stamps(folder: Path) -> dict[str, int]:
    (cell,) = (folder / "runs").glob("mean_color-*")
    return {path.name: path.stat().st_mtime_ns for path in cell.iterdir()}


@pytest.fixture(scope="module")
def killed(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    (folder / "gate").touch()
    process = launch(command("mean_color,fault_waits"), folder, **environment, THIRD_PARTY_GATE=str(folder / "gate"))
    child = at_the_gate(process, folder)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(TIMEOUT)
    until(lambda: not is_alive(child), "the cell to end with its parent")
    before = stamps(folder)
    states = {name: record.state for name, record in records(folder).items()}
    (folder / "gate").unlink()
    again = ended(launch(command("mean_color,fault_waits"), folder, **environment), folder)
    return Killed(folder=folder, child=child, before=before, states=states, again=again)


def test_a_cell_ends_when_the_run_that_started_it_is_killed(killed: Killed) -> None:
    assert not is_alive(killed.child)


def test_after_a_kill_the_finished_cell_is_kept_as_it_is(killed: Killed) -> None:
    assert killed.states == {"mean_color": "done"}
    assert stamps(killed.folder) == killed.before


def test_the_same_command_does_the_rest(killed: Killed) -> None:
    assert killed.again.code == 0
    assert "1 done, 1 finished before, 0 failed" in killed.again.err
    assert {record.state for record in records(killed.folder).values()} == {"done"}


def test_the_csv_is_that_of_an_uninterrupted_run_but_for_times(
    killed: Killed, third_party: Path, bench: Bench, tmp_path: Path
) -> None:
    assert bench(*command("mean_color,fault_waits", "--executor", "inline")).exit_code == 0

    def rows(path: Path) -> list[dict[str, str]]:
        with path.open(newline="") as file:
            found = list(csv.DictReader(file))
        return [{key: value for key, value in row.items() if key not in VARIES} for row in found]

    interrupted = rows(killed.folder / "runs" / "scores.csv")
    assert len(interrupted) == 4
    assert interrupted == rows(tmp_path / "runs" / "scores.csv")


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@dataclass
class Stopped:
    """A run that was stopped with Ctrl-C in its second cell."""

    result: Ended
    child: int
    seconds: float


@pytest.fixture(scope="module")
def stopped(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    folder = tmp_path_factory.mktemp("stopped")
    (folder / "gate").touch()
    words = command("mean_color,fault_waits,byol", "--threads-per-cell", "1", "--executor", "local[patience=2]")
    process = launch(words, folder, **environment, THIRD_PARTY_GATE=str(folder / "gate"))
    child = at_the_gate(process, folder)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to everybody
    result = ended(process, folder)
    return Stopped(result=result, child=child, seconds=time.monotonic() - start)


def test_ctrl_c_ends_with_130_and_says_what_is_kept(stopped: Stopped) -> None:
    assert stopped.result.code == 130
    assert "bench: interrupted; finished cells are kept" in stopped.result.err
    assert "Traceback" not in stopped.result.err
    assert stopped.seconds < local.GRACE_SECONDS


def test_ctrl_c_keeps_finished_cells_and_writes_their_csv(stopped: Stopped) -> None:
    found = records(stopped.result.folder)
    assert found["mean_color"].state == "done"
    rows = (stopped.result.folder / "runs" / "scores.csv").read_text()
    assert "mean_color" in rows
    assert "fault_waits" not in rows


def test_ctrl_c_lets_a_running_cell_write_down_that_it_was_interrupted(stopped: Stopped) -> None:
    assert not is_alive(stopped.child)
    assert records(stopped.result.folder)["fault_waits"].state == "interrupted"


def test_ctrl_c_in_the_very_process_ends_with_130_too(
    third_party: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bench_third_party.mean_color import MeanColor

    assert bench(*command("mean_color", "--executor", "inline")).exit_code == 0

    def press(self: Any, batch: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(MeanColor, "loss", press)
    try:
        result = bench(*command("mean_color", "--executor", "inline", "--seeds", "2"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.exit_code == 130
    assert "bench: interrupted" in result.stderr
    states = sorted(record.state for record in read_records(tmp_path / "runs")[0])
    assert states == ["done", "interrupted"]


@pytest.fixture
def _python_hears_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_python_hears_ctrl_c")
def test_ctrl_c_while_a_process_is_being_started_waits_and_is_not_lost() -> None:
    done = []

    def start() -> None:
        with local._interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("started")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert done == ["started"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.usefixtures("_python_hears_ctrl_c")
def test_without_ctrl_c_starting_a_process_changes_nothing() -> None:
    with local._interrupts_held_back():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- slots and devices ------------------------------------------------------------------------------------------------


def context(devices: tuple[str, ...], slots: int) -> ExecutorContext:
    return ExecutorContext(params=None, devices=devices, slots=slots, threads=1)


def test_every_device_has_its_slots_and_no_device_gets_all_first_cells() -> None:
    found = local.Local(context(("cuda:0", "cuda:1"), 2))._slots
    assert found == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


@pytest.mark.parametrize(
    ("mine", "device", "seen"),
    [
        (None, "cuda:1", "1"),
        ("", "cuda:1", "1"),
        ("3,5", "cuda:1", "5"),
        ("3,5", "cuda:0", "3"),
        (" GPU-a1 , GPU-b2 ", "cuda:1", "GPU-b2"),
    ],
)
def test_a_gpu_is_pinned_through_what_the_user_had_made_visible(
    monkeypatch: pytest.MonkeyPatch, mine: str | None, device: str, seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "replaced below, and put back afterwards")
    if mine is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mine)
    assert child.pinned(device) == "cuda:0"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_the_cpu_is_not_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert child.pinned("cpu") == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.gpu
def test_a_gpu_runs_a_cell(launch: Launch, environment: dict[str, str], tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU here")
    words = [word if word != "cpu" else "cuda" for word in command("mean_color,byol")]
    result = ended(launch(words, tmp_path, **environment), tmp_path)
    assert result.code == 0, result.err
    assert {record.provenance["device"] for record in records(tmp_path).values()} == {"cuda"}
