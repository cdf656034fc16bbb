"""Cells as Slurm jobs: what is asked of Slurm, what comes back, and what a cell does that has to leave its node."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import STRANGERS, Launch

import bench_executors
from bench_executors.clusters import SlurmParams
from benchmark.api.cells import Cell, Item, Job, Outcome
from benchmark.api.executors import ExecutorContext
from benchmark.api.parameters import bind
from benchmark.api.recipes import Recipe
from benchmark.errors import BenchError, UsageError
from benchmark.execution.serialization import outcome_to_json
from benchmark.progress import Event
from benchmark.records.record import read_records

submitit = pytest.importorskip("submitit", reason='needs pip install "repbench[slurm]"')

from bench_executors import in_array, on_slurm  # noqa: E402  # they import submitit

TIMEOUT = 120.0
"""Seconds after which something hangs."""
CELL = Cell(
    id="c",
    method=Item(name="aet", label="aet"),
    encoder=Item(name="tiny", label="tiny"),
    dataset=Item(name="stripes", label="stripes"),
    fingerprint="",
    subset=None,
    seed=0,
    recipe=Recipe(),
)


def job(out: Path, **changed: Any) -> Job:
    return Job(cell=CELL, scores=(), data_dir="", out_dir=str(out), folder="aet-tiny", **changed)


def context(**params: Any) -> ExecutorContext:
    return ExecutorContext(params=SlurmParams(**params), devices=("cpu",), slots=1, threads=3)


def command(folder: Path, name: str, *lines: str) -> None:
    """A program of Slurm's that is not Slurm's."""
    path = folder / name
    path.write_text("\n".join(("#!/bin/bash", *lines, "")))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def environment_of_two(site: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(site), "BENCH_PLUGINS": STRANGERS}


def words(executor: str) -> list[str]:
    where = ("--dataset", "stripes", "--evaluators", "centroid", "--no-floors", "--device", "cpu", "--out", "runs")
    methods = ("--methods", "mean_color,fault_waits", "--encoders", "tiny")
    return ["run", *methods, *where, "--executor", executor]


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with Slurm's commands, of which sbatch takes a job and does nothing."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    command(folder, "srun", "exit 1")
    command(folder, "sbatch", f'cp "$1" {folder}/asked.sh', 'echo "Submitted batch job 77"')
    command(folder, "sacct", 'echo "JobID|State|NodeList"')
    command(folder, "scancel", f'echo "$@" >> {folder}/canceled')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def asked(slurm: Path) -> dict[str, str]:
    lines = (slurm / "asked.sh").read_text().splitlines()
    found = (line.removeprefix("#SBATCH --").partition("=") for line in lines if line.startswith("#SBATCH"))
    return {name: value for name, _, value in found}


def test_parameters_reach_sbatch_as_one_array(slurm: Path, tmp_path: Path) -> None:
    params: dict[str, Any] = {"partition": "long", "gpus": 1, "cpus": 4, "memory_gb": 16.0, "minutes": 90}
    params |= {"account": "lab", "qos": "low", "constraint": "a100|h100", "array_parallelism": 2}
    executor = on_slurm.OnSlurm(context(**params))
    tasks = executor._submit([job(tmp_path / "runs"), job(tmp_path / "runs"), job(tmp_path / "runs")])
    found = asked(slurm)
    wanted = {"partition": "long", "gpus-per-node": "1", "cpus-per-task": "4", "mem": "16GB", "time": "90"}
    wanted |= {"account": "lab", "qos": "low", "constraint": "'a100|h100'", "array": "0-2%2", "job-name": "repbench"}
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["signal"].startswith("USR2@")
    assert [cell.task.job_id for cell in tasks] == ["77_0", "77_1", "77_2"]


def test_what_is_not_set_is_left_to_slurm(slurm: Path, tmp_path: Path) -> None:
    on_slurm.OnSlurm(context())._submit([job(tmp_path / "runs"), job(tmp_path / "runs")])
    found = asked(slurm)
    assert not {"partition", "account", "qos", "constraint", "mem", "gpus-per-node"} & found.keys()
    assert found["cpus-per-task"] == "3"
    assert found["time"] == "240"


def test_logs_lie_below_the_output_folder_or_where_they_were_asked_for(slurm: Path, tmp_path: Path) -> None:
    on_slurm.OnSlurm(context())._submit([job(tmp_path / "runs")])
    assert asked(slurm)["output"].startswith(str(tmp_path / "runs" / ".slurm"))
    on_slurm.OnSlurm(context(folder=str(tmp_path / "logs")))._submit([job(tmp_path / "runs")])
    assert asked(slurm)["output"].startswith(str(tmp_path / "logs"))


def test_who_stops_listening_cancels_the_jobs(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(on_slurm.time, "sleep", press)
    outcomes = on_slurm.OnSlurm(context()).run([job(tmp_path / "runs"), job(tmp_path / "runs")], lambda event: None)
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert (slurm / "canceled").read_text().split() == ["77_0", "77_1"]


def test_jobs_that_slurm_does_not_take_are_a_sentence(slurm: Path, tmp_path: Path) -> None:
    command(slurm, "sbatch", 'echo "sbatch: error: invalid partition specified: long" >&2', "exit 1")
    with pytest.raises(UsageError, match=r"Slurm takes no jobs \(.*invalid partition specified: long"):
        next(on_slurm.OnSlurm(context()).run([job(tmp_path / "runs")], lambda event: None))


def test_a_machine_without_slurm_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="finds no srun on this machine; run bench where Slurm's commands are"):
        on_slurm.OnSlurm(context())


@pytest.mark.parametrize("given", [{"gpus": 2}, {"cpus": -1}, {"minutes": 0}, {"memory_gb": -1.0}, {"cluster": "pbs"}])
def test_parameters_that_cannot_be_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(given))):
        bind(SlurmParams, given, "executor 'slurm'")


def test_without_submitit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    (spec,) = (each for each in bench_executors.bench_executors() if each.name == "slurm")
    with pytest.raises(UsageError, match=r'pip install "repbench\[slurm\]"'):
        spec.build(context())


# --- what comes back --------------------------------------------------------------------------------------------------


class Task:
    """A task as submitit gives it: with a result, or with what it printed before it died."""

    job_id = "77_0"

    def __init__(self, text: str, error: Exception | None = None) -> None:
        self.text, self.error = text, error

    def result(self) -> str:
        if self.error is not None:
            raise self.error
        return self.text

    def stderr(self) -> str:
        return self.text


def outcome_of(task: Task, tmp_path: Path) -> Outcome:
    return on_slurm._outcome(on_slurm._Queued(job=job(tmp_path), task=task, known="", since=0.0))


def test_an_outcome_is_what_the_task_says(tmp_path: Path) -> None:
    outcome = Outcome(cell_id="c", folder="aet-tiny", state="done", seconds=2.0)
    assert outcome_of(Task(outcome_to_json(outcome)), tmp_path) == outcome


def test_a_task_that_died_fails_with_its_last_words(tmp_path: Path) -> None:
    died = submitit.core.utils.UncompletedJobError("no result")
    found = outcome_of(Task("loading\nslurmstepd: error: Detected 1 oom-kill event\n", died), tmp_path)
    assert (found.state, found.cause) == ("failed", "crash")
    assert found.reason.startswith("its Slurm job 77_0 ended without an outcome; it last said: loading | slurmstepd")
    assert "oom-kill" in found.traceback


def test_a_task_that_hung_fails_for_silence(tmp_path: Path) -> None:
    died = submitit.core.utils.UncompletedJobError("no result")
    found = outcome_of(Task(f"loading\n{in_array.SILENT} 30 s\nsrun: error\n", died), tmp_path)
    assert (found.state, found.cause, found.reason) == ("failed", "silence", "no sign of life for 30 s")


def test_a_silent_cell_is_ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[int] = []
    with in_array._Watch(0.2) as watch:

        def leave(code: int) -> None:
            ended.append(code)
            watch._over.set()

        monkeypatch.setattr(os, "_exit", leave)
        for _ in range(6):
            time.sleep(0.1)
            watch(Event(kind="step", cell=""))
        assert not ended
        until(lambda: ended, "the end of what is silent")
    assert ended == [in_array.HUNG_STATUS]
    assert f"{in_array.SILENT} 0.2 s" in capsys.readouterr().err


# --- cells ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _nobody_hears() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("_nobody_hears")
def test_a_cell_that_has_to_leave_writes_first_and_is_queued_then() -> None:
    from benchmark.executors import StopRequest

    order: list[str] = []
    signal.signal(signal.SIGUSR2, lambda number, frame: order.append("queued"))
    stop = StopRequest()
    stop.patient = True
    with in_array._taken_away(stop.ask):
        signal.raise_signal(signal.SIGUSR2)
        assert stop.asked
        order.append("written")
        raise KeyboardInterrupt
    assert order == ["written", "queued"]


def test_two_cells_run_as_submitits_jobs(launch: Launch, site: Path, tmp_path: Path) -> None:
    process = launch(words("slurm[cluster=local]"), tmp_path, **environment_of_two(site))
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert {record.state for record in read_records(tmp_path / "runs")[0]} == {"done"}
    assert "2 cells done" in err
    assert err.count("done after") == 2


@pytest.mark.slow
def test_a_cell_that_is_taken_away_is_queued_again_and_goes_on(launch: Launch, site: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    process = launch(words("slurm[cluster=local]"), tmp_path, **environment_of_two(site), STRANGER_GATE=str(gate))
    reached = tmp_path / "gate.reached"
    until(lambda: reached.exists() or process.poll() is not None, "the cell in its step")
    os.kill(int(reached.read_text()), signal.SIGUSR2)
    time.sleep(0.2)
    gate.unlink()
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert {record.state for record in read_records(tmp_path / "runs")[0]} == {"done"}
    logs = "".join(path.read_text() for path in (tmp_path / "runs" / ".slurm").glob("*_log.*"))
    assert logs.count("Requeued job") == 1


@pytest.mark.slow
def test_an_array_runs_both_cells(slurm: Path, launch: Launch, site: Path, tmp_path: Path) -> None:
    variables = "SLURM_JOB_ID=77$i SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$i SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1"
    ranks = "SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0"
    command(
        slurm,
        "sbatch",
        f'cp "$1" {slurm}/asked.sh',
        f'for i in 0 1; do env {variables} {ranks} setsid bash "{slurm}/asked.sh" >"{slurm}/$i.txt" 2>&1 & done',
        'echo "Submitted batch job 77"',
    )
    command(slurm, "srun", 'while [[ "$1" == --* ]]; do [[ "$1" == --unbuffered ]] || shift; shift; done', 'exec "$@"')
    command(slurm, "sacct", 'echo "JobID|State|NodeList"', 'echo "77_0|RUNNING|n"', 'echo "77_1|RUNNING|n"')
    process = launch(words("slurm[minutes=10]"), tmp_path, **environment_of_two(site))
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert asked(slurm)["array"] == "0-1%2"
    assert {record.state for record in read_records(tmp_path / "runs")[0]} == {"done"}
    assert err.count("done after") == 2


def test_an_unknown_parameter_is_told_with_the_nearest() -> None:
    with pytest.raises(BenchError, match="did you mean 'partition'"):
        bind(SlurmParams, {"partitions": "long"}, "executor 'slurm'")
