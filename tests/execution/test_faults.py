"""Every way in which a cell can fail, in one run: the effect on other cells, and the report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import THIRD_PARTY, Launch
from launched import Ended, by_label, command, ended, notes, rows

from benchmark.records import locks
from benchmark.records.record import Record

BROKEN = f"{THIRD_PARTY},third_party_absent,third_party_exit"
"""With two plugins that cannot be imported."""


# --- everything at once -----------------------------------------------------------------------------------------------

FAULTY = (
    *("mean_color", "steady", "fault_build", "fault_loss", "fault_nan", "fault_gives_up", "fault_exits"),
    *("fault_killed", "fault_segfault", "fault_hangs", "fault_scoring[how=raises|exits|dies]"),
    *("fault_memory[kind=torch|python|allocator]", "fault_memory[times=1]"),
)
HEALTHY = {"mean_color/0", "steady/0", "fault_memory[times=1]/0"}
"""The last one runs out of memory once. With the device to itself, it fits."""
SILENCE = "6"
"""Seconds. A healthy cell sends an event many times a second."""


def all_faults(launch: Launch, environment: dict[str, str], folder: Path) -> Ended:
    """One run of all faulty cells and the healthy ones, two at a time, with broken plugins installed."""
    words = command(",".join(FAULTY), "--per-device", "2", "--timeout", SILENCE, evaluators="centroid,fragile")
    more = {
        "BENCH_PLUGINS": BROKEN,
        "THIRD_PARTY_ACTIVITY": str(folder / "activity"),
        "THIRD_PARTY_STEP_SECONDS": "0.05",
    }
    return ended(launch(words, folder, **{**environment, **more}), folder)


@pytest.fixture(scope="module")
def table(launch: Launch, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return all_faults(launch, environment, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def records(table: Ended) -> dict[str, Record]:
    return by_label(table.folder)


def reason(record: Record) -> str:
    return str((record.failure or {}).get("reason", ""))


def folder_of(record: Record) -> Path:
    return Path(record.folder)


def test_run_exits_with_3_and_keeps_the_healthy_cells(table: Ended, records: dict[str, Record]) -> None:
    assert table.code == 3, table.tail()
    assert {label for label, record in records.items() if record.state == "done"} == HEALTHY
    assert {record.state for label, record in records.items() if label not in HEALTHY} == {"failed"}
    assert len(records) == 17


def test_healthy_cells_have_their_scores_and_weights(table: Ended, records: dict[str, Record]) -> None:
    for label in HEALTHY:
        assert len(records[label].scores) == 4  # two evaluators at two taps
        assert (folder_of(records[label]) / "model.safetensors").stat().st_size > 0
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
        ("fault_hangs", f"no step and no new stage for {SILENCE} s (--timeout)"),
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
def test_reason_names_the_fault(table: Ended, records: dict[str, Record], label: str, words: str) -> None:
    assert words in reason(records[f"{label}/0"]), reason(records[f"{label}/0"])
    assert "Traceback" not in reason(records[f"{label}/0"])


def test_summary_lists_every_failed_cell(table: Ended, records: dict[str, Record]) -> None:
    lines = [line for line in table.err.splitlines() if line.startswith("failed: ")]
    assert len(lines) == len(records) - len(HEALTHY)
    for record in records.values():
        if record.state == "failed":
            assert any(folder_of(record).name in line for line in lines)


def test_output_of_a_dead_process_is_in_its_folder(records: dict[str, Record]) -> None:
    output = (folder_of(records["fault_segfault/0"]) / "output.txt").read_text(errors="replace")
    assert "the third-party method reads an invalid address" in output
    output = (folder_of(records["fault_hangs/0"]) / "output.txt").read_text(errors="replace")
    assert "the third-party method sleeps" in output


def test_output_of_cells_is_not_between_the_tables(table: Ended) -> None:
    assert "the third-party method" not in table.out.partition("fault_")[0]


def test_failed_scoring_keeps_the_training(records: dict[str, Record]) -> None:
    for how in ("", "[how=exits]", "[how=dies]"):
        record = records[f"fault_scoring{how}/0"]
        assert record.trained
        assert (folder_of(record) / "model.safetensors").stat().st_size > 0


def test_failed_evaluator_keeps_the_scores_of_others(records: dict[str, Record]) -> None:
    for how in ("", "[how=exits]"):
        assert {score.evaluator for score in records[f"fault_scoring{how}/0"].scores} == {"centroid"}


def test_plugin_that_fails_to_import_stops_no_other(table: Ended) -> None:
    assert table.code == 3  # failed cells, not a usage error
    assert "Traceback" not in table.err.partition("started on")[0]


def test_no_lock_is_left(table: Ended) -> None:
    assert not list((table.folder / "runs").glob(f"*/{locks.LOCK}"))


# --- out of memory ----------------------------------------------------------------------------------------------------

KINDS = {
    "torch": "fault_memory/0",
    "python": "fault_memory[kind=python]/0",
    "allocator": "fault_memory[kind=allocator]/0",
}


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_memory_is_retried_once_and_never_with_a_smaller_batch(
    table: Ended, records: dict[str, Record], kind: str
) -> None:
    processes = [pid for word, cell, pid in notes(table.folder / "activity") if cell == f"{kind}/16"]
    tries = len(processes) - (kind == "torch") * 4  # the cell that fits at its second try: one failed step, then 6
    assert len(set(processes)) >= 2
    assert tries in (2, 5)
    record = records[KINDS[kind]]
    assert not record.trained
    assert not record.scores
    assert not (folder_of(record) / "model.safetensors").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_memory_names_the_batch_that_would_fit(records: dict[str, Record], kind: str) -> None:
    text = reason(records[KINDS[kind]])
    assert re.search(r"batch\D{0,40}\b8\b", text) or re.search(r"\b8\b\D{0,40}batch", text), text
    assert "16" in text


@pytest.mark.parametrize("kind", KINDS)
def test_out_of_memory_gives_sizes(records: dict[str, Record], kind: str) -> None:
    assert re.search(r"\d (bytes|[kKMG]i?B)", reason(records[KINDS[kind]])), reason(records[KINDS[kind]])


def test_retry_after_out_of_memory_has_the_device_to_itself(table: Ended) -> None:
    open_: set[str] = set()
    tries: dict[int, int] = {}
    for word, cell, pid in notes(table.folder / "activity"):
        if word == "start":
            open_.add(cell)
        if word == "end":
            open_.discard(cell)
        if word == "batch":
            tries.setdefault(pid, len(tries))
            assert not (tries[pid] >= 4 and open_), (
                "four cells run out of memory once, then each is retried with the device to itself"
            )


def test_cell_that_fits_without_others_is_done_by_the_retry(records: dict[str, Record]) -> None:
    assert records["fault_memory[times=1]/0"].state == "done"
