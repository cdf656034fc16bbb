"""The checksum in a record's text: a record that was changed after it was written is read, marked and named."""

from __future__ import annotations

import json
import logging
import random
import re
from pathlib import Path

import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.api.identity import id_of_settings
from benchmark.errors import RecordError
from benchmark.records import index
from benchmark.records.export import export
from benchmark.records.leaderboard import read_leaderboard
from benchmark.records.record import RECORD, Record
from benchmark.records.record_files import read_record, read_records, write_record

CHECKSUM = "record_sha256"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cell folder whose record has its own id."""
    record = sample_record(scores=(sample_score(0.625),))
    write_record(tmp_path / "runs" / "cell", _with_own_id(record))
    return tmp_path / "runs" / "cell"


def _with_own_id(record: Record) -> Record:
    cell = record.cell
    return sample_record(scores=record.scores, id=id_of_settings(cell, smoke=False))


def _change(folder: Path, old: bytes, new: bytes) -> None:
    text = (folder / RECORD).read_bytes()
    assert text.count(old) == 1
    (folder / RECORD).write_bytes(text.replace(old, new))


def _without_checksum(folder: Path) -> None:
    """As an earlier version wrote it."""
    body = json.loads((folder / RECORD).read_bytes())
    del body["checks"][CHECKSUM]
    (folder / RECORD).write_text(json.dumps(body))


def test_record_that_was_not_changed_is_not_marked(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert CHECKSUM in json.loads((folder / RECORD).read_bytes())["checks"]
    record = read_record(folder)
    assert not {CHECKSUM, "altered"} & record.checks.keys()
    write_record(folder, record)
    (folder / RECORD).write_bytes((folder / RECORD).read_bytes() + b"\n\n")
    assert "altered" not in read_record(folder).checks
    assert not caplog.records


def test_edited_value_is_marked_in_tables_and_named_by_each_command(folder: Path, bench: Bench) -> None:
    _change(folder, b'"value": 0.625', b'"value": 0.635')
    for words in (("table",), ("table",), ("table", "--by", "tap"), ("export", "--to", "boards"), ("correlate",)):
        result = bench(words[0], "runs", *words[1:])
        assert result.exit_code == 0, result.output
        line = f"bench: altered: runs/cell/{RECORD} was edited or damaged after it was written"
        assert result.stderr.count(line) == 1, result.stderr
    assert "altered" in bench("table", "runs").stdout
    assert "altered" in bench("table", "boards/digits.jsonl").stdout


def test_mark_of_an_edited_record_stays_when_it_is_written_again(folder: Path) -> None:
    _change(folder, b'"value": 0.625', b'"value": 0.635')
    write_record(folder, read_record(folder))
    assert read_record(folder).checks["altered"] is True


def test_edited_record_is_logged_by_the_first_and_by_later_readers_of_the_index(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _change(folder, b'"value": 0.625', b'"value": 0.635')
    for _ in range(2):
        caplog.clear()
        index.read(folder.parent)
        (message,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
        assert f"cell/{RECORD} was edited" in message


@pytest.mark.parametrize("seed", range(40))
def test_record_with_a_changed_byte_is_left_out_or_marked(seed: int, folder: Path) -> None:
    before, chance = read_record(folder), random.Random(seed)
    text = bytearray((folder / RECORD).read_bytes())
    text[chance.randrange(len(text) - 1)] ^= 1 << chance.randrange(8)
    (folder / RECORD).write_bytes(text)
    records, problems = read_records(folder.parent)
    assert problems or records[0].checks.get("altered") or records == [before]


def test_edited_line_of_a_leaderboard_is_marked(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    export(read_records(folder.parent)[0], folder.parent / "boards")
    board = folder.parent / "boards" / "digits.jsonl"
    assert "altered" not in read_leaderboard(board)[0].checks
    board.write_bytes(board.read_bytes().replace(b'"value": 0.625', b'"value": 0.635'))
    assert read_leaderboard(board)[0].checks["altered"] is True
    assert "digits.jsonl, aet/resnet18/digits/0" in caplog.text


# --- records of earlier versions, without a checksum --------------------------------------------------------------------


def test_record_without_checksum_is_read_without_a_mark(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    _without_checksum(folder)
    assert "altered" not in read_record(folder).checks
    assert not caplog.records


def test_record_without_checksum_whose_settings_do_not_give_its_id_is_marked(folder: Path) -> None:
    _without_checksum(folder)
    _change(folder, b'"seed": 0', b'"seed": 1')
    assert read_record(folder).checks["altered"] is True


@pytest.mark.parametrize(("end", "value"), [("ci_low", 0.9), ("ci_high", 0.1)])
def test_record_with_a_value_outside_of_its_interval_is_marked(end: str, value: float, tmp_path: Path) -> None:
    write_record(tmp_path, sample_record(scores=(sample_score(0.5, **{end: value}),)))
    assert read_record(tmp_path).checks["altered"] is True


@pytest.mark.parametrize("key", ["value", "seed", "state", "k", "epochs", "label"])
def test_key_that_occurs_twice_is_damage(key: str, folder: Path) -> None:
    _without_checksum(folder)
    text = (folder / RECORD).read_text()
    (folder / RECORD).write_text(re.sub(rf'("{key}": [^,\]}}]+)', r"\1, \1", text, count=1))
    with pytest.raises(RecordError, match=f"the key '{key}' occurs twice" if key != "k" else "damaged"):
        read_record(folder)


def test_text_with_colons_and_quotes_is_no_second_key(folder: Path) -> None:
    failure = {"stage": 'a ": b', "reason": '"seed": 0, "seed": 0', "traceback": '\\": {"x": {}}'}
    write_record(folder, _with_own_id(read_record(folder)))
    body = json.loads((folder / RECORD).read_bytes())
    del body["checks"][CHECKSUM]
    (folder / RECORD).write_text(json.dumps({**body, "failure": failure, "extra": {"seed": 1}}))
    assert read_record(folder).failure == failure
