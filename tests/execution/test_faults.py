"""The fault table: each way in which a cell, a disk or a record goes wrong costs what it must and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import THIRD_PARTY, Bench, Launch
from launched import Ended, bodies, by_label, command, counted, ended, kept, notes, rows

from benchmark.records import locks
from benchmark.records.record import Record

BROKEN = f"{THIRD_PARTY},third_party_absent,third_party_exit"
"""Two more plugins that cannot even be imported."""


@pytest.fixture(scope="module")
def environment(site: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(site), "BENCH_PLUGINS": THIRD_PARTY}


Mount = Callable[[Path, str], None]


@pytest.fixture(scope="module")
def mount() -> Iterator[Mount]:
    """Mounts a small disk of its own at a folder; with `remount,ro`, makes it read-only."""
    mounted: list[Path] = []

    def carry_out(folder: Path, options: str) -> None:
        if os.geteuid():
            pytest.skip("only root may mount a disk that gets full or is read-only")
        again = folder in mounted
        folder.mkdir(exist_ok=True)
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if made.returncode:
            pytest.skip(f"no disk can be mounted here ({made.stderr.strip()})")
        if not again:
            mounted.append(folder)

    yield carry_out
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@dataclass(frozen=True)
class Begun:
    """What takes seconds for starting alone, all of it at once."""

    table: Future[Ended]
    mended: Future[Mended]
    filled: Future[Filled]


@pytest.fixture(scope="module")
def begun(
    launch: Launch, environment: dict[str, str], mount: Mount, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Begun]:
    """Runs of every fault; a test waits for the one that it needs."""
    names = ("faults", "damaged", "healthy", "full")
    faults, damaged, healthy, full = (tmp_path_factory.mktemp(name) for name in names)
    with ThreadPoolExecutor() as pool:
        yield Begun(
            table=pool.submit(all_faults, launch, environment, faults),
            mended=pool.submit(damage_and_mend, launch, environment, damaged, healthy),
            filled=pool.submit(fill, launch, environment, mount, full),
        )


# --- everything at once -----------------------------------------------------------------------------------------------

FAULTY = (
    *("mean_color", "steady", "fault_build", "fault_loss", "fault_nan", "fault_gives_up", "fault_exits"),
    *("fault_killed", "fault_segfault", "fault_hangs", "fault_scoring[how=raises|exits|dies]"),
    *("fault_memory[kind=torch|python|allocator]", "fault_memory[times=1]"),
)
HEALTHY = {"mean_color/0", "steady/0", "fault_memory[times=1]/0"}
"""The last one runs out of memory once: alone on the device, it fits."""
SILENCE = "6"
"""Seconds; a healthy cell says something many times a second."""


def all_faults(launch: Launch, environment: dict[str, str], folder: Path) -> Ended:
    """One run of every faulty cell beside healthy ones, two at a time, with broken plugins installed."""
    words = command(",".join(FAULTY), "--per-device", "2", "--timeout", SILENCE, evaluators="centroid,fragile")
    more = {
        "BENCH_PLUGINS": BROKEN,
        "THIRD_PARTY_ACTIVITY": str(folder / "activity"),
        "THIRD_PARTY_STEP_SECONDS": "0.05",
    }
    return ended(launch(words, folder, **{**environment, **more}), folder)


@pytest.fixture(scope="module")
def table(begun: Begun) -> Ended:
    return begun.table.result()


@pytest.fixture(scope="module")
def found(table: Ended) -> dict[str, Record]:
    return by_label(table.folder)


def reason(record: Record) -> str:
    return str((record.failure or {}).get("reason", ""))


def folder_of(record: Record) -> Path:
    return Path(record.folder)


def test_some_cells_failed_and_the_rest_is_kept(table: Ended, found: dict[str, Record]) -> None:
    assert table.code == 3, table.tail()
    assert {label for label, record in found.items() if record.state == "done"} == HEALTHY
    assert {record.state for label, record in found.items() if label not in HEALTHY} == {"failed"}
    assert len(found) == 17


def test_healthy_cells_beside_faulty_ones_have_their_scores_and_weights(table: Ended, found: dict[str, Record]) -> None:
    for label in HEALTHY:
        assert len(found[label].scores) == 4  # two evaluators at two taps
        assert (folder_of(found[label]) / "model.safetensors").stat().st_size > 0
    assert {row["method"] for row in rows(table.folder)} == {"mean_color", "steady", "fault_memory[times=1]"}


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("fault_build", "RuntimeError: the third-party build failed"),
        ("fault_loss", "RuntimeError: the third-party loss failed"),
        ("fault_nan", "the loss was not finite in step 3"),
        ("fault_gives_up", "the third-party method gives up"),
        ("fault_exits", "exit status 7"),
        ("fault_killed", "SIGKILL"),
        ("fault_segfault", "SIGSEGV"),
        ("fault_segfault", "the third-party method reads an invalid address"),
        ("fault_hangs", f"no step and began no stage for {SILENCE} s (--timeout)"),
        ("fault_hangs", "the third-party method sleeps"),
        ("fault_scoring", "ZeroDivisionError: the evaluator fails"),
        ("fault_scoring[how=exits]", "the evaluator exits"),
        ("fault_scoring[how=dies]", "exit status 9"),
        ("fault_scoring[how=dies]", "the evaluator ends its process"),
        ("fault_memory", "memory"),
        ("fault_memory[kind=python]", "MemoryError"),
        ("fault_memory[kind=allocator]", "memory"),
    ],
)
def test_the_reason_says_what_happened(table: Ended, found: dict[str, Record], label: str, words: str) -> None:
    assert words in reason(found[f"{label}/0"]), reason(found[f"{label}/0"])
    assert "Traceback" not in reason(found[f"{label}/0"])


def test_every_failed_cell_is_told_with_its_reason_at_the_end(table: Ended, found: dict[str, Record]) -> None:
    lines = [line for line in table.err.splitlines() if line.startswith("failed: ")]
    assert len(lines) == len(found) - len(HEALTHY)
    for record in found.values():
        if record.state == "failed":
            assert any(folder_of(record).name in line for line in lines)


def test_what_a_dead_process_printed_is_in_its_folder(found: dict[str, Record]) -> None:
    output = (folder_of(found["fault_segfault/0"]) / "output.txt").read_text(errors="replace")
    assert "the third-party method reads an invalid address" in output
    output = (folder_of(found["fault_hangs/0"]) / "output.txt").read_text(errors="replace")
    assert "the third-party method sleeps" in output


def test_what_cells_print_does_not_stand_among_the_tables(table: Ended) -> None:
    assert "the third-party method" not in table.out.partition("fault_")[0]


def test_where_scoring_goes_wrong_the_training_is_kept(found: dict[str, Record]) -> None:
    for how in ("", "[how=exits]", "[how=dies]"):
        record = found[f"fault_scoring{how}/0"]
        assert record.trained
        assert (folder_of(record) / "model.safetensors").stat().st_size > 0


def test_an_evaluator_that_raises_or_leaves_costs_no_other_evaluator(found: dict[str, Record]) -> None:
    for how in ("", "[how=exits]"):
        assert {score.evaluator for score in found[f"fault_scoring{how}/0"].scores} == {"centroid"}


def test_a_plugin_that_raises_at_import_costs_no_other(table: Ended) -> None:
    assert table.code == 3  # some cells, not usage
    assert "Traceback" not in table.err.partition("started on")[0]


def test_nothing_of_a_run_is_left_claimed(table: Ended) -> None:
    assert not list((table.folder / "runs").glob(f"*/{locks.LOCK}"))


# --- out of memory ----------------------------------------------------------------------------------------------------

KINDS = {
    "torch": "fault_memory/0",
    "python": "fault_memory[kind=python]/0",
    "allocator": "fault_memory[kind=allocator]/0",
}


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_memory_is_tried_once_more_and_never_trained_with_a_smaller_batch(
    table: Ended, found: dict[str, Record], kind: str
) -> None:
    processes = [pid for word, cell, pid in notes(table.folder / "activity") if cell == f"{kind}/16"]
    tries = len(processes) - (kind == "torch") * 4  # the one that fits at its second try: once in vain, then 6 steps
    assert len(set(processes)) >= 2
    assert tries in (2, 5)
    record = found[KINDS[kind]]
    assert not record.trained
    assert not record.scores
    assert not (folder_of(record) / "model.safetensors").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_memory_names_the_batch_that_would_fit(found: dict[str, Record], kind: str) -> None:
    said = reason(found[KINDS[kind]])
    assert re.search(r"batch\D{0,40}\b8\b", said) or re.search(r"\b8\b\D{0,40}batch", said), said
    assert "16" in said


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_memory_gives_figures(found: dict[str, Record], kind: str) -> None:
    assert re.search(r"\d (bytes|[kKMG]i?B)", reason(found[KINDS[kind]])), reason(found[KINDS[kind]])


def test_the_second_try_after_out_of_memory_is_alone(table: Ended) -> None:
    open_: set[str] = set()
    tries: dict[int, int] = {}
    for word, cell, pid in notes(table.folder / "activity"):
        if word == "start":
            open_.add(cell)
        if word == "end":
            open_.discard(cell)
        if word == "batch":
            tries.setdefault(pid, len(tries))
            assert not (tries[pid] >= 4 and open_), "four cells run out of memory once, then each is tried alone"


def test_a_cell_that_ran_out_of_memory_beside_others_is_done_alone(found: dict[str, Record]) -> None:
    assert found["fault_memory[times=1]/0"].state == "done"


# --- damaged records and checkpoints, and a clock that was set back ------------------------------------------------------

HURT = ("half", "empty", "noise", "whole")
"""What became of a checkpoint, by seed."""


def cut(path: Path, how: str) -> None:
    body = path.read_bytes()
    path.write_bytes({"half": body[: len(body) // 2], "empty": b"", "noise": os.urandom(999), "whole": body}[how])


def dead_owner() -> locks.Owner:
    """A process that was here and has ended."""
    with subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE) as process:
        started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        pid = process.pid
    here = locks.current_process()
    return locks.Owner(host=here.host, pid=pid, started=started, boot=here.boot)


def left_claim(folder: Path, since: float) -> None:
    owner = dead_owner()
    body = {
        "owner": vars(owner),
        "token": "left",
        "heartbeat": 3,
        "title": folder.name,
        "device": "cpu",
        "since": since,
    }
    (folder / locks.LOCK).write_text(json.dumps(body))


@dataclass(frozen=True)
class Mended:
    """A folder with every kind of damage, dated tomorrow, and what the same command made of it."""

    folder: Path
    before: dict[str, Any]
    again: Ended
    healthy: Path
    table: str


def damage_and_mend(launch: Launch, environment: dict[str, str], folder: Path, healthy: Path) -> Mended:
    """Checkpoints of four seeds and records of four others are damaged, all but one each; everything dated tomorrow."""
    words = command("mean_color,fault_heals", "--seeds", "4", "--checkpoint-minutes", "0", "--per-device", "2")
    gate = folder / "gate"
    more = {"THIRD_PARTY_GATE": str(gate), "THIRD_PARTY_ACTIVITY": str(folder / "activity")}
    gate.touch()
    first = ended(launch(words, folder, **environment, **more), folder)
    assert first.code == 3, first.tail()
    cells = by_label(folder)
    for seed, how in enumerate(HURT):
        checkpoint = folder_of(cells[f"fault_heals/{seed}"]) / "checkpoint.pt"
        assert checkpoint.exists(), first.tail()
        cut(checkpoint, how)
        cut(folder_of(cells[f"mean_color/{seed}"]) / "record.json", how)
    left_claim(folder_of(cells["fault_heals/3"]), since=time.time() + 86400)
    left_claim(folder_of(cells["mean_color/0"]), since=time.time() + 86400)
    for path in sorted((folder / "runs").rglob("*")):
        os.utime(path, (time.time() + 86400,) * 2)
    whole = _files(folder_of(cells["mean_color/3"]))
    steps = counted(folder / "activity", "step")["fault_heals"]
    gate.unlink()
    again = ended(launch(words, folder, **environment, **more), folder)
    other = ended(launch(words, healthy, **environment), healthy)
    assert other.code == 0, other.tail()
    return Mended(folder, {"whole": whole, "steps": steps}, again, healthy, other.out)


@pytest.fixture(scope="module")
def mended(begun: Begun) -> Mended:
    return begun.mended.result()


def _files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_damage_is_mended_by_the_same_command(mended: Mended) -> None:
    assert mended.again.code == 0, mended.again.tail()
    assert {record.state for record in by_label(mended.folder).values()} == {"done"}
    assert len(by_label(mended.folder)) == 8


def test_after_damage_everything_is_as_if_there_had_been_none(mended: Mended) -> None:
    assert rows(mended.folder) == rows(mended.healthy)
    models = bodies(mended.healthy, "model.safetensors", "curve.csv")
    assert len(models) == 16
    assert bodies(mended.folder, "model.safetensors", "curve.csv") == models
    assert mended.again.out == mended.table


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_checkpoint_is_noted_and_training_starts_again(mended: Mended, seed: int) -> None:
    title = f"fault_heals / tiny / stripes / seed {seed}"
    lines = [line for line in mended.again.err.splitlines() if title in line and "training starts again" in line]
    assert len(lines) == (HURT[seed] != "whole")


def test_a_whole_checkpoint_is_gone_on_from(mended: Mended) -> None:
    steps = counted(mended.folder / "activity", "step")["fault_heals"] - mended.before["steps"]
    assert 3 * 6 < steps < 4 * 6


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_record_is_kept_aside_and_its_cell_done_again(mended: Mended, seed: int) -> None:
    folder = folder_of(by_label(mended.folder)[f"mean_color/{seed}"])
    aside = folder / "record.json.unreadable-1"
    assert aside.exists() == (HURT[seed] != "whole")


def test_a_finished_cell_is_kept_though_its_files_come_from_tomorrow(mended: Mended) -> None:
    folder = folder_of(by_label(mended.folder)["mean_color/3"])
    assert _files(folder) == mended.before["whole"]


def test_a_dead_process_s_claim_from_tomorrow_is_taken_over(mended: Mended) -> None:
    assert not list((mended.folder / "runs").glob(f"*/{locks.LOCK}"))


# --- disks ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filled:
    """A disk that got full in a run: what was there before, and what the run, a second one and a third one made of it."""

    folder: Path
    before: dict[str, Any]
    scores: str
    runs: list[Ended]
    after: dict[str, Any]


def fill(launch: Launch, environment: dict[str, str], mount: Mount, folder: Path) -> Filled:
    """Two cells are done, then the disk gets full under others, then there is room again."""
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
def filled(begun: Begun) -> Filled:
    return begun.filled.result()


def test_a_full_disk_fails_the_cell_with_a_sentence(filled: Filled) -> None:
    run = filled.runs[0]
    assert run.code == 3, run.tail()
    assert "No space left on device" in run.err
    assert "Traceback" not in run.err


def test_a_disk_that_is_full_from_the_start_is_told_in_a_sentence(filled: Filled) -> None:
    run = filled.runs[1]
    assert run.code in (2, 3), run.tail()
    assert "No space left on device" in run.err
    assert "Traceback" not in run.err


def test_a_full_disk_leaves_earlier_records_whole(filled: Filled) -> None:
    assert len(filled.before) == 6
    assert filled.after["kept"] == filled.before
    assert filled.after["scores"] == filled.scores
    assert {label for label, state in filled.after["states"].items() if state == "done"} == {
        "mean_color/0",
        "mean_color/1",
    }


def test_a_full_disk_leaves_no_half_a_file(filled: Filled) -> None:
    assert filled.after["temporary"] == []


def test_once_there_is_room_again_cells_are_done(filled: Filled) -> None:
    assert filled.runs[2].code == 0, filled.runs[2].tail()
    assert kept(filled.folder).items() >= filled.before.items()
    assert by_label(filled.folder)["fault_waits/1"].state == "done"


def test_a_read_only_folder_is_refused_with_a_sentence_and_stays_as_it_is(
    third_party: Path, bench: Bench, mount: Mount, tmp_path: Path
) -> None:
    mount(tmp_path / "runs", "size=4m")
    assert bench(*command("mean_color", "--executor", "inline")).exit_code == 0
    mount(tmp_path / "runs", "remount,ro")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    again = bench(*command("mean_color,byol"))
    assert again.exit_code == 2
    assert "cannot be written" in again.stderr
    assert "Read-only file system" in again.stderr
    assert "--out" in again.stderr
    assert "Traceback" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == before
