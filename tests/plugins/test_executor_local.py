"""Executor `local`: one process per cell, dead processes, killed runs, Ctrl-C and GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, Launch
from launched import Ended, command, ended, is_alive, rows, until

from bench_executors.child_process import use_gpu
from bench_executors.interrupts import interrupts_delayed
from bench_executors.local import GRACE_SECONDS, PRELOADED
from benchmark.records.record import Record
from benchmark.records.record_files import read_records


def records(folder: Path) -> dict[str, Record]:
    """Method -> record."""
    return {record.cell["method"]["name"]: record for record in read_records(folder / "runs")[0]}


# --- processes --------------------------------------------------------------------------------------------------------


def test_cells_start_in_a_process_that_has_imported_torch_and_the_core(tmp_path: Path) -> None:
    """The fork server ignores a preloaded module that does not exist. Cells would then start in 3 s instead of 0.03 s."""
    modules = (
        "{'torch', 'faiss', 'benchmark.execution.cell', 'benchmark.training.loop', 'benchmark.evaluation.features'}"
    )
    note = f"import sys; open('missing', 'w').write(str(sorted({modules} - set(sys.modules))))"
    script = (
        "import multiprocessing\n"
        "context = multiprocessing.get_context('forkserver')\n"
        f"context.set_forkserver_preload({PRELOADED!r})\n"
        f"process = context.Process(target=exec, args=({note!r},))\n"
        "process.start()\n"
        "process.join()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    assert (tmp_path / "missing").read_text() == "[]"


# --- a cell that dies -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crashed(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Two cells that end their own process, one that raises, and one that succeeds."""
    folder = tmp_path_factory.mktemp("crashed")
    return ended(launch(command("fault_killed,fault_exits,fault_loss,mean_color"), folder, **environment), folder)


def test_killed_process_fails_only_its_cell(crashed: Ended) -> None:
    assert crashed.code == 3
    states = {name: record.state for name, record in records(crashed.folder).items()}
    assert states == {"fault_killed": "failed", "fault_exits": "failed", "fault_loss": "failed", "mean_color": "done"}


def test_signal_and_exit_status_of_dead_processes_are_reported(crashed: Ended) -> None:
    assert "the process of the cell was killed by SIGKILL" in crashed.err
    assert "out of memory" in crashed.err
    assert "the process of the cell ended with exit status 7" in crashed.err
    stored = records(crashed.folder)
    assert "SIGKILL" in (stored["fault_killed"].failure or {})["reason"]
    assert (stored["fault_exits"].failure or {})["stage"] == "process"


def test_exception_in_a_process_is_reported_with_its_traceback(crashed: Ended) -> None:
    assert "RuntimeError: the third-party loss failed" in crashed.err
    failure = records(crashed.folder)["fault_loss"].failure or {}
    assert "third_party_faults" in failure["traceback"]


def test_dead_cells_are_in_the_table_with_their_reason(crashed: Ended) -> None:
    lines = [line for line in crashed.out.splitlines() if "fault_killed" in line]
    assert any("SIGKILL" in line for line in lines)
    assert "mean_color" in crashed.out


def test_progress_of_processes_is_printed_as_plain_lines(crashed: Ended) -> None:
    assert "mean_color / tiny / stripes / seed 0: started on cpu" in crashed.err
    assert "mean_color / tiny / stripes / seed 0: epoch 2/2 (loss" in crashed.err
    assert "[4/4]" in crashed.err
    assert "\x1b" not in crashed.err + crashed.out


def test_end_of_each_cell_is_reported_once(crashed: Ended) -> None:
    lines = [line for line in crashed.err.splitlines() if line.startswith("[")]
    names = sorted(line.partition(" ")[2].partition(" / ")[0] for line in lines)
    assert names == ["fault_exits", "fault_killed", "fault_loss", "mean_color"]


# --- a run that is killed ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Killed:
    """A run that was killed in its second cell, and the same command again."""

    folder: Path
    child: int
    """Process of the second cell."""
    before: dict[str, int]
    """The first cell's files with their times, when the run was killed."""
    states: dict[str, str]
    """Just after the kill."""
    again: Ended


def in_second_cell(process: subprocess.Popen[str], folder: Path) -> int:
    """Waits until the first cell is finished and the second one waits in a step; the second one's process."""
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
    child = in_second_cell(process, folder)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not is_alive(child), "the cell to end with its parent")
    before = stamps(folder)
    states = {name: record.state for name, record in records(folder).items()}
    (folder / "gate").unlink()
    again = ended(launch(command("mean_color,fault_waits"), folder, **environment), folder)
    return Killed(folder=folder, child=child, before=before, states=states, again=again)


def test_process_of_a_cell_ends_with_the_run(killed: Killed) -> None:
    assert not is_alive(killed.child)


def test_killed_run_keeps_finished_cells(killed: Killed) -> None:
    assert killed.states == {"mean_color": "done"}
    assert stamps(killed.folder) == killed.before


def test_same_command_runs_the_rest_after_a_kill(killed: Killed) -> None:
    assert killed.again.code == 0
    assert "1 done, 1 finished before, 0 failed" in killed.again.err
    assert {record.state for record in records(killed.folder).values()} == {"done"}


def test_csv_after_a_kill_equals_that_of_an_uninterrupted_run(
    killed: Killed, third_party: Path, bench: Bench, tmp_path: Path
) -> None:
    assert bench(*command("mean_color,fault_waits", "--executor", "inline")).exit_code == 0
    assert len(rows(killed.folder)) == 4
    assert rows(killed.folder) == rows(tmp_path)


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
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
    child = in_second_cell(process, folder)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    result = ended(process, folder)
    return Stopped(result=result, child=child, seconds=time.monotonic() - start)


def test_ctrl_c_exits_with_130_and_a_message(stopped: Stopped) -> None:
    assert stopped.result.code == 130
    assert "bench: interrupted; finished cells are kept" in stopped.result.err
    assert "Traceback" not in stopped.result.err
    assert stopped.seconds < GRACE_SECONDS


def test_ctrl_c_keeps_finished_cells_and_writes_their_csv(stopped: Stopped) -> None:
    assert records(stopped.result.folder)["mean_color"].state == "done"
    text = (stopped.result.folder / "runs" / "scores.csv").read_text()
    assert "mean_color" in text
    assert "fault_waits" not in text


def test_ctrl_c_lets_a_running_cell_record_the_interruption(stopped: Stopped) -> None:
    assert not is_alive(stopped.child)
    assert records(stopped.result.folder)["fault_waits"].state == "interrupted"


def test_ctrl_c_exits_with_130_for_executor_inline_too(
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
    assert sorted(record.state for record in read_records(tmp_path / "runs")[0]) == ["done", "interrupted"]


@pytest.fixture
def _default_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_default_ctrl_c")
def test_interrupts_are_delivered_after_a_process_has_started() -> None:
    started = []

    def start() -> None:
        with interrupts_delayed():
            signal.raise_signal(signal.SIGINT)
            started.append("process")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert started == ["process"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.usefixtures("_default_ctrl_c")
def test_interrupt_handlers_are_restored_without_an_interrupt() -> None:
    with interrupts_delayed():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- GPUs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "device", "visible"),
    [
        (None, "cuda:1", "1"),
        ("", "cuda:1", "1"),
        ("3,5", "cuda:1", "5"),
        ("3,5", "cuda:0", "3"),
        (" GPU-a1 , GPU-b2 ", "cuda:1", "GPU-b2"),
    ],
)
def test_use_gpu_respects_the_gpus_that_the_user_made_visible(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, device: str, visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "replaced below, and restored afterwards")
    if setting is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert use_gpu(device) == "cuda:0"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


def test_use_gpu_changes_nothing_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert use_gpu("cpu") == "cpu"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.mark.gpu
def test_cell_runs_on_a_gpu(launch: Launch, environment: dict[str, str], tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU on this machine")
    words = [word if word != "cpu" else "cuda" for word in command("mean_color,byol")]
    result = ended(launch(words, tmp_path, **environment), tmp_path)
    assert result.code == 0, result.err
    assert {record.provenance["device"] for record in records(tmp_path).values()} == {"cuda"}
