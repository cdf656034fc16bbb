"""Files that are opened: regular ones of a plausible size."""

from __future__ import annotations

from pathlib import Path

import pytest
from damaged_records import SPECIAL_FILES

from benchmark.errors import RecordError
from benchmark.evaluation.overlap import cached_overlap
from benchmark.records.leaderboard import read_leaderboard
from benchmark.records.locks import LOCK, read_lock
from benchmark.records.outcomes import read_predictions
from benchmark.records.record import PREDICTIONS
from benchmark.records.stored_file import read_regular


def test_file_and_link_to_a_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link") == b"12345"
    assert read_regular(tmp_path / "file", 5) == b"12345"
    with pytest.raises(RecordError, match="more than the 4 that are read"):
        read_regular(tmp_path / "file", 4)


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nowhere")


@pytest.mark.parametrize("name", SPECIAL_FILES)
def test_special_file_is_refused_by_its_kind(name: str, tmp_path: Path) -> None:
    damage, reason = SPECIAL_FILES[name]
    path = tmp_path / "file"
    path.touch()
    damage(path)
    with pytest.raises(RecordError, match=rf"cannot read {path}.*{reason}"):
        read_regular(path)


@pytest.mark.parametrize("name", SPECIAL_FILES)
def test_special_file_blocks_no_reader(name: str, tmp_path: Path) -> None:
    damage, _ = SPECIAL_FILES[name]
    for stored in (PREDICTIONS, LOCK, "digits.jsonl"):
        (tmp_path / stored).touch()
        damage(tmp_path / stored)
    with pytest.raises(RecordError, match=PREDICTIONS):
        read_predictions(tmp_path)
    with pytest.raises(RecordError, match=r"digits\.jsonl"):
        read_leaderboard(tmp_path / "digits.jsonl")
    assert read_lock(tmp_path) is None


def test_cached_overlap_that_was_edited_is_counted_again(tmp_path: Path) -> None:
    counted = {"exact": 3, "near": 1, "of": 40, "threshold": 0.97}
    assert cached_overlap(tmp_path, "key", lambda: counted) == counted
    assert cached_overlap(tmp_path, "key", dict) == counted
    (path,) = tmp_path.glob(".overlap-*")
    path.write_text(path.read_text().replace('"exact": 3', '"exact": 0'))
    assert cached_overlap(tmp_path, "key", lambda: counted) == counted
