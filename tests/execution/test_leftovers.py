"""What a plugin leaves behind in a cell's process: threads, processes, a changed working directory, removed folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launched import TIMEOUT, Ended, by_label, command, is_alive, notes

from benchmark.records import locks
from benchmark.records.record import Record

METHODS = "fault_thread,fault_processes,fault_orphans,fault_moves,fault_removes,fault_files,fault_text,mean_color"
MODULES = ("random", "json", "select", "types", "torch", "benchmark", "bench_executors")


@pytest.fixture(scope="module")
def table(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """One run with a relative --out, beside files that are named like modules."""
    folder = tmp_path_factory.mktemp("leftovers")
    for name in MODULES:
        (folder / f"{name}.py").write_text("raise RuntimeError('a file of the working directory was imported')\n")
    script = tmp_path_factory.mktemp("bin") / "bench"
    script.write_text("from benchmark.cli.main import main\n\nmain()\n")
    words = command(METHODS, "--per-device", "2", "--executor", "local[grace=0.5]")
    more = {"OMP_NUM_THREADS": "1", "THIRD_PARTY_ACTIVITY": str(folder / "activity")}
    result = subprocess.run(
        [sys.executable, str(script), *words],
        cwd=folder,
        env={**os.environ, **environment, **more},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    return Ended(folder=folder, code=result.returncode, out=result.stdout, err=result.stderr)


@pytest.fixture(scope="module")
def records(table: Ended) -> dict[str, Record]:
    return {label.partition("/")[0]: record for label, record in by_label(table.folder).items()}


def reason(record: Record) -> str:
    return str((record.failure or {}).get("reason", ""))


def test_every_cell_ends_beside_files_that_are_named_like_modules(table: Ended, records: dict[str, Record]) -> None:
    assert table.code == 3, table.tail()
    done = {method for method, record in records.items() if record.state == "done"}
    assert done == {"fault_thread", "fault_processes", "fault_moves", "mean_color"}, table.tail()
    assert not list((table.folder / "runs").glob(f"*/{locks.LOCK}"))


def test_process_that_a_thread_keeps_alive_is_killed_and_the_cell_is_done(table: Ended) -> None:
    assert "fault_thread / tiny / stripes / seed 0: its process did not end with it" in table.err


@pytest.mark.parametrize("method", ["fault_processes", "fault_orphans"])
def test_processes_that_a_plugin_started_end_with_its_cell(table: Ended, method: str) -> None:
    assert f"{method} / tiny / stripes / seed 0: ended 2 processes" in table.err
    started = [int(word) for word, kind, _ in notes(table.folder / "activity") if kind in ("child", "daemon")]
    assert len(started) == 4
    assert not any(is_alive(pid) for pid in started)


def test_changed_working_directory_does_not_move_the_output_folder(records: dict[str, Record]) -> None:
    assert len(records["fault_moves"].scores) == 2


def test_removed_folder_fails_the_cell_with_the_reason(records: dict[str, Record]) -> None:
    assert "does not exist any more: it was removed or renamed" in reason(records["fault_removes"])


def test_lock_that_cannot_be_read_is_not_another_runs(table: Ended, records: dict[str, Record]) -> None:
    assert "Too many open files" in reason(records["fault_files"])
    assert "another run" not in table.err


def test_text_of_an_error_is_cut(table: Ended, records: dict[str, Record]) -> None:
    text = reason(records["fault_text"])
    assert text.startswith("RuntimeError: the third-party text")
    assert text.endswith("and ends")
    assert len(text) < 3000
    for path in Path(records["fault_text"].folder).iterdir():
        assert path.stat().st_size < 100_000, path
    assert max(map(len, table.err.splitlines())) < 3000
