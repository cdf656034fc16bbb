"""A cell's folder as bytes: what arrives is what was sent, and what is damaged changes nothing."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from benchmark.errors import RecordError
from benchmark.records.archive import NAMES, pack, unpack
from benchmark.records.record import CHECKPOINT, CURVE, MODEL, RECORD


def filled(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in files.items():
        (folder / NAME[name]).write_bytes(body)
    return folder


NAME = {"record": RECORD, "model": MODEL, "checkpoint": CHECKPOINT, "curve": CURVE}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_arrives_is_what_was_sent(tmp_path: Path) -> None:
    source = filled(tmp_path / "there", record=b"{}", model=bytes(range(256)) * 100, curve=b"")
    unpack(pack(source), tmp_path / "here")
    assert contents(tmp_path / "here") == contents(source)


def test_only_files_of_a_cell_travel(tmp_path: Path) -> None:
    source = filled(tmp_path / "there", record=b"{}")
    (source / "claim.json").write_text("mine")
    (source / "notes.txt").write_text("a person's")
    unpack(pack(source), tmp_path / "here")
    assert contents(tmp_path / "here") == {RECORD: b"{}"}


def test_a_file_that_did_not_come_is_taken_away_and_others_stay(tmp_path: Path) -> None:
    here = filled(tmp_path / "here", checkpoint=b"old", record=b"old")
    (here / "claim.json").write_text("mine")
    unpack(pack(filled(tmp_path / "there", record=b"new")), here)
    assert contents(here) == {RECORD: b"new", "claim.json": b"mine"}


def test_a_folder_that_is_not_there_is_an_empty_parcel(tmp_path: Path) -> None:
    unpack(pack(tmp_path / "nowhere"), tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_the_record_is_unpacked_last() -> None:
    assert NAMES[-1] == RECORD


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_parcel_is_refused_and_changes_nothing(tmp_path: Path, damage: str) -> None:
    parcel = pack(filled(tmp_path / "there", record=b'{"new": 1}' * 50, model=b"weights" * 500))
    flipped = bytearray(parcel)
    flipped[200] ^= 1
    spoiled = {"cut": parcel[:-30], "flipped": bytes(flipped), "empty": b"", "other": b"no archive" * 9}[damage]
    here = filled(tmp_path / "aet-tiny", record=b"old", checkpoint=b"old")
    with pytest.raises(RecordError, match=r"what came back for aet-tiny is damaged .*run the cell again"):
        unpack(spoiled, here)
    assert contents(here) == {RECORD: b"old", CHECKPOINT: b"old"}


def test_a_name_that_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../outside.txt", "x")
        archive.writestr(RECORD, "{}")
    unpack(buffer.getvalue(), tmp_path / "here")
    assert contents(tmp_path / "here") == {RECORD: b"{}"}
    assert not (tmp_path / "outside.txt").exists()
