"""Damaged records and checkpoints, wrong clocks and full disks: what is kept, and how a run recovers."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, Launch
from launched import Ended, bodies, by_label, command, counted, ended, kept, rows

from benchmark.records import locks
from benchmark.records.record import Record

Mount = Callable[[Path, str], None]


@pytest.fixture(scope="module")
def mount() -> Iterator[Mount]:
    """Mounts a small disk at a folder; with `remount,ro`, makes it read-only."""
    mounted: list[Path] = []

    def mount_at(folder: Path, options: str) -> None:
        if os.geteuid():
            pytest.skip("only root can mount a disk")
        again = folder in mounted
        folder.mkdir(exist_ok=True)
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"cannot mount a disk on this machine ({made.stderr.strip()})")
        if not again:
            mounted.append(folder)

    yield mount_at
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@dataclass(frozen=True)
class Started:
    """Runs that work at the same time, since each needs seconds to start."""

    repaired: Future[Repaired]
    filled: Future[Filled]


@pytest.fixture(scope="module")
def started(
    launch: Launch, environment: dict[str, str], mount: Mount, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Started]:
    """Starts all runs; a test waits for the one that it needs."""
    damaged, healthy, full = (tmp_path_factory.mktemp(name) for name in ("damaged", "healthy", "full"))
    with ThreadPoolExecutor() as pool:
        yield Started(
            repaired=pool.submit(damage_and_repair, launch, environment, damaged, healthy),
            filled=pool.submit(fill, launch, environment, mount, full),
        )


def folder_of(record: Record) -> Path:
    return Path(record.folder)


# --- damaged files, and a clock that was set back ------------------------------------------------------

DAMAGE = ("half", "empty", "noise", "whole")
"""What is done to a checkpoint, by seed."""


def damage(path: Path, how: str) -> None:
    body = path.read_bytes()
    path.write_bytes({"half": body[: len(body) // 2], "empty": b"", "noise": os.urandom(999), "whole": body}[how])


def dead_owner() -> locks.Owner:
    """A process of this machine that has ended."""
    with subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE) as process:
        started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        pid = process.pid
    here = locks.current_process()
    return locks.Owner(host=here.host, pid=pid, started=started, boot=here.boot)


def write_abandoned_lock(folder: Path, since: float) -> None:
    owner = dead_owner()
    body = {
        "owner": vars(owner),
        "token": "abandoned",
        "heartbeat": 3,
        "title": folder.name,
        "device": "cpu",
        "since": since,
    }
    (folder / locks.LOCK).write_text(json.dumps(body))


@dataclass(frozen=True)
class Repaired:
    """A folder with every kind of damage, dated tomorrow, and the same command again."""

    folder: Path
    before: dict[str, Any]
    again: Ended
    healthy: Path
    table: str


def damage_and_repair(launch: Launch, environment: dict[str, str], folder: Path, healthy: Path) -> Repaired:
    """Damages checkpoints of four seeds and records of four others, all but one each; dates everything tomorrow."""
    words = command("mean_color,fault_heals", "--seeds", "4", "--checkpoint-minutes", "0", "--per-device", "2")
    gate = folder / "gate"
    more = {"THIRD_PARTY_GATE": str(gate), "THIRD_PARTY_ACTIVITY": str(folder / "activity")}
    gate.touch()
    first = ended(launch(words, folder, **environment, **more), folder)
    assert first.code == 3, first.tail()
    cells = by_label(folder)
    for seed, how in enumerate(DAMAGE):
        checkpoint = folder_of(cells[f"fault_heals/{seed}"]) / "checkpoint.pt"
        assert checkpoint.exists(), first.tail()
        damage(checkpoint, how)
        damage(folder_of(cells[f"mean_color/{seed}"]) / "record.json", how)
    write_abandoned_lock(folder_of(cells["fault_heals/3"]), since=time.time() + 86400)
    write_abandoned_lock(folder_of(cells["mean_color/0"]), since=time.time() + 86400)
    for path in sorted((folder / "runs").rglob("*")):
        os.utime(path, (time.time() + 86400,) * 2)
    whole = _files(folder_of(cells["mean_color/3"]))
    steps = counted(folder / "activity", "step")["fault_heals"]
    gate.unlink()
    again = ended(launch(words, folder, **environment, **more), folder)
    other = ended(launch(words, healthy, **environment), healthy)
    assert other.code == 0, other.tail()
    return Repaired(folder, {"whole": whole, "steps": steps}, again, healthy, other.out)


@pytest.fixture(scope="module")
def repaired(started: Started) -> Repaired:
    return started.repaired.result()


def _files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_same_command_repairs_all_damage(repaired: Repaired) -> None:
    assert repaired.again.code == 0, repaired.again.tail()
    assert {record.state for record in by_label(repaired.folder).values()} == {"done"}
    assert len(by_label(repaired.folder)) == 8


def test_repaired_results_equal_those_without_damage(repaired: Repaired) -> None:
    assert rows(repaired.folder) == rows(repaired.healthy)
    models = bodies(repaired.healthy, "model.safetensors", "curve.csv")
    assert len(models) == 16
    assert bodies(repaired.folder, "model.safetensors", "curve.csv") == models
    assert repaired.again.out == repaired.table


@pytest.mark.parametrize("seed", range(4))
def test_damaged_checkpoint_is_noted_and_training_restarts(repaired: Repaired, seed: int) -> None:
    title = f"fault_heals / tiny / stripes / seed {seed}"
    lines = [line for line in repaired.again.err.splitlines() if title in line and "training starts again" in line]
    assert len(lines) == (DAMAGE[seed] != "whole")


def test_undamaged_checkpoint_is_resumed(repaired: Repaired) -> None:
    steps = counted(repaired.folder / "activity", "step")["fault_heals"] - repaired.before["steps"]
    assert 3 * 6 < steps < 4 * 6


@pytest.mark.parametrize("seed", range(4))
def test_damaged_record_is_renamed_and_its_cell_runs_again(repaired: Repaired, seed: int) -> None:
    folder = folder_of(by_label(repaired.folder)[f"mean_color/{seed}"])
    aside = folder / "record.json.unreadable-1"
    assert aside.exists() == (DAMAGE[seed] != "whole")


def test_finished_cell_with_files_dated_tomorrow_is_kept(repaired: Repaired) -> None:
    folder = folder_of(by_label(repaired.folder)["mean_color/3"])
    assert _files(folder) == repaired.before["whole"]


def test_lock_of_a_dead_process_dated_tomorrow_is_taken_over(repaired: Repaired) -> None:
    assert not list((repaired.folder / "runs").glob(f"*/{locks.LOCK}"))


# --- disks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filled:
    """A disk that became full during a run: its files before, and three runs."""

    folder: Path
    before: dict[str, Any]
    scores: str
    runs: list[Ended]
    after: dict[str, Any]


def fill(launch: Launch, environment: dict[str, str], mount: Mount, folder: Path) -> Filled:
    """Two cells finish, then the disk becomes full, then it has space again."""
    mount(folder / "runs", "size=4m")
    more = {"THIRD_PARTY_DISK": str(folder / "runs")}
    first = ended(launch(command("mean_color", "--seeds", "2"), folder, **environment), folder)
    assert first.code == 0, first.tail()
    before, scores = kept(folder), (folder / "runs" / "scores.csv").read_text()
    words = command("mean_color,fault_fills", "--seeds", "2", "--per-device", "1")
    runs = [ended(launch(words, folder, **environment, **more), folder) for _ in range(2)]
    after = {
        "kept": kept(folder),
        "scores": (folder / "runs" / "scores.csv").read_text(),
        "temporary": [path.name for path in (folder / "runs").glob("*/.*-*")],
        "states": {label: record.state for label, record in by_label(folder).items()},
    }
    for path in (folder / "runs").glob("fill-*"):
        path.unlink()
    words = command("mean_color,fault_waits", "--seeds", "2")
    runs.append(ended(launch(words, folder, **environment), folder))
    return Filled(folder, before, scores, runs, after)


@pytest.fixture(scope="module")
def filled(started: Started) -> Filled:
    return started.filled.result()


def test_full_disk_fails_the_cell_with_a_message(filled: Filled) -> None:
    run = filled.runs[0]
    assert run.code == 3, run.tail()
    assert "No space left on device" in run.err
    assert "Traceback" not in run.err


def test_disk_that_is_full_from_the_start_is_reported_with_a_message(filled: Filled) -> None:
    run = filled.runs[1]
    assert run.code in (2, 3), run.tail()
    assert "No space left on device" in run.err
    assert "Traceback" not in run.err


def test_full_disk_keeps_earlier_records(filled: Filled) -> None:
    assert len(filled.before) == 6
    assert filled.after["kept"] == filled.before
    assert filled.after["scores"] == filled.scores
    assert {label for label, state in filled.after["states"].items() if state == "done"} == {
        "mean_color/0",
        "mean_color/1",
    }


def test_full_disk_leaves_no_partial_file(filled: Filled) -> None:
    assert filled.after["temporary"] == []


def test_cells_run_once_the_disk_has_space_again(filled: Filled) -> None:
    assert filled.runs[2].code == 0, filled.runs[2].tail()
    assert kept(filled.folder).items() >= filled.before.items()
    assert by_label(filled.folder)["fault_waits/1"].state == "done"


def test_read_only_folder_is_rejected_with_a_message_and_not_changed(
    third_party: Path, bench: Bench, mount: Mount, tmp_path: Path
) -> None:
    mount(tmp_path / "runs", "size=4m")
    assert bench(*command("mean_color", "--executor", "inline")).exit_code == 0
    mount(tmp_path / "runs", "remount,ro")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    again = bench(*command("mean_color,byol"))
    assert again.exit_code == 2
    assert "cannot write to --out" in again.stderr
    assert "Read-only file system" in again.stderr
    assert "--out" in again.stderr
    assert "Traceback" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == before
