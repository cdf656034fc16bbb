"""`bench run` in its own processes, on quick plugins: what the tests of faults, kills and sharing share."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmark.records.csv_columns import VARIES
from benchmark.records.record import Record
from benchmark.records.record_files import read_records
from benchmark.seeding import derived_seed

TIMEOUT = 120.0
"""Seconds after which a test gives up; nothing is measured by it."""
WORDS = ("--encoders", "tiny", "--dataset", "stripes", "--no-floors", "--device", "cpu")


def command(methods: str, *words: str, evaluators: str = "centroid") -> list[str]:
    return ["run", "--methods", methods, "--evaluators", evaluators, *WORDS, "--out", "runs", *words]


def until(condition: Callable[[], Any], what: str, seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.01)


@dataclass(frozen=True)
class Ended:
    """How `bench` ended, and what it printed."""

    folder: Path
    code: int
    out: str
    err: str

    def tail(self) -> str:
        """For the message of a failed assertion."""
        return f"exit code {self.code}\n{self.out[-3000:]}\n{self.err[-6000:]}"


def ended(process: subprocess.Popen[str], folder: Path) -> Ended:
    try:
        out, err = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"bench did not end within {TIMEOUT:.0f} s:\n{out[-2000:]}\n{err[-4000:]}")
    return Ended(folder=folder, code=process.returncode, out=out, err=err)


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def living(session: int) -> set[int]:
    """Processes of a session: `bench run`, the fork server and the cells."""
    pids = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # proc(5): state, parent, group, session follow the name in brackets.
            state, _, _, its_session = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(its_session) == session and state != "Z":
            pids.add(int(path.parent.name))
    return pids


def listening_addresses(pids: set[int]) -> set[str]:
    """Addresses on which any of the processes listens, as proc(5) writes them."""
    sockets = set()
    for each in (path for pid in pids for path in Path(f"/proc/{pid}/fd").glob("*")):
        with contextlib.suppress(OSError):
            sockets.add(str(each.readlink()))
    rows = [line.split() for path in Path("/proc/net").glob("tcp*") for line in path.read_text().splitlines()]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def until_all_gone(process: subprocess.Popen[str]) -> None:
    """Waits until all processes of a killed run have ended."""
    process.wait(TIMEOUT)
    until(lambda: not living(process.pid), "all processes of a run to end with it")


# --- what is in the folder --------------------------------------------------------------------------------------------


def by_label(folder: Path) -> dict[str, Record]:
    """Method and seed, `mean_color/0`, -> record. None may be damaged."""
    records, problems = read_records(folder / "runs")
    assert not problems, problems
    return {f"{record.cell['method']['label']}/{record.cell['seed']}": record for record in records}


def cell_of(record: Record) -> str:
    """The name of a cell in the activity of the steady methods."""
    return f"{record.cell['method']['name']}/{derived_seed(record.cell['seed'], 'build')}"


def rows(folder: Path) -> list[dict[str, str]]:
    """The CSV of finished cells, without times, and without repbench's commit: somebody may commit between two runs."""
    without = {*VARIES, "commit"}
    with (folder / "runs" / "scores.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in without} for row in csv.DictReader(file)]


def bodies(folder: Path, *names: str) -> dict[str, bytes]:
    """Files of those names in all cells' folders, `<cell folder>/<name>` -> bytes."""
    paths = (path for name in names for path in (folder / "runs").glob(f"*/{name}"))
    return {str(path.relative_to(folder / "runs")): path.read_bytes() for path in paths}


@dataclass(frozen=True)
class Kept:
    """A finished cell's file, as it was."""

    body: bytes
    modified: int
    inode: int


def kept(folder: Path) -> dict[str, Kept]:
    """The files of finished cells, by name."""
    files = {}
    for path in sorted((folder / "runs").glob("*/record.json")):
        if json.loads(path.read_bytes())["state"] == "done":
            for each in (path, path.with_name("model.safetensors"), path.with_name("predictions.npz")):
                status = each.stat()
                files[str(each)] = Kept(each.read_bytes(), status.st_mtime_ns, status.st_ino)
    return files


def notes(path: Path) -> list[tuple[str, str, int]]:
    """The activity of the steady methods: (word, cell, process), line by line."""
    if not path.exists():
        return []
    lines = (line.split() for line in path.read_text().splitlines())
    return [(word, cell, int(pid)) for word, cell, pid in lines]


def counted(activity: Path, word: str) -> Counter[str]:
    """How often each cell has logged a word."""
    return Counter(cell for noted, cell, _ in notes(activity) if noted == word)
