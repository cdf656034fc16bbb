"""The index of an output folder: equal to the records, and rebuilt when it is not."""

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
from damaged_records import SPECIAL_FILES
from sample_records import sample_record, sample_score

from benchmark.records import index
from benchmark.records.columns import columns_of
from benchmark.records.dataframe import records_csv
from benchmark.records.index import INDEX
from benchmark.records.record import RECORD, Record
from benchmark.records.record_files import read_record, read_records, write_record
from benchmark.reports.render import render_report
from benchmark.reports.score_tables import score_report, score_tables

LONG_AGO = 1_700_000_000 * 10**9
"""Nanoseconds since 1970: long enough ago for every clock."""


def put(out: Path, record: Record, name: str = "", when: int = LONG_AGO) -> Path:
    """A record in its folder, modified at that time."""
    folder = out / (name or f"cell-{record.id[:10]}")
    write_record(folder, record)
    os.utime(folder / RECORD, ns=(when, when))
    return folder


def many(count: int = 12) -> list[Record]:
    """Records of every state, with failures, requests that do not apply, and scores without intervals."""
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
        request = {"tap": "fc", "pool": "flat", "evaluator": "svm", "protocol": "svm@1", "reason": "one class"}
        found.append(
            sample_record(
                rng.choice(["aet", "dim[units=512]", 'ü, "x"']),
                rng.choice(["resnet18", "blocknet"]),
                rng.choice(["digits", "photos[subset=50]"]),
                rng.choice([None, 0, 1, 2]),
                scores=scores[: rng.choice([0, 3, 8])],
                state=rng.choice(["done", "done", "smoke", "failed"]),
                failure=failure if number % 5 == 1 else None,
                checks={
                    "trained": True,
                    "failed_to_learn": number % 4 == 0,
                    "not_applicable": [request] * (number % 2),
                },
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
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 3}))
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
    "json": lambda records: render_report(score_report(records), "json"),
    **{
        form: lambda records, form=form: render_report(score_report(records), form) for form in ("table", "md", "latex")
    },  # type: ignore[misc]  # one for each
}


# --- equal to the records ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_index_gives_every_format_the_same_bytes_as_records(out: Path, form: str) -> None:
    plain, problems = read_records(out)
    expected = FORMATS[form](plain)
    for _ in range(3):
        columns, again_problems = index.read(out)
        assert FORMATS[form](columns) == expected
        assert again_problems == problems
    assert len(problems) == 2
    assert (out / INDEX).is_file()


def test_index_returns_the_columns_of_the_records(out: Path) -> None:
    first, _ = index.read(out)
    second, _ = index.read(out)
    plain = columns_of(read_records(out)[0])
    assert first is not second
    for found in (first, second):
        assert [dataclasses.replace(summary, folder="") for summary in found.summaries] == list(plain.summaries)
        for name in index.ARRAYS:
            assert np.array_equal(
                getattr(found, name), getattr(plain, name), equal_nan=name in ("ci_low", "ci_high")
            ), name
    assert [summary.folder for summary in second.summaries] == [f"cell-{number:02}" for number in range(12)]


def test_folder_without_records_gets_no_index(tmp_path: Path) -> None:
    for out in (tmp_path, tmp_path / "nowhere"):
        columns, problems = index.read(out)
        assert (len(columns), problems) == (0, [])
        assert (score_tables(columns), records_csv(columns)) == (score_tables([]), records_csv([]))
    assert list(tmp_path.iterdir()) == []


# --- what is read again -----------------------------------------------------------------------------------------------


def test_second_read_reads_only_damaged_records(out: Path, parsed: list[str]) -> None:
    index.read(out)
    assert parsed == [*(f"cell-{number:02}" for number in range(12)), "damaged", "newer"]
    parsed.clear()
    index.read(out)
    assert parsed == ["damaged", "newer"]


def test_each_record_is_read_once(tmp_path: Path, parsed: list[str]) -> None:
    for seed in range(40):
        put(tmp_path, sample_record(seed=seed))
        index.read(tmp_path)
    assert len(parsed) == len(set(parsed)) == 40


def test_only_changed_and_new_records_are_read(out: Path, parsed: list[str]) -> None:
    for name in ("damaged", "newer"):
        (out / name / RECORD).unlink()
    index.read(out)
    parsed.clear()
    put(out, sample_record(scores=(sample_score(0.875),)), "cell-03", when=LONG_AGO + 1)
    put(out, sample_record("rotation", seed=7), "cell-0")
    (out / "cell-05" / RECORD).unlink()
    columns, _ = index.read(out)
    assert parsed == ["cell-0", "cell-03"]
    assert [summary.folder for summary in columns.summaries] == sorted(
        path.parent.name for path in out.glob(f"*/{RECORD}")
    )
    assert records_csv(columns) == records_csv(read_records(out)[0])
    parsed.clear()
    index.read(out)
    assert parsed == []


def test_change_within_one_clock_tick_is_seen(tmp_path: Path) -> None:
    folder = put(tmp_path, sample_record(scores=(sample_score(0.25),)))
    (folder / RECORD).touch()
    status = (folder / RECORD).stat()
    assert index.read(tmp_path)[0].value.tolist() == [0.25]
    put(tmp_path, sample_record(scores=(sample_score(0.75),)), folder.name, when=status.st_mtime_ns)
    assert (folder / RECORD).stat().st_size == status.st_size
    assert (folder / RECORD).stat().st_mtime_ns == status.st_mtime_ns
    assert index.read(tmp_path)[0].value.tolist() == [0.75]


def test_record_rewritten_with_the_same_size_and_time_is_seen(tmp_path: Path, parsed: list[str]) -> None:
    folder = put(tmp_path, sample_record(scores=(sample_score(0.25),)))
    assert index.read(tmp_path)[0].value.tolist() == [0.25]
    other = put(tmp_path / "other", sample_record(scores=(sample_score(0.75),)))
    text = (other / RECORD).read_bytes()
    assert (folder / RECORD).stat().st_size == len(text)
    (folder / RECORD).write_bytes(text)
    os.utime(folder / RECORD, ns=(LONG_AGO, LONG_AGO))
    known = index.read_index(tmp_path)
    assert known.position(folder.name) is None
    assert index.read(tmp_path)[0].value.tolist() == [0.75]
    assert parsed == [folder.name] * 2


def test_record_exchanged_for_another_file_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    folder = put(tmp_path / "runs", sample_record(scores=(sample_score(0.25),)))
    other = put(tmp_path / "other", sample_record(scores=(sample_score(0.75),)))
    index.read(tmp_path / "runs")
    (other / RECORD).replace(folder / RECORD)
    assert index.read(tmp_path / "runs")[0].value.tolist() == [0.75]


def test_record_from_the_future_is_read_each_time(tmp_path: Path, parsed: list[str]) -> None:
    put(tmp_path, sample_record(), "cell", when=2 * LONG_AGO)
    index.read(tmp_path)
    index.read(tmp_path)
    assert parsed == ["cell", "cell"]


def test_position_is_none_for_unknown_or_changed_records(out: Path) -> None:
    index.read(out)
    known = index.read_index(out)
    position = known.position("cell-04")
    assert position is not None
    assert known.columns.summaries[position].folder == "cell-04"
    assert [known.position(name) for name in ("damaged", "newer", "no cell", "a file", "nowhere")] == [None] * 5
    put(out, sample_record(), "cell-04", when=LONG_AGO + 1)
    assert known.position("cell-04") is None


# --- damage -----------------------------------------------------------------------------------------------------------


def flipped(whole: bytes, number: int) -> bytes:
    """The file with one flipped bit."""
    rng = random.Random(number)
    position = rng.randrange(len(whole))
    return whole[:position] + bytes([whole[position] ^ 1 << rng.randrange(8)]) + whole[position + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "no index": lambda whole: b"hello",
    "zeros": lambda whole: bytes(len(whole)),
    "longer": lambda whole: whole + whole,
    **{f"one bit, {number}": lambda whole, number=number: flipped(whole, number) for number in range(40)},  # type: ignore[misc]  # its own number
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_index_is_rebuilt(out: Path, damage: str) -> None:
    columns, problems = index.read(out)
    whole = (out / INDEX).read_bytes()
    (out / INDEX).write_bytes(DAMAGES[damage](whole))
    again, again_problems = index.read(out)
    assert records_csv(again) == records_csv(columns)
    assert score_tables(again) == score_tables(columns)
    assert again_problems == problems


@pytest.mark.parametrize("name", index.ARRAYS)
def test_edited_index_is_rebuilt(out: Path, name: str, parsed: list[str]) -> None:
    columns, _ = index.read(out)
    with np.load(out / INDEX) as file:
        arrays = dict(file)
    with (out / INDEX).open("wb") as stream:
        np.savez(stream, **{**arrays, name: np.ones_like(arrays[name])})
    parsed.clear()
    assert records_csv(index.read(out)[0]) == records_csv(columns)
    assert len(parsed) == 14


@pytest.mark.parametrize("name", SPECIAL_FILES)
def test_special_file_instead_of_the_index_is_ignored(out: Path, name: str) -> None:
    columns, _ = index.read(out)
    SPECIAL_FILES[name][0](out / INDEX)
    assert len(index.read_index(out).columns) == 0
    assert records_csv(index.read(out)[0]) == records_csv(columns)


@pytest.mark.parametrize("key", ["version", "schema", "csv"])
def test_index_of_another_version_is_rebuilt(out: Path, key: str, parsed: list[str]) -> None:
    index.read(out)
    with np.load(out / INDEX) as file:
        arrays = dict(file)
    body = json.loads(arrays["text"].tobytes())
    body[key] = ["method"] if key == "csv" else 99
    arrays["text"] = np.frombuffer(json.dumps(body).encode(), np.uint8)
    with (out / INDEX).open("wb") as stream:
        np.savez(stream, **arrays)
    parsed.clear()
    index.read(out)
    assert len(parsed) == 14
    parsed.clear()
    index.read(out)
    assert parsed == ["damaged", "newer"]


def test_index_with_objects_is_not_unpickled(out: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
            return (os.mkdir, (str(out / "sprung"),))

    with (out / INDEX).open("wb") as file:
        np.savez(file, text=np.array([Trap()], dtype=object))
    index.read(out)
    assert not (out / "sprung").exists()


def test_index_with_inconsistent_arrays_is_rebuilt(out: Path) -> None:
    columns, _ = index.read(out)
    with np.load(out / INDEX) as file:
        arrays = dict(file)
    for name in index.ARRAYS:
        with (out / INDEX).open("wb") as stream:
            np.savez(stream, **{**arrays, name: arrays[name][:-1]})
        assert records_csv(index.read(out)[0]) == records_csv(columns)


def test_unwritable_index_is_ignored(out: Path) -> None:
    (out / INDEX).mkdir()
    columns, problems = index.read(out)
    assert records_csv(columns) == records_csv(read_records(out)[0])
    assert len(problems) == 2
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [INDEX]


def test_read_index_writes_nothing(out: Path) -> None:
    assert len(index.read_index(out).columns) == 0
    assert not (out / INDEX).exists()


def test_concurrent_readers_and_writers_see_complete_records(out: Path) -> None:
    expected = records_csv(read_records(out)[0])
    mismatches: list[str] = []

    def read_repeatedly(number: int) -> None:
        for turn in range(8):
            (out / f"cell-{number:02}" / RECORD).touch()
            if turn % 3 == number % 3:
                (out / INDEX).unlink(missing_ok=True)
            if records_csv(index.read(out)[0]) != expected:
                mismatches.append(f"{number} in turn {turn}")

    threads = [threading.Thread(target=read_repeatedly, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mismatches == []
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == [INDEX]


# --- malformed scores -------------------------------------------------------------------------------------


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
def test_score_of_the_wrong_type_is_a_problem_of_its_record(tmp_path: Path, change: dict[str, object]) -> None:
    put(tmp_path, sample_record(seed=1), "whole")
    folder = put(tmp_path, sample_record(), "malformed")
    body = json.loads((folder / RECORD).read_text())
    body["scores"][0].update(change)
    (folder / RECORD).write_text(json.dumps(body))
    for _ in range(2):
        columns, problems = index.read(tmp_path)
        assert [summary.folder for summary in columns.summaries] == ["whole"]
        assert len(problems) == 1
        assert "malformed" in problems[0]
        assert "run the cell again" in problems[0]
