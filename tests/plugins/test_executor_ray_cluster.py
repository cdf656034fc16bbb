"""Executor `ray` on a real cluster: a node that dies, Ctrl-C, a cell that hangs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Launch
from launched import command, is_alive, listening_addresses, until

from benchmark.records.record import CHECKPOINT
from benchmark.records.record_files import read_records

pytest.importorskip("ray", reason='needs pip install "repbench[ray]"')
from bench_executors.ray_node import run_on_node

pytestmark = [
    pytest.mark.slow,
    # Ray leaves processes that end with the cluster.
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
]

TIMEOUT = 300.0
"""Seconds after which a test gives up."""
CELLS = 20


def words(methods: str, *more: str) -> list[str]:
    return command(methods, "--threads-per-cell", "1", *more)


def states(folder: Path) -> dict[str, str]:
    return {record.cell["method"]["name"]: record.state for record in read_records(folder / "runs")[0]}


def descendants(pid: int) -> set[int]:
    """The processes that a process has started, directly or not."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    tree = {pid}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree - {pid}


def works(raylet: int) -> bool:
    """Whether a node runs a cell: Ray names a worker by its task."""
    pids = ",".join(map(str, descendants(raylet))) or "0"
    listed = subprocess.run(["ps", "-o", "args=", "-p", pids], capture_output=True, text=True, check=False).stdout
    return f"ray::{run_on_node.__name__}" in listed


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, site: Path) -> Iterator[Any]:
    """A head and a second node, with one CPU each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


def test_cells_survive_the_death_of_one_of_two_nodes(
    cluster: Any, launch: Launch, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = time.monotonic()
    more = ("--seeds", str(CELLS), "--epochs", "300", "--executor", f"ray[address='{cluster.address}']")
    process = launch(words("mean_color", *more), tmp_path, **environment)
    until(
        lambda: process.poll() is not None or len(list(tmp_path.glob("runs/*/record.json"))) >= 5, "five cells", TIMEOUT
    )
    (other,) = cluster.worker_nodes
    (raylet,) = (started.process.pid for started in other.all_processes["raylet"])
    until(lambda: process.poll() is not None or works(raylet), "a cell on the second node", TIMEOUT)
    os.kill(raylet, signal.SIGKILL)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    records, problems = read_records(tmp_path / "runs")
    assert not problems
    assert [record.state for record in records] == ["done"] * CELLS
    assert sorted(record.cell["seed"] for record in records) == list(range(CELLS))
    assert err.count("done after") == CELLS
    again = err.count("again: the node or process of the cell died")
    assert again >= 1, err
    assert not list((tmp_path / "runs").glob("*/lock.json"))
    with capsys.disabled():
        print(f"\n{CELLS} cells, one of two nodes killed: {time.monotonic() - start:.1f} s, {again} sent again")  # noqa: T201


def test_ctrl_c_returns_the_checkpoint_of_a_running_cell_and_ends_ray(
    launch: Launch, environment: dict[str, str], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    where = {**environment, "THIRD_PARTY_GATE": str(gate)}
    process = launch(words("mean_color,fault_waits", "--executor", "ray"), tmp_path, **where)
    until(lambda: process.poll() is not None or (tmp_path / "gate.reached").exists(), "the cell in its step", TIMEOUT)
    until(lambda: states(tmp_path).get("mean_color") == "done", "the other cell", TIMEOUT)
    below = descendants(process.pid)
    assert len(below) > 2
    addresses = listening_addresses({process.pid, *below})
    assert addresses
    assert addresses <= LOOPBACK, "Ray accepts connections from other machines"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes
    time.sleep(1.0)
    gate.unlink()
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, err
    assert states(tmp_path) == {"mean_color": "done", "fault_waits": "interrupted"}
    assert len(list((tmp_path / "runs").glob(f"*/{CHECKPOINT}"))) == 1
    until(lambda: not any(is_alive(pid) for pid in below), "the end of Ray", TIMEOUT)
    assert not list((tmp_path / "runs").glob("*/lock.json"))
    again = launch(words("mean_color,fault_waits", "--executor", "inline"), tmp_path, **where)
    assert again.communicate(timeout=TIMEOUT)[1]
    assert again.returncode == 0
    assert set(states(tmp_path).values()) == {"done"}


def test_hung_cell_fails_alone(launch: Launch, environment: dict[str, str], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    where = {**environment, "THIRD_PARTY_GATE": str(gate)}
    more = ("--timeout", "5", "--executor", "ray")
    process = launch(words("fault_waits,mean_color,fault_exits", *more), tmp_path, **where)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 3, err
    assert "failed after" in err
    assert "no progress for 5 s" in err
    assert states(tmp_path)["mean_color"] == "done"
    assert states(tmp_path)["fault_waits"] == "failed"
    assert len(re.findall("sending .* again: ", err)) == 3
    assert "the node or process of the cell died (WorkerCrashedError" in err
