"""The index of an output folder: derived, never believed beyond the records, and nothing is lost without it."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sample_records import sample_record, sample_score

from benchmark.records import index
from benchmark.records.columns import columns_of
from benchmark.records.dataframe import records_as_json, records_csv
from benchmark.records.index import INDEX
from benchmark.records.record import RECORD, Record, read_record, read_records, write_record
from benchmark.reports.render import render_tables
from benchmark.reports.score_tables import score_tables

LONG_AGO = 1_700_000_000 * 10**9
"""Nanoseconds since 1970, when nobody waits for a clock to tick any more."""


def put(out: Path, record: Record, name: str = "", when: int = LONG_AGO) -> Path:
    """A record in its folder, last changed at that time."""
    folder = out / (name or f"cell-{record.id[:10]}")
    write_record(folder, record)
    os.utime(folder / RECORD, ns=(when, when))
    return folder


def many(count: int = 12) -> list[Record]:
    """Records of every state, with failures, refusals, dull ones, cells without seeds, scores without intervals."""
    rng = random.Random(count)
    found = []
    for number in range(count):
        scores = tuple(
            sample_score(
                rng.random(),
                tap=tap,
                evaluator=evaluator,
                protocol=f"{evaluator}@1",
                metric=metric,
                headline=metric == "map",
                ci_low=None if number % 3 else 0.1,
                n=rng.choice([8, 360]),
            )
            for tap in ("layer1", "layer4")
            for evaluator in ("knn", "linear")
            for metric in ("accuracy", "map")
        )
        failure = {"stage": "evaluate linear", "reason": 'did not\nconverge, "at all"', "traceback": "x"}
        refused = {"tap": "fc", "pool": "flat", "evaluator": "svm", "protocol": "svm@1", "reason": "one class"}
        found.append(
            sample_record(
                rng.choice(["aet", "dim[units=512]", 'ü, "x"']),
                rng.choice(["resnet18", "blocknet"]),
                rng.choice(["digits", "photos[subset=50]"]),
                rng.choice([None, 0, 1, 2]),
                scores=scores[: rng.choice([0, 3, 8])],
                state=rng.choice(["done", "done", "smoke", "failed"]),
                failure=failure if number % 5 == 1 else None,
                checks={"trained": True, "learned": number % 4 != 0, "not_applicable": [refused] * (number % 2)},
                cost={"train_seconds": rng.choice([None, 1.5, 2])},
                id=f"{number:064x}",
            )
        )
    return found


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder of records, one of them damaged and one of another version."""
    for number, record in enumerate(many()):
        put(tmp_path, record, f"cell-{number:02}")
    put(tmp_path, sample_record(), "damaged")
    (tmp_path / "damaged" / RECORD).write_text("{")
    put(tmp_path, sample_record(), "newer")
    path = tmp_path / "newer" / RECORD
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}))
    (tmp_path / "no cell").mkdir()
    (tmp_path / "a file").write_text("")
    return tmp_path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders whose records are read, in order, from now on."""
    names: list[str] = []
    real = read_record

    def noted(folder: Path) -> Record:
        names.append(folder.name)
        return real(folder)

    monkeypatch.setattr(index, "read_record", noted)
    return names


FORMATS: dict[str, Callable[..., str]] = {
    "csv": records_csv,
    "json": records_as_json,
    **{form: lambda found, form=form: render_tables(score_tables(found), form) for form in ("table", "md", "latex")},  # type: ignore[misc]  # one for each
}


# --- the same with and without ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_with_an_index_every_format_has_the_same_bytes_as_without(out: Path, form: str) -> None:
    plain, problems = read_records(out)
    expected = FORMATS[form](plain)
    for _ in range(3):
        columns, told = index.read(out)
        assert FORMATS[form](columns) == expected
        assert told == problems
    assert len(problems) == 2
    assert (out / INDEX).is_file()


def test_what_the_index_gives_back_is_what_was_put_in(out: Path) -> None:
    first, _ = index.read(out)
    second, _ = index.read(out)
    plain = columns_of(read_records(out)[0])
    assert first is not second
    for found in (first, second):
        assert [dataclasses.replace(brief, folder="") for brief in found.summaries] == list(plain.summaries)
        for name in index.ARRAYS:
            assert np.array_equal(getattr(found, name), getattr(plain, name), equal_nan=name in ("low", "high")), name
    assert [brief.folder for brief in second.summaries] == [f"cell-{number:02}" for number in range(12)]


def test_a_folder_without_records_or_that_is_not_there_holds_none_and_gets_no_index(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "nowhere"):
        columns, problems = index.read(out)
        assert (len(columns), problems) == (0, [])
        assert (score_tables(columns), records_csv(columns)) == (score_tables([]), records_csv([]))
    assert list(tmp_path.iterdir()) == []


# --- what is read again -----------------------------------------------------------------------------------------------


def test_a_second_look_reads_no_whole_record_again(out: Path, parsed: list[str]) -> None:
    index.read(out)
    assert parsed == [*(f"cell-{number:02}" for number in range(12)), "damaged", "newer"]
    parsed.clear()
    index.read(out)
    assert parsed == ["damaged", "newer"]


def test_each_record_is_read_once_however_many_there_are(tmp_path: Path, parsed: list[str]) -> None:
    for seed in range(40):
        put(tmp_path, sample_record(seed=seed))
        index.read(tmp_path)
    assert len(parsed) == len(set(parsed)) == 40


def test_what_changed_came_and_went_is_seen_and_nothing_else_is_read(out: Path, parsed: list[str]) -> None:
    for name in ("damaged", "newer"):
        (out / name / RECORD).unlink()
    index.read(out)
    parsed.clear()
    put(out, sample_record(scores=(sample_score(0.875),)), "cell-03", when=LONG_AGO + 1)
    put(out, sample_record("rotation", seed=7), "cell-0")
    (out / "cell-05" / RECORD).unlink()
    columns, _ = index.read(out)
    assert parsed == ["cell-0", "cell-03"]
    assert [brief.folder for brief in columns.summaries] == sorted(path.parent.name for path in out.glob(f"*/{RECORD}"))
    assert records_csv(columns) == records_csv(read_records(out)[0])
    parsed.clear()
    index.read(out)
    assert parsed == []


def test_a_record_that_changes_within_one_tick_of_the_clock_is_never_served_as_it_was(tmp_path: Path) -> None:
    folder = put(tmp_path, sample_record(scores=(sample_score(0.25),)))
    (folder / RECORD).touch()
    status = (folder / RECORD).stat()
    assert index.read(tmp_path)[0].value.tolist() == [0.25]
    put(tmp_path, sample_record(scores=(sample_score(0.75),)), folder.name, when=status.st_mtime_ns)
    assert (folder / RECORD).stat().st_size == status.st_size
    assert (folder / RECORD).stat().st_mtime_ns == status.st_mtime_ns
    assert index.read(tmp_path)[0].value.tolist() == [0.75]


def test_a_record_of_the_future_is_read_each_time(tmp_path: Path, parsed: list[str]) -> None:
    put(tmp_path, sample_record(), "cell", when=2 * LONG_AGO)
    index.read(tmp_path)
    index.read(tmp_path)
    assert parsed == ["cell", "cell"]


def test_what_was_known_is_asked_for_by_folder_and_checked_against_its_file(out: Path) -> None:
    index.read(out)
    found = index.read_index(out)
    place = found.place("cell-04")
    assert place is not None
    assert found.columns.summaries[place].folder == "cell-04"
    assert [found.place(name) for name in ("damaged", "newer", "no cell", "a file", "nowhere")] == [None] * 5
    put(out, sample_record(), "cell-04", when=LONG_AGO + 1)
    assert found.place("cell-04") is None


# --- damage -----------------------------------------------------------------------------------------------------------


def flipped(whole: bytes, number: int) -> bytes:
    """The file with one bit another."""
    rng = random.Random(number)
    where = rng.randrange(len(whole))
    return whole[:where] + bytes([whole[where] ^ 1 << rng.randrange(8)]) + whole[where + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "no index": lambda whole: b"hello",
    "zeros": lambda whole: bytes(len(whole)),
    "longer": lambda whole: whole + whole,
    **{f"one bit, {number}": lambda whole, number=number: flipped(whole, number) for number in range(40)},  # type: ignore[misc]  # its own number
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_again_and_nothing_wrong_is_shown(out: Path, damage: str) -> None:
    columns, problems = index.read(out)
    whole = (out / INDEX).read_bytes()
    (out / INDEX).write_bytes(DAMAGES[damage](whole))
    again, told = index.read(out)
    assert records_csv(again) == records_csv(columns)
    assert score_tables(again) == score_tables(columns)
    assert told == problems


@pytest.mark.parametrize("constant", ["VERSION", "SCHEMA_VERSION"])
def test_an_index_of_another_version_is_made_again(
    out: Path, constant: str, monkeypatch: pytest.MonkeyPatch, parsed: list[str]
) -> None:
    index.read(out)
    monkeypatch.setattr(index, constant, 99)
    parsed.clear()
    index.read(out)
    assert len(parsed) == 14
    parsed.clear()
    index.read(out)
    assert parsed == ["damaged", "newer"]


def test_an_index_that_holds_objects_is_not_unpickled(out: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
            return (os.mkdir, (str(out / "sprung"),))

    with (out / INDEX).open("wb") as file:
        np.savez(file, text=np.array([Trap()], dtype=object))
    index.read(out)
    assert not (out / "sprung").exists()


def test_an_index_whose_parts_do_not_fit_is_made_again(out: Path) -> None:
    columns, _ = index.read(out)
    with np.load(out / INDEX) as file:
        arrays = dict(file)
    for name in index.ARRAYS:
        with (out / INDEX).open("wb") as stream:
            np.savez(stream, **{**arrays, name: arrays[name][:-1]})
        assert records_csv(index.read(out)[0]) == records_csv(columns)


def test_where_no_index_can_be_written_the_tables_are_the_same(out: Path) -> None:
    (out / INDEX).mkdir()
    columns, problems = index.read(out)
    assert records_csv(columns) == records_csv(read_records(out)[0])
    assert len(problems) == 2
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [INDEX]


def test_opening_an_index_writes_nothing(out: Path) -> None:
    assert len(index.read_index(out).columns) == 0
    assert not (out / INDEX).exists()


def test_readers_and_writers_at_once_see_whole_records_only(out: Path) -> None:
    expected = records_csv(read_records(out)[0])
    wrong: list[str] = []

    def look(number: int) -> None:
        for turn in range(8):
            (out / f"cell-{number:02}" / RECORD).touch()
            if turn % 3 == number % 3:
                (out / INDEX).unlink(missing_ok=True)
            if records_csv(index.read(out)[0]) != expected:
                wrong.append(f"{number} in turn {turn}")

    threads = [threading.Thread(target=look, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [INDEX]


# --- what cannot stand in columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"value": "0.5"},
        {"value": True},
        {"value": None},
        {"n": 2**70},
        {"n": 1.5},
        {"ci_low": "low"},
        {"tap": ["layer4"]},
        {"metric": 3},
        {"headline": "yes"},
    ],
    ids=str,
)
def test_a_score_that_no_column_can_hold_is_told_of_and_costs_no_other(
    tmp_path: Path, change: dict[str, object]
) -> None:
    put(tmp_path, sample_record(seed=1), "whole")
    folder = put(tmp_path, sample_record(), "wrong")
    body = json.loads((folder / RECORD).read_text())
    body["scores"][0].update(change)
    (folder / RECORD).write_text(json.dumps(body))
    for _ in range(2):
        columns, problems = index.read(tmp_path)
        assert [brief.folder for brief in columns.summaries] == ["whole"]
        assert len(problems) == 1
        assert "wrong is not whole" in problems[0]
