"""Records: written whole or not at all, read with care, found by what people type."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from sample_records import sample_record, sample_score

from benchmark.api.cells import Item, ScoreRequest
from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.record import (
    RECORD,
    SCHEMA_VERSION,
    Record,
    SchemaError,
    by_score_key,
    find_record,
    read_record,
    read_records,
    set_aside,
    write_record,
)


def _put(out: Path, record: Record, name: str = "") -> Path:
    folder = out / (name or f"cell-{record.id[:10]}")
    write_record(folder, record)
    return folder


def _changed(folder: Path, **changes: object) -> None:
    path = folder / RECORD
    body = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in body.items() if value != "gone"}))


# --- writing and reading ----------------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    failure = {"stage": "evaluate linear", "reason": 'it\'s "odd": ± \n', "traceback": "…\n\udc80"}
    record = sample_record(
        scores=(sample_score(1 / 3, details={"l2": 1e-3}), sample_score(0.1 + 0.2, metric="map", ci_low=None)),
        failure=failure,
        checks={"trained": True, "learned": False},
    )
    folder = _put(tmp_path, record)
    assert read_record(folder) == dataclasses.replace(record, folder=str(folder))


def test_what_is_written_is_json_with_a_version_and_without_its_place(tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    body = json.loads((folder / RECORD).read_text())
    assert body["schema_version"] == SCHEMA_VERSION
    assert str(tmp_path) not in json.dumps(body)
    assert set(body) == {
        *("id", "state", "cell", "scores", "cost", "provenance", "checks", "failure", "schema_version")
    }
    assert [path.name for path in folder.iterdir()] == [RECORD]


def test_scalars_of_numpy_become_numbers(tmp_path: Path) -> None:
    record = sample_record(scores=(sample_score(np.float32(0.25), n=np.int64(8)),), checks={"trained": np.bool_(True)})
    read = read_record(_put(tmp_path, record))
    assert (read.scores[0].value, read.scores[0].n, read.trained) == (0.25, 8, True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_is_refused_by_name(value: float, tmp_path: Path) -> None:
    record = sample_record(scores=(sample_score(), sample_score(value, metric="map", ci_low=None, ci_high=None)))
    with pytest.raises(RecordError, match="map of knn at layer4 is"):
        write_record(tmp_path, record)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [math.nan, np.zeros(3), object(), {1, 2}])
def test_what_json_cannot_hold_is_refused_and_the_old_record_stays(value: object, tmp_path: Path) -> None:
    write_record(tmp_path, sample_record(seed=1))
    with pytest.raises(RecordError, match=r"record\.json cannot be written"):
        write_record(tmp_path, sample_record(cost={"train_seconds": value}))
    assert read_record(tmp_path).cell["seed"] == 1
    assert len(list(tmp_path.iterdir())) == 1


# --- atomic files -----------------------------------------------------------------------------------------------------


def test_until_a_file_is_whole_the_old_one_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replaced(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(error: BaseException, tmp_path: Path) -> None:
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


def test_a_full_disk_is_a_record_error_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path, sample_record(seed=1))

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"record\.json cannot be written: No space left on device"):
        write_record(tmp_path, sample_record(seed=2))
    assert read_record(tmp_path).cell["seed"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [RECORD]


def test_data_are_on_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    real = os.fsync

    def watched(handle: int) -> None:
        seen.append((tmp_path / "file").exists())
        real(handle)

    monkeypatch.setattr(os, "fsync", watched)
    with replaced(tmp_path / "file") as file:
        file.write(b"new")
    assert seen == [False]


def test_a_folder_that_cannot_be_made_is_a_record_error_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordError, match="Choose another --out"):
        write_record(tmp_path / "file" / "cell", sample_record())


def test_a_name_that_is_taken_by_a_folder_is_a_record_error_without_remains(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(RecordError, match="cannot be written"), replaced(tmp_path / "taken") as file:
        file.write(b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


# --- damaged records --------------------------------------------------------------------------------------------------


def test_a_folder_without_a_record_is_told_with_how_one_looks(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"holds no record\.json; a cell's folder looks like"):
        read_record(tmp_path)


def test_a_record_cut_anywhere_is_refused(tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    whole = (folder / RECORD).read_bytes().rstrip()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        (folder / RECORD).write_bytes(whole[:length])
        with pytest.raises(RecordError, match="not readable or not whole"):
            read_record(folder)


@pytest.mark.parametrize("text", ["[]", "3", '"text"', "null", "{}", '{"id": "x"}'])
def test_other_json_is_no_record(text: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(RecordError, match="is no record"):
        read_record(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="not readable or not whole"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "gone"},
        {"state": "gone"},
        {"cell": "gone"},
        {"cell": {}},
        {"cell": 3},
        {"cell": {"method": {"label": "m"}, "encoder": {"label": "e"}, "dataset": {"label": "d"}}},
        {"cell": {"method": "m", "encoder": "e", "dataset": "d", "seed": 0}},
        {"scores": 3},
        {"scores": ["text"]},
        {"scores": [{"tap": "fc"}]},
        {"scores": [{"unknown": 1}]},
        {"scores": None},
    ],
)
def test_a_record_that_lacks_something_is_not_whole(changes: dict[str, object], tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    _changed(folder, **changes)
    with pytest.raises(RecordError, match="is not whole"):
        read_record(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_a_record_of_another_version_is_told_apart(version: object, tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    _changed(folder, schema_version=version)
    with pytest.raises(SchemaError, match=f"schema version {version}, this repbench reads 1"):
        read_record(folder)


def test_a_key_that_a_later_version_added_is_passed_over(tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    _changed(folder, mood="good")
    assert read_record(folder).id == sample_record().id


def test_one_damaged_record_costs_no_other(tmp_path: Path) -> None:
    for seed in range(3):
        _put(tmp_path, sample_record(seed=seed), name=f"cell-{seed}")
    (tmp_path / "cell-1" / RECORD).write_text("{")
    (tmp_path / "no cell").mkdir()
    records, problems = read_records(tmp_path)
    assert [record.cell["seed"] for record in records] == [0, 2]
    assert len(problems) == 1
    assert "cell-1" in problems[0]


def test_a_folder_that_is_not_there_holds_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nowhere") == ([], [])


def test_damaged_records_are_set_aside_side_by_side_and_kept(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / RECORD).write_text(text)
        set_aside(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "record.json.unreadable-1": "first",
        "record.json.unreadable-2": "second",
    }


# --- scores -----------------------------------------------------------------------------------------------------------


def test_only_scores_of_the_same_protocol_tap_and_pooling_count_as_there() -> None:
    record = sample_record()
    knn, linear = Item(name="knn", label="knn"), Item(name="linear", label="linear")

    def request(**changes: object) -> ScoreRequest:
        there = ScoreRequest(tap="layer4", pool="average", evaluator=knn, protocol="knn@1")
        return dataclasses.replace(there, **changes)  # type: ignore[arg-type]  # each is of its field's type

    others = [request(tap="fc"), request(pool="flat"), request(protocol="knn@2"), request(evaluator=linear)]
    assert record.missing([request(), *others]) == others


def test_what_was_found_to_make_no_sense_is_not_asked_for_again() -> None:
    request = ScoreRequest(
        tap="layer4", pool="flat", evaluator=Item(name="linear", label="linear"), protocol="linear@1"
    )
    refused = {**request.key(), "reason": "one class only"}
    assert sample_record().missing([request]) == [request]
    assert sample_record(checks={"not_applicable": [refused]}).missing([request]) == []
    assert sample_record(checks={"not_applicable": [{**refused, "tap": "fc"}]}).missing([request]) == [request]


def test_a_later_score_replaces_an_earlier_of_the_same_key() -> None:
    first, second, other = sample_score(0.1), sample_score(0.2), sample_score(0.3, metric="map")
    assert list(by_score_key([first, other, second]).values()) == [second, other]


# --- finding ----------------------------------------------------------------------------------------------------------


def test_a_record_is_found_by_folder_id_beginning_of_the_id_and_by_its_four_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = sample_record("aet[transform=affine]", seed=3)
    folder = _put(tmp_path, wanted)
    for seed in range(3):
        _put(tmp_path, sample_record(seed=seed))
    monkeypatch.chdir(tmp_path)
    for argument in (
        str(folder),
        f"{folder.name}/",
        folder.name,
        wanted.id,
        wanted.id[:10],
        wanted.id[:4],
        "aet[transform=affine]/resnet18/digits/3",
    ):
        assert find_record(argument, tmp_path).id == wanted.id, argument


def test_a_folder_elsewhere_is_found_by_its_path(tmp_path: Path) -> None:
    folder = _put(tmp_path / "elsewhere", sample_record())
    assert find_record(str(folder), tmp_path / "runs").id == sample_record().id


def test_a_cell_without_a_seed_is_found_by_a_dash(tmp_path: Path) -> None:
    _put(tmp_path, sample_record("pixels", "-", seed=None))
    assert find_record("pixels/-/digits/-", tmp_path).cell["seed"] is None


def test_what_fits_several_is_told_with_which(tmp_path: Path) -> None:
    for number in range(3):
        _put(tmp_path, dataclasses.replace(sample_record(), id=f"abcd{number}" + "0" * 59), name=f"cell-{number}")
    with pytest.raises(RecordError, match="'abcd': 3 records fit") as caught:
        find_record("abcd", tmp_path)
    assert "They are: cell-0, cell-1, cell-2" in str(caught.value)
    with pytest.raises(RecordError, match="3 records fit"):
        find_record("aet/resnet18/digits/0", tmp_path)
    assert find_record("abcd1", tmp_path).id.startswith("abcd1")


@pytest.mark.parametrize("argument", ["ffff", "aet/resnet18/digits", "aet/resnet18/digits/1", "cell", "", "../x"])
def test_what_fits_none_is_told_with_what_there_is(argument: str, tmp_path: Path) -> None:
    _put(tmp_path, sample_record(), name="cell-0")
    with pytest.raises(RecordError, match="no record fits") as caught:
        find_record(argument, tmp_path)
    assert "There is: cell-0" in str(caught.value)


def test_in_an_empty_folder_none_is_found(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="There is: none"):
        find_record("aet/resnet18/digits/0", tmp_path)


def test_a_damaged_neighbor_does_not_stop_the_search(tmp_path: Path) -> None:
    _put(tmp_path, sample_record())
    broken = _put(tmp_path, sample_record(seed=1), name="broken")
    _changed(broken, cell={})
    assert find_record("aet/resnet18/digits/0", tmp_path).id == sample_record().id
