"""The ways to name a side of a comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Bench
from sample_cells import AET, ROTATION, Compare, commit_all, write_cell

from benchmark.records.export import export
from benchmark.records.record_files import read_records


def test_record_is_named_by_folder_or_id(compare: Compare, two_methods: Path) -> None:
    record = next(r for r in read_records(two_methods)[0] if r.name == f"{AET}/1")
    expected = compare(f"{AET}/1", ROTATION)[0]["difference"]
    for word in (record.folder, Path(record.folder).name, record.id, record.id[:8]):
        assert compare(word, ROTATION)[0]["difference"] == expected


def test_leaderboard_and_its_cells_are_sides(compare: Compare, two_methods: Path, tmp_path: Path) -> None:
    export(read_records(two_methods)[0], tmp_path / "results")
    board = str(tmp_path / "results" / "digits.jsonl")
    direct = compare(AET, ROTATION)
    assert compare(f"{board}#{AET}", f"{board}#{ROTATION}")[1]["low"] == direct[1]["low"]
    assert compare(AET, ROTATION, "--out", board)[1]["low"] == direct[1]["low"]
    whole = compare(board, board)
    assert sorted({row["cell"] for row in whole}) == [AET, ROTATION]
    assert {row["verdict"] for row in whole} == {"no evidence"}


def test_leaderboard_is_read_from_a_git_revision(compare: Compare, two_methods: Path, tmp_path: Path) -> None:
    export(read_records(two_methods)[0], tmp_path / "results")
    commit_all(tmp_path)
    later = tmp_path / "later"
    for seed in range(3):
        write_cell(later, "aet", seed, 0.70 + 0.002 * seed)
    export(read_records(later)[0], tmp_path / "results")
    rows = compare("results/digits.jsonl", "HEAD:results/digits.jsonl")
    assert {(row["cell"], row["question"]): row["verdict"] for row in rows} == {
        (AET, "these checkpoints"): "worse",
        (AET, "methods across seeds"): "worse",
        (ROTATION, "these checkpoints"): "no evidence",
        (ROTATION, "methods across seeds"): "no evidence",
    }
    assert compare(f"results/digits.jsonl#{AET}", f"HEAD:results/digits.jsonl#{AET}")[0]["verdict"] == "worse"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("aet/resnet18/cifar10", ROTATION), ("'aet/resnet18/cifar10': no record matches", "Available:", AET)),
        (("nowhere.jsonl", ROTATION), ("no file 'nowhere.jsonl'", "REV:FILE.jsonl")),
        (("--", "-x:results/digits.jsonl", ROTATION), ("-x:results/digits.jsonl",)),
        ((AET, ROTATION, "--cka"), ("--cka needs the weights of the encoders", "has none")),
    ],
)
def test_missing_side_is_reported(
    bench: Bench, two_methods: Path, words: tuple[str, ...], message: tuple[str, ...]
) -> None:
    result = bench("compare", *words)
    assert result.exit_code == 2, result.output
    for word in message:
        assert word in result.stderr
    assert "Traceback" not in result.stderr


def test_two_settings_with_one_name_are_ambiguous(bench: Bench, two_methods: Path) -> None:
    write_cell(two_methods, "aet", 0, 0.8, recipe={"epochs": 12})
    result = bench("compare", AET, ROTATION)
    assert result.exit_code == 2
    assert "2 settings" in result.stderr
    assert "(12 epochs)" in result.stderr
