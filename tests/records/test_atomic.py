"""Atomic replacement of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sample_records import sample_record

from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.record import RECORD
from benchmark.records.record_files import read_record, write_record


def test_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replaced(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_failed_writer_leaves_only_the_old_file(error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write() -> None:
        with replaced(path) as file:
            file.write(b"half of it")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_full_disk_is_a_record_error_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path, sample_record(seed=1))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"record\.json cannot be written: No space left on device"):
        write_record(tmp_path, sample_record(seed=2))
    assert read_record(tmp_path).cell["seed"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [RECORD]


def test_data_are_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    real = os.fsync

    def watched(handle: int) -> None:
        seen.append((tmp_path / "file").exists())
        real(handle)

    monkeypatch.setattr(os, "fsync", watched)
    with replaced(tmp_path / "file") as file:
        file.write(b"new")
    assert seen == [False]


def test_folder_that_cannot_be_created_is_a_record_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(RecordError, match="Choose another --out"):
        write_record(tmp_path / "file" / "cell", sample_record())


def test_target_that_is_a_folder_is_a_record_error(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(RecordError, match="cannot be written"), replaced(tmp_path / "taken") as file:
        file.write(b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]
