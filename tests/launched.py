"""`bench run` in processes of its own, on quick plugins: what tests of faults, kills and sharing have in common."""

from __future__ import annotations

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
"""Seconds after which something hangs; nothing is measured by it."""
WORDS = ("--encoders", "tiny", "--dataset", "stripes", "--no-floors", "--device", "cpu")


def command(methods: str, *words: str, evaluators: str = "centroid") -> list[str]:
    return ["run", "--methods", methods, "--evaluators", evaluators, *WORDS, "--out", "runs", *words]


def until(condition: Callable[[], Any], what: str, seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


@dataclass(frozen=True)
class Ended:
    """What `bench` left behind."""

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


def living(session: int) -> set[int]:
    """Processes of a session: `bench run`, the server of processes, and the cells, whoever their parents are by now."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # proc(5): state, parent, group, session follow the name in brackets.
            state, _, _, its = path.read_text(errors="replace").rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(its) == session and state != "Z":
            found.add(int(path.parent.name))
    return found


def until_all_gone(process: subprocess.Popen[str]) -> None:
    """Waits for what was started by a run that was killed: cells end with it."""
    process.wait(TIMEOUT)
    until(lambda: not living(process.pid), "all processes of a run to end with it")


# --- what is in the folder --------------------------------------------------------------------------------------------


def by_label(folder: Path) -> dict[str, Record]:
    """The method's label and the seed, `mean_color/0` -> record; none of them damaged."""
    found, problems = read_records(folder / "runs")
    assert not problems, problems
    return {f"{record.cell['method']['label']}/{record.cell['seed']}": record for record in found}


def cell_of(record: Record) -> str:
    """How a steady method names its cell in the activity."""
    return f"{record.cell['method']['name']}/{derived_seed(record.cell['seed'], 'build')}"


def rows(folder: Path) -> list[dict[str, str]]:
    """The CSV of finished cells, without times, and without repbench's commit: somebody may commit between two runs."""
    without = {*VARIES, "commit"}
    with (folder / "runs" / "scores.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in without} for row in csv.DictReader(file)]


def bodies(folder: Path, *names: str) -> dict[str, bytes]:
    """Files of those names in all cells' folders, `<cell folder>/<name>` -> bytes."""
    found = (path for name in names for path in (folder / "runs").glob(f"*/{name}"))
    return {str(path.relative_to(folder / "runs")): path.read_bytes() for path in found}


@dataclass(frozen=True)
class Kept:
    """A finished cell's file, as it was."""

    body: bytes
    modified: int
    inode: int


def kept(folder: Path) -> dict[str, Kept]:
    """What finished cells have left, file by file."""
    found = {}
    for path in sorted((folder / "runs").glob("*/record.json")):
        if json.loads(path.read_bytes())["state"] == "done":
            for each in (path, path.with_name("model.safetensors"), path.with_name("predictions.npz")):
                status = each.stat()
                found[str(each)] = Kept(each.read_bytes(), status.st_mtime_ns, status.st_ino)
    return found


def told(path: Path) -> list[tuple[str, str, int]]:
    """The activity of steady methods: (word, cell, process) line by line."""
    if not path.exists():
        return []
    lines = (line.split() for line in path.read_text().splitlines())
    return [(word, cell, int(pid)) for word, cell, pid in lines]


def counted(activity: Path, word: str) -> Counter[str]:
    """How often each cell has noted a word."""
    return Counter(cell for said, cell, _ in told(activity) if said == word)
