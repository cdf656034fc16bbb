"""Packing and unpacking of cell folders."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from benchmark.errors import RecordError
from benchmark.records.archive import NAMES, pack, unpack
from benchmark.records.record import CHECKPOINT, CURVE, MODEL, RECORD


def filled(folder: Path, **files: bytes) -> Path:
    """A folder with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in files.items():
        (folder / NAME[name]).write_bytes(body)
    return folder


NAME = {"record": RECORD, "model": MODEL, "checkpoint": CHECKPOINT, "curve": CURVE}


def contents(folder: Path) -> dict[str, bytes]:
    """File name -> contents."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_unpack_restores_the_packed_files(tmp_path: Path) -> None:
    source = filled(tmp_path / "there", record=b"{}", model=bytes(range(256)) * 100, curve=b"")
    unpack(pack(source), tmp_path / "here")
    assert contents(tmp_path / "here") == contents(source)


def test_pack_takes_only_files_of_a_cell(tmp_path: Path) -> None:
    source = filled(tmp_path / "there", record=b"{}")
    (source / "lock.json").write_text("mine")
    (source / "notes.txt").write_text("a person's")
    unpack(pack(source), tmp_path / "here")
    assert contents(tmp_path / "here") == {RECORD: b"{}"}


def test_unpack_deletes_cell_files_that_are_not_in_the_archive(tmp_path: Path) -> None:
    here = filled(tmp_path / "here", checkpoint=b"old", record=b"old")
    (here / "lock.json").write_text("mine")
    unpack(pack(filled(tmp_path / "there", record=b"new")), here)
    assert contents(here) == {RECORD: b"new", "lock.json": b"mine"}


def test_pack_of_a_missing_folder_is_empty(tmp_path: Path) -> None:
    unpack(pack(tmp_path / "nowhere"), tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_record_is_unpacked_last() -> None:
    assert NAMES[-1] == RECORD


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_damaged_archive_is_refused_and_changes_nothing(tmp_path: Path, damage: str) -> None:
    packed = pack(filled(tmp_path / "there", record=b'{"new": 1}' * 50, model=b"weights" * 500))
    flipped = bytearray(packed)
    flipped[200] ^= 1
    damaged = {"cut": packed[:-30], "flipped": bytes(flipped), "empty": b"", "other": b"no archive" * 9}[damage]
    here = filled(tmp_path / "aet-tiny", record=b"old", checkpoint=b"old")
    with pytest.raises(RecordError, match=r"the archive of aet-tiny is damaged .*run the cell again"):
        unpack(damaged, here)
    assert contents(here) == {RECORD: b"old", CHECKPOINT: b"old"}


def test_archive_cannot_write_outside_the_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../outside.txt", "x")
        archive.writestr(RECORD, "{}")
    unpack(buffer.getvalue(), tmp_path / "here")
    assert contents(tmp_path / "here") == {RECORD: b"{}"}
    assert not (tmp_path / "outside.txt").exists()
