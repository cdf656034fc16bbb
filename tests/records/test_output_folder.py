"""Searching an output folder for the record that a command-line argument names."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from sample_records import sample_record

from benchmark.errors import RecordError
from benchmark.records.output_folder import OutputFolder
from benchmark.records.record import RECORD, Record
from benchmark.records.record_files import write_record


def _put(out: Path, record: Record, name: str = "") -> Path:
    folder = out / (name or f"cell-{record.id[:10]}")
    write_record(folder, record)
    return folder


def test_record_is_found_by_folder_id_prefix_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = sample_record("aet[transform=affine]", seed=3)
    folder = _put(tmp_path, target)
    for seed in range(3):
        _put(tmp_path, sample_record(seed=seed))
    monkeypatch.chdir(tmp_path)
    for argument in (
        str(folder),
        f"{folder.name}/",
        folder.name,
        target.id,
        target.id[:10],
        target.id[:4],
        "aet[transform=affine]/resnet18/digits/3",
    ):
        assert OutputFolder(tmp_path).find(argument).id == target.id, argument


def test_record_outside_of_out_is_found_by_path(tmp_path: Path) -> None:
    folder = _put(tmp_path / "elsewhere", sample_record())
    assert OutputFolder(tmp_path / "runs").find(str(folder)).id == sample_record().id


def test_record_without_seed_is_found_by_a_dash(tmp_path: Path) -> None:
    _put(tmp_path, sample_record("pixels", "-", seed=None))
    assert OutputFolder(tmp_path).find("pixels/-/digits/-").cell["seed"] is None


def test_ambiguous_argument_lists_the_matches(tmp_path: Path) -> None:
    for number in range(3):
        _put(tmp_path, dataclasses.replace(sample_record(), id=f"abcd{number}" + "0" * 59), name=f"cell-{number}")
    with pytest.raises(RecordError, match="'abcd' matches 3 records") as caught:
        OutputFolder(tmp_path).find("abcd")
    assert "Matching: cell-0, cell-1, cell-2" in str(caught.value)
    with pytest.raises(RecordError, match="matches 3 records"):
        OutputFolder(tmp_path).find("aet/resnet18/digits/0")
    assert OutputFolder(tmp_path).find("abcd1").id.startswith("abcd1")


@pytest.mark.parametrize("argument", ["ffff", "aet/resnet18/digits", "aet/resnet18/digits/1", "cell", "", "../x"])
def test_unmatched_argument_lists_the_records(argument: str, tmp_path: Path) -> None:
    _put(tmp_path, sample_record(), name="cell-0")
    with pytest.raises(RecordError, match="no record matches") as caught:
        OutputFolder(tmp_path).find(argument)
    assert "Available: cell-0" in str(caught.value)


def test_empty_folder_matches_nothing(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="Available: none"):
        OutputFolder(tmp_path).find("aet/resnet18/digits/0")


def test_damaged_record_does_not_stop_the_search(tmp_path: Path) -> None:
    _put(tmp_path, sample_record())
    broken = _put(tmp_path, sample_record(seed=1), name="broken")
    body = json.loads((broken / RECORD).read_text())
    (broken / RECORD).write_text(json.dumps({**body, "cell": {}}))
    assert OutputFolder(tmp_path).find("aet/resnet18/digits/0").id == sample_record().id
