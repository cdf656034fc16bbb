"""The report of `bench status`: tables for people, rows and facts for machines, and what it imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Bench
from sample_run_files import DEAD, queued, write_lock, write_run_file, write_sample

from benchmark.execution.status import read_status
from benchmark.execution.status_report import status_report
from benchmark.records import locks
from benchmark.records.record import RECORD
from benchmark.reports.render import render_report


def text_of(out: Path) -> str:
    return render_report(status_report(read_status(out)), "table")


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A folder with a running, a done and a failed cell, and two waiting ones."""
    out = tmp_path / "runs"
    write_run_file(out, queued("busy", 100), queued("next", 60), queued("third"))
    write_lock(out, "busy", stage="train", done=3, total=10, values={"loss": 0.5, "images/s": 1234.5})
    write_sample(out, "done")
    failure = {"stage": "train", "reason": "the loss was NaN", "traceback": ""}
    write_sample(out, "broken", state="failed", failure=failure)
    return out


def test_status_shows_counts_running_waiting_and_failed_cells(bench: Bench, busy: Path) -> None:
    shown = bench("status")
    assert shown.exit_code == 0, shown.output
    rows = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert {"running 1", "waiting 2", "done 1", "failed 1", "interrupted 0"} <= set(rows)
    (row,) = [line for line in rows if line.startswith("title of busy")]
    for word in ("cpu", "train", "3/10", "loss 0.5000", "images/s 1,234", f":{os.getpid()}", "1.7 min"):
        assert word in row
    assert "title of third unknown" in rows
    assert "broken the loss was NaN" in rows


def test_status_as_json_has_facts_and_one_row_per_unfinished_cell(bench: Bench, busy: Path) -> None:
    body = json.loads(bench("status", "runs", "--format", "json").stdout)
    assert body["cells"] == {"running": 1, "waiting": 2, "done": 1, "failed": 1, "interrupted": 0}
    assert (body["slots"], body["seconds_left"], body["without_estimate"]) == (2, 100, 1)
    assert [run["alive"] for run in body["runs"]] == [True]
    rows = {row["folder"]: row for row in body["rows"]}
    assert {folder: row["state"] for folder, row in rows.items()} == {
        "busy": "running",
        "next": "waiting",
        "third": "waiting",
        "broken": "failed",
    }
    running = rows["busy"]
    assert [running[key] for key in ("device", "stage", "done", "total")] == ["cpu", "train", 3, 10]
    assert running["values"] == {"loss": 0.5, "images/s": 1234.5}
    assert running["process"] == f"{locks.current_process().host}:{os.getpid()}"
    assert [rows[folder]["expected_seconds"] for folder in ("next", "third")] == [60, None]
    assert rows["broken"]["reason"] == "the loss was NaN"


def test_status_marks_abandoned_cells_and_names_dead_runs(tmp_path: Path) -> None:
    write_lock(tmp_path, "cell", owner=DEAD)
    write_run_file(tmp_path, queued("next"), owner=DEAD)
    text = text_of(tmp_path)
    assert "abandoned" in text
    assert f"Run {DEAD.host}:{DEAD.pid} died. Run the same command again to resume." in text
    assert "No run is active." in text


def test_status_gives_the_time_left_and_how_many_cells_have_no_estimate(tmp_path: Path) -> None:
    write_run_file(tmp_path, queued("busy"), queued("next"), slots=1)
    write_lock(tmp_path, "busy")
    assert "Time left: unknown on 1 slot; 2 of 2 cells have no past record." in text_of(tmp_path)
    write_run_file(tmp_path, queued("busy"), queued("next"), queued("third", 30), slots=1)
    assert "Time left: 30 s on 1 slot; 2 of 3 cells have no past record." in text_of(tmp_path)


def test_status_lists_ten_waiting_cells_and_counts_the_others(tmp_path: Path) -> None:
    write_run_file(tmp_path, *(queued(f"cell-{number:02}") for number in range(25)))
    text = text_of(tmp_path)
    assert text.count("title of cell-") == 10
    assert "15 more; --format json lists all." in text


def test_status_reports_a_damaged_record_and_shows_the_rest(bench: Bench, busy: Path) -> None:
    (busy / "done" / RECORD).write_text("{")
    shown = bench("status")
    assert shown.exit_code == 0
    assert "bench: left out:" in shown.stderr
    assert "title of busy" in shown.stdout


def test_status_shows_no_run_for_an_empty_folder_and_refuses_a_missing_one(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shown = bench("status", "empty")
    assert shown.exit_code == 0
    assert "No run is active." in shown.stdout
    assert bench("status", "nowhere").exit_code == 2


@pytest.mark.parametrize("words", [["status", "runs"], ["explain", "busy", "busy"]], ids=" ".join)
def test_status_and_explain_import_no_torch(busy: Path, words: list[str]) -> None:
    write_sample(busy, "busy")
    script = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(sorted({'torch', 'pandas', 'sklearn'} & set(sys.modules)), file=sys.stderr))\n"
        f"from benchmark.cli.main import main\nmain({words!r})\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=busy.parent, check=False)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (0, "[]"), ran.stderr
