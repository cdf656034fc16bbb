"""Atomic replacement of files."""

from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from sample_records import sample_record

from benchmark.errors import RecordError
from benchmark.records.atomic import reason, remove_abandoned_below, remove_temporary, replaced
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


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_permissions_follow_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with replaced(tmp_path / "file") as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_check_that_raises_before_the_rename_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse() -> None:
        raise LookupError

    with pytest.raises(LookupError), replaced(path, check=refuse) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "writer", [lambda file: file.write(b"x" * 10**6), lambda file: torch.save(torch.ones(10**6), file)]
)
def test_file_that_exceeds_a_limit_is_a_record_error_whatever_writes_it(
    writer: Callable[[BinaryIO], object], tmp_path: Path
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with (
            pytest.raises(RecordError, match="the limit of file sizes is reached"),
            replaced(tmp_path / "file") as file,
        ):
            writer(file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


def test_full_device_is_called_a_full_disk(tmp_path: Path) -> None:
    assert reason(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == "No space left on device (the disk is full)"
    assert "the disk is full" in reason(OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)))
    assert reason(OSError(errno.EACCES, "Permission denied")) == "Permission denied"


# --- files of killed processes ----------------------------------------------------------------------------------------

KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from benchmark.records.atomic import reason, remove_abandoned_below, remove_temporary, replaced
with replaced(Path(sys.argv[1]) / "record.json") as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_temporary_file_of_a_killed_process_is_removed_and_that_of_a_living_one_is_kept(tmp_path: Path) -> None:
    cell = tmp_path / "cell"
    cell.mkdir()
    (cell / ".record.json-ab12cd34").write_text("of an earlier version")
    (cell / ".hidden").write_text("of the user")
    subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(cell)], check=False)
    assert len(list(cell.iterdir())) == 3
    with replaced(cell / "model.safetensors") as file:
        file.write(b"whole")
        remove_abandoned_below(tmp_path)
        assert len(list(cell.iterdir())) == 2
    assert sorted(path.name for path in cell.iterdir()) == [".hidden", "model.safetensors"]


def test_writer_whose_temporary_file_was_taken_away_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"of the next owner")
    with pytest.raises(RecordError), replaced(path, check=lambda: remove_temporary(tmp_path)) as file:
        file.write(b"late")
    assert path.read_bytes() == b"of the next owner"


def test_cleaning_leaves_the_files_of_running_writers(tmp_path: Path) -> None:
    def write(number: int) -> None:
        with replaced(tmp_path / str(number)) as file:
            file.write(b"whole")
            remove_abandoned_below(tmp_path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(300)))
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"whole"}
    assert len(list(tmp_path.iterdir())) == 300
