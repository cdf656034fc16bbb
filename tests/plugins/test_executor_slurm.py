"""Executor `slurm`: arguments of sbatch, outcomes of tasks, and preemption."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Launch
from launched import TIMEOUT, command, until
from sample_jobs import sample_job

import bench_executors
from bench_executors.parameters import SlurmParams
from benchmark.api.cells import Outcome
from benchmark.api.executors import ExecutorContext
from benchmark.api.grammar import parse_items
from benchmark.api.parameters import bind
from benchmark.errors import BenchError, UsageError
from benchmark.execution.serialization import outcome_to_json
from benchmark.progress import Event
from benchmark.records.record_files import read_records

submitit = pytest.importorskip("submitit", reason='needs pip install "repbench[slurm]"')

from bench_executors import slurm_executor  # noqa: E402  # imports submitit
from bench_executors.slurm_executor import SlurmExecutor  # noqa: E402
from bench_executors.slurm_job import HUNG, HUNG_STATUS, Watchdog, preemption_stops  # noqa: E402


def context(**params: Any) -> ExecutorContext:
    return ExecutorContext(params=SlurmParams(**params), devices=("cpu",), slots=1, threads=3)


def write_command(folder: Path, name: str, *lines: str) -> None:
    """Writes a script in place of a command of Slurm."""
    path = folder / name
    path.write_text("\n".join(("#!/bin/bash", *lines, "")))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def words(executor: str) -> list[str]:
    return command("mean_color,fault_waits", "--executor", executor)


# --- submission --------------------------------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replacements for the commands of Slurm. sbatch accepts a job and does nothing."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    write_command(folder, "srun", "exit 1")
    write_command(folder, "sbatch", f'cp "$1" {folder}/submitted.sh', 'echo "Submitted batch job 77"')
    write_command(folder, "sacct", 'echo "JobID|State|NodeList"')
    write_command(folder, "scancel", f'echo "$@" >> {folder}/canceled')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def sbatch_options(slurm: Path) -> dict[str, str]:
    lines = (slurm / "submitted.sh").read_text().splitlines()
    options = (line.removeprefix("#SBATCH --").partition("=") for line in lines if line.startswith("#SBATCH"))
    return {name: value for name, _, value in options}


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Submits jobs and interrupts the run as soon as it waits for them."""

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    def run(out: Path, count: int = 1, **params: Any) -> None:
        monkeypatch.setattr(slurm_executor.time, "sleep", interrupt)
        jobs = [sample_job(number, out=out) for number in range(count)]
        with pytest.raises(KeyboardInterrupt):
            next(SlurmExecutor(context(**params)).run(jobs, lambda event: None))

    return run


def test_parameters_reach_sbatch_as_one_array(slurm: Path, tmp_path: Path, submit: Callable[..., None]) -> None:
    params: dict[str, Any] = {"partition": "long", "gpus": 1, "cpus": 4, "memory_gb": 16.0, "minutes": 90}
    params |= {"account": "lab", "qos": "low", "constraint": "a100|h100", "array_parallelism": 2}
    submit(tmp_path / "runs", 3, **params)
    options = sbatch_options(slurm)
    expected = {"partition": "long", "gpus-per-node": "1", "cpus-per-task": "4", "mem": "16GB", "time": "90"}
    expected |= {"account": "lab", "qos": "low", "constraint": "'a100|h100'", "array": "0-2%2", "job-name": "repbench"}
    assert {name: options.get(name) for name in expected} == expected
    assert options["signal"].startswith("USR2@")


def test_parameters_that_are_not_set_are_left_to_slurm(
    slurm: Path, tmp_path: Path, submit: Callable[..., None]
) -> None:
    submit(tmp_path / "runs", 2)
    options = sbatch_options(slurm)
    assert not {"partition", "account", "qos", "constraint", "mem", "gpus-per-node"} & options.keys()
    assert options["cpus-per-task"] == "3"
    assert options["time"] == "240"


def test_logs_are_in_the_output_folder_or_in_the_given_one(
    slurm: Path, tmp_path: Path, submit: Callable[..., None]
) -> None:
    submit(tmp_path / "runs")
    assert sbatch_options(slurm)["output"].startswith(str(tmp_path / "runs" / ".slurm"))
    submit(tmp_path / "runs", folder=str(tmp_path / "logs"))
    assert sbatch_options(slurm)["output"].startswith(str(tmp_path / "logs"))


def test_interrupt_cancels_the_jobs(slurm: Path, tmp_path: Path, submit: Callable[..., None]) -> None:
    submit(tmp_path / "runs", 2)
    assert (slurm / "canceled").read_text().split() == ["77_0", "77_1"]


def test_jobs_that_slurm_rejects_are_reported_with_its_message(slurm: Path, tmp_path: Path) -> None:
    write_command(slurm, "sbatch", 'echo "sbatch: error: invalid partition specified: long" >&2', "exit 1")
    with pytest.raises(UsageError, match=r"Slurm does not accept the jobs \(.*invalid partition specified: long"):
        next(SlurmExecutor(context()).run([sample_job(out=tmp_path / "runs")], lambda event: None))


def test_machine_without_slurm_is_reported_with_advice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UsageError, match="needs srun, which is not on this machine; run bench on a machine with Slurm's commands"
    ):
        SlurmExecutor(context())


@pytest.mark.parametrize("params", [{"gpus": 2}, {"cpus": -1}, {"minutes": 0}, {"memory_gb": -1.0}, {"cluster": "pbs"}])
def test_impossible_parameters_are_rejected(params: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=next(iter(params))):
        bind(SlurmParams, params, "executor 'slurm'")


@pytest.mark.parametrize("name", ["partition", "account", "qos", "constraint", "folder"])
@pytest.mark.parametrize(
    "text", ["long\n#SBATCH --wrap='touch evil'", "long\ntouch evil\n", "a\rb", "a\0b", "a\x1b[31m"]
)
def test_values_that_would_add_lines_to_the_batch_job_are_refused(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"{name}="):
        bind(SlurmParams, {name: text}, "executor 'slurm'")
    with pytest.raises(UsageError, match="must not contain"):
        parse_items([f"slurm[{name}='{text.replace(chr(39), '')}']"])


@pytest.mark.parametrize("text", ["a b", "a'b", 'a"b', "$(touch evil)", "`touch evil`", "a;b", "a\\b"])
def test_values_that_a_shell_would_read_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="partition="):
        bind(SlurmParams, {"partition": text}, "executor 'slurm'")


def test_missing_submitit_is_reported_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    (spec,) = (each for each in bench_executors.bench_executors() if each.name == "slurm")
    with pytest.raises(UsageError, match=r'pip install "repbench\[slurm\]"'):
        spec.build(context())


# --- outcomes ---------------------------------------------------------------------------------------------------------


class Task:
    """A task as submitit returns it: with a result, or with the output of a task that died."""

    job_id = "77_0"

    def __init__(self, text: str, error: Exception | None = None) -> None:
        self.text, self.error = text, error

    def done(self) -> bool:
        return True

    def result(self) -> str:
        if self.error is not None:
            raise self.error
        return self.text

    def stderr(self) -> str:
        return self.text


@pytest.fixture
def outcome_of(slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Task], Outcome]:
    """The outcome that the executor makes of a task."""

    def run(task: Task) -> Outcome:
        queue = SimpleNamespace(map_array=lambda function, texts: [task])
        monkeypatch.setattr(SlurmExecutor, "submitit_executor", lambda self, folder: queue)
        (outcome,) = SlurmExecutor(context()).run([sample_job(out=tmp_path / "runs")], lambda event: None)
        return outcome

    return run


def died() -> Exception:
    return submitit.core.utils.UncompletedJobError("no result")


def test_outcome_is_the_one_that_the_task_returns(outcome_of: Callable[[Task], Outcome]) -> None:
    outcome = Outcome(cell_id="c", folder="0", state="done", seconds=2.0)
    assert outcome_of(Task(outcome_to_json(outcome))) == outcome


def test_task_that_died_fails_with_its_last_output(outcome_of: Callable[[Task], Outcome]) -> None:
    outcome = outcome_of(Task("loading\nslurmstepd: error: Detected 1 oom-kill event\n", died()))
    assert (outcome.state, outcome.cause) == ("failed", "crash")
    assert outcome.reason.startswith("Slurm job 77_0 ended without an outcome; its last output: loading | slurmstepd")
    assert "oom-kill" in outcome.traceback


def test_task_that_hung_fails_with_cause_silence(outcome_of: Callable[[Task], Outcome]) -> None:
    outcome = outcome_of(Task(f"loading\n{HUNG} 30 s\nsrun: error\n", died()))
    assert (outcome.state, outcome.cause, outcome.reason) == ("failed", "silence", "no progress for 30 s")


def test_jobs_have_their_memory_to_themselves() -> None:
    (spec,) = (each for each in bench_executors.bench_executors() if each.name == "slurm")
    assert spec.exclusive


def test_watchdog_ends_the_process_of_a_hung_cell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    with Watchdog(0.2) as watchdog:

        def leave(code: int) -> None:
            codes.append(code)
            watchdog.__exit__()

        monkeypatch.setattr(os, "_exit", leave)
        for _ in range(6):
            time.sleep(0.1)
            watchdog(Event(kind="step", cell=""))
        assert not codes
        until(lambda: codes, "the watchdog")
    assert codes == [HUNG_STATUS]
    assert f"{HUNG} 0.2 s" in capsys.readouterr().err


# --- cells ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _restored_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("_restored_handler")
def test_preempted_cell_writes_a_checkpoint_before_it_is_queued_again() -> None:
    from benchmark.executors import StopRequest

    order: list[str] = []
    signal.signal(signal.SIGUSR2, lambda number, frame: order.append("queued"))
    stop = StopRequest()
    stop.is_checked = True
    with preemption_stops(stop.request):
        signal.raise_signal(signal.SIGUSR2)
        assert stop.requested
        order.append("written")
        raise KeyboardInterrupt
    assert order == ["written", "queued"]


def test_cells_run_as_jobs_of_submitit(launch: Launch, environment: dict[str, str], tmp_path: Path) -> None:
    process = launch(words("slurm[cluster=local]"), tmp_path, **environment)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert {record.state for record in read_records(tmp_path / "runs")[0]} == {"done"}
    assert "cells: 2 done" in err
    assert err.count("done after") == 2


@pytest.mark.slow
def test_preempted_cell_is_queued_again_and_resumes(
    launch: Launch, environment: dict[str, str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    process = launch(words("slurm[cluster=local]"), tmp_path, **environment, THIRD_PARTY_GATE=str(gate))
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
def test_array_runs_all_cells(slurm: Path, launch: Launch, environment: dict[str, str], tmp_path: Path) -> None:
    variables = "SLURM_JOB_ID=77$i SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$i SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1"
    ranks = "SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0"
    write_command(
        slurm,
        "sbatch",
        f'cp "$1" {slurm}/submitted.sh',
        f'for i in 0 1; do env {variables} {ranks} setsid bash "{slurm}/submitted.sh" >"{slurm}/$i.txt" 2>&1 & done',
        'echo "Submitted batch job 77"',
    )
    write_command(
        slurm, "srun", 'while [[ "$1" == --* ]]; do [[ "$1" == --unbuffered ]] || shift; shift; done', 'exec "$@"'
    )
    write_command(slurm, "sacct", 'echo "JobID|State|NodeList"', 'echo "77_0|RUNNING|n"', 'echo "77_1|RUNNING|n"')
    process = launch(words("slurm[minutes=10]"), tmp_path, **environment)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert sbatch_options(slurm)["array"] == "0-1%2"
    assert {record.state for record in read_records(tmp_path / "runs")[0]} == {"done"}
    assert err.count("done after") == 2


def test_unknown_parameter_is_rejected_with_the_nearest_one() -> None:
    with pytest.raises(BenchError, match="did you mean 'partition'"):
        bind(SlurmParams, {"partitions": "long"}, "executor 'slurm'")
