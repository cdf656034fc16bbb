"""Cells that a folder or a leaderboard holds twice: each is used once, and the copy is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from sample_records import sample_record

from benchmark.errors import RecordError
from benchmark.records import index
from benchmark.records.export import export
from benchmark.records.leaderboard_records import Leaderboard
from benchmark.records.record_files import read_record, write_record
from benchmark.results import read_results


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two cells that differ in the seed."""
    for seed in (0, 1):
        record = sample_record(seed=seed)
        write_record(tmp_path / "runs" / f"cell-s{seed}-{record.id[:10]}", record)
    return tmp_path / "runs"


def cell(runs: Path, seed: int) -> Path:
    return next(runs.glob(f"cell-s{seed}-*"))


@pytest.mark.parametrize("link", [False, True])
def test_copy_of_a_cell_is_left_out_and_named(link: bool, runs: Path, caplog: pytest.LogCaptureFixture) -> None:
    if link:
        (runs / "alias").symlink_to(cell(runs, 0).name)
    else:
        shutil.copytree(cell(runs, 0), runs / "alias")
    for _ in range(2):  # the second time from the index
        caplog.clear()
        results = read_results(runs)
        assert sorted(record.seed or 0 for record in results.records) == [0, 1]
        assert f"alias holds the cell of {cell(runs, 0)} once more" in results.notes[0]
        assert len(caplog.messages) == 1
        assert caplog.messages[0] == f"left out: {results.notes[0]}"


def test_replaced_record_is_a_problem_and_the_other_cell_counts_once(runs: Path) -> None:
    shutil.copy(cell(runs, 1) / "record.json", cell(runs, 0))
    columns, problems = index.read(runs)
    assert [summary.folder for summary in columns.summaries] == [cell(runs, 1).name]
    assert len(problems) == 1
    assert f"{cell(runs, 0)} holds the record of another cell: aet/" in problems[0]


def test_exchanged_folders_are_used_and_named(runs: Path) -> None:
    first, second = cell(runs, 0), cell(runs, 1)
    first.rename(runs / "x"), second.rename(first), (runs / "x").rename(second)
    results = read_results(runs)
    assert len(results.records) == 2
    assert not results.problems
    assert ["is used" in note for note in results.notes] == [True, True]


def test_renamed_folder_is_used_silently(runs: Path) -> None:
    cell(runs, 0).rename(runs / "renamed")
    results = read_results(runs)
    assert len(results.records) == 2
    assert not results.problems
    assert not results.notes


def test_repeated_line_is_left_out_and_blank_lines_are_ignored(runs: Path, tmp_path: Path) -> None:
    export([read_record(cell(runs, seed)) for seed in (0, 1)], tmp_path / "to")
    path = tmp_path / "to" / "digits.jsonl"
    first = path.read_text().splitlines()[0]
    path.write_text(f"\n{path.read_text()} \n{first}\n\n")
    board = Leaderboard(path, strict=True)
    assert len(board.columns) == 2
    assert not board.problems
    assert len(board.notes) == 1
    assert board.notes[0].startswith(f"line 5: {path} holds the cell of line 2 once more")
    export([read_record(cell(runs, 1))], tmp_path / "to")
    assert len(path.read_text().splitlines()) == 2


def test_repeated_line_with_other_contents_is_refused(runs: Path, tmp_path: Path) -> None:
    export([read_record(cell(runs, seed)) for seed in (0, 1)], tmp_path / "to")
    path = tmp_path / "to" / "digits.jsonl"
    body = json.loads(path.read_text().splitlines()[0])
    body["cost"]["train_seconds"] = 99
    path.write_text(f"{path.read_text()}{json.dumps(body)}\n")
    board = Leaderboard(path)
    assert len(board.columns) == 2
    assert len(board.problems) == 1
    assert board.problems[0].startswith("line 3: ")
    with pytest.raises(RecordError, match=r"line 3: .* with other contents"):
        export([read_record(cell(runs, 1))], tmp_path / "to")
