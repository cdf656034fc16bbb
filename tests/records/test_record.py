"""Records: writing, reading, damage, search."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from sample_records import sample_record, sample_score

from benchmark.api.cells import Item, ScoreRequest
from benchmark.errors import RecordError
from benchmark.records.record import RECORD, SCHEMA_VERSION, Record, by_score_key, group_by_seed
from benchmark.records.record_files import read_record, read_records, set_aside, write_record
from benchmark.records.record_text import SchemaError


def _put(out: Path, record: Record, name: str = "") -> Path:
    folder = out / (name or f"cell-{record.id[:10]}")
    write_record(folder, record)
    return folder


def _changed(folder: Path, **changes: object) -> None:
    path = folder / RECORD
    body = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in body.items() if value != "gone"}))


# --- writing and reading ----------------------------------------------------------------------------------------------


def test_record_is_read_back_unchanged(tmp_path: Path) -> None:
    failure = {"stage": "evaluate linear", "reason": 'it\'s "odd": ± \n', "traceback": "…\n\udc80"}
    record = sample_record(
        scores=(sample_score(1 / 3, details={"l2": 1e-3}), sample_score(0.1 + 0.2, metric="map", ci_low=None)),
        failure=failure,
        checks={"trained": True, "failed_to_learn": True},
    )
    folder = _put(tmp_path, record)
    assert read_record(folder) == dataclasses.replace(record, folder=str(folder))


def test_record_json_has_a_schema_version_and_no_path(tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    body = json.loads((folder / RECORD).read_text())
    assert body["schema_version"] == SCHEMA_VERSION
    assert str(tmp_path) not in json.dumps(body)
    assert set(body) == {
        *("id", "state", "cell", "scores", "cost", "provenance", "checks", "failure", "schema_version")
    }
    assert [path.name for path in folder.iterdir()] == [RECORD]


def test_numpy_scalars_are_written_as_numbers(tmp_path: Path) -> None:
    record = sample_record(scores=(sample_score(np.float32(0.25), n=np.int64(8)),), checks={"trained": np.bool_(True)})
    read = read_record(_put(tmp_path, record))
    assert (read.scores[0].value, read.scores[0].n, read.trained) == (0.25, 8, True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_score_that_is_not_finite_is_refused_by_name(value: float, tmp_path: Path) -> None:
    record = sample_record(scores=(sample_score(), sample_score(value, metric="map", ci_low=None, ci_high=None)))
    with pytest.raises(RecordError, match="map of knn at layer4 is"):
        write_record(tmp_path, record)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [math.nan, np.zeros(3), object(), {1, 2}])
def test_unserializable_value_is_refused_and_the_old_record_stays(value: object, tmp_path: Path) -> None:
    write_record(tmp_path, sample_record(seed=1))
    with pytest.raises(RecordError, match=r"record\.json cannot be written"):
        write_record(tmp_path, sample_record(cost={"train_seconds": value}))
    assert read_record(tmp_path).cell["seed"] == 1
    assert len(list(tmp_path.iterdir())) == 1


# --- damaged records --------------------------------------------------------------------------------------------------


def test_missing_record_is_named_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no record\.json in .*named like aet-resnet18"):
        read_record(tmp_path)


def test_truncated_record_is_damaged(tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    whole = (folder / RECORD).read_bytes().rstrip()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        (folder / RECORD).write_bytes(whole[:length])
        with pytest.raises(RecordError, match="is damaged"):
            read_record(folder)


@pytest.mark.parametrize("text", ["[]", "3", '"text"', "null", "{}", '{"id": "x"}'])
def test_other_json_is_not_a_record(text: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(RecordError, match="is not a record"):
        read_record(tmp_path)


def test_binary_record_is_damaged(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="is damaged"):
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
def test_record_with_missing_or_malformed_keys_is_incomplete(changes: dict[str, object], tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    _changed(folder, **changes)
    with pytest.raises(RecordError, match="is incomplete"):
        read_record(folder)


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_other_schema_version_is_a_schema_error(version: object, tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    _changed(folder, schema_version=version)
    with pytest.raises(SchemaError, match=f"schema version {version}; this repbench reads 1 and 2"):
        read_record(folder)


def test_unknown_key_is_ignored(tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    _changed(folder, mood="good")
    assert read_record(folder).id == sample_record().id


def test_damaged_record_does_not_hide_others(tmp_path: Path) -> None:
    for seed in range(3):
        _put(tmp_path, sample_record(seed=seed), name=f"cell-{seed}")
    (tmp_path / "cell-1" / RECORD).write_text("{")
    (tmp_path / "no cell").mkdir()
    records, problems = read_records(tmp_path)
    assert [record.cell["seed"] for record in records] == [0, 2]
    assert len(problems) == 1
    assert "cell-1" in problems[0]


def test_missing_folder_has_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nowhere") == ([], [])


def test_damaged_records_are_set_aside_and_kept(tmp_path: Path) -> None:
    for text in ("first", "second"):
        (tmp_path / RECORD).write_text(text)
        set_aside(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "record.json.unreadable-1": "first",
        "record.json.unreadable-2": "second",
    }


def test_record_with_nan_or_infinity_is_damaged(tmp_path: Path) -> None:
    folder = _put(tmp_path, sample_record())
    text = (folder / RECORD).read_text()
    for value in ("NaN", "Infinity", "1e999"):
        (folder / RECORD).write_text(text.replace('"value": 0.5', f'"value": {value}'))
        with pytest.raises(RecordError, match="is damaged"):
            read_record(folder)


# --- groups -----------------------------------------------------------------------------------------------------------


def test_group_by_seed_keeps_data_versions_recipes_and_states_apart() -> None:
    first, second = sample_record(seed=0), sample_record(seed=1)
    data, smoke = sample_record(seed=2), sample_record(seed=3, state="smoke")
    data.cell["dataset"]["fingerprint"] = "e" * 64
    version = sample_record(seed=4, provenance={"versions": {"method": 2, "encoder": 1, "dataset": 1}})
    recipe = sample_record(seed=5, recipe={"epochs": 7})
    groups = group_by_seed([first, data, second, smoke, version, recipe])
    assert groups == [(first, second), (data,), (version,), (recipe,)]


def test_record_name_has_labels_and_seed() -> None:
    record = sample_record("aet[transform=affine]", "blocknet", "cifar10", 2)
    assert record.labels == ("aet[transform=affine]", "blocknet", "cifar10")
    assert record.name == "aet[transform=affine]/blocknet/cifar10/2"
    assert record.short_id == record.id[:10]


# --- scores -----------------------------------------------------------------------------------------------------------


def test_missing_compares_tap_pool_evaluator_and_protocol() -> None:
    record = sample_record()
    knn, linear = Item(name="knn", label="knn"), Item(name="linear", label="linear")

    def request(**changes: object) -> ScoreRequest:
        there = ScoreRequest(tap="layer4", pool="average", evaluator=knn, protocol="knn@1")
        return dataclasses.replace(there, **changes)  # type: ignore[arg-type]  # each is of its field's type

    others = [request(tap="fc"), request(pool="flat"), request(protocol="knn@2"), request(evaluator=linear)]
    assert record.missing([request(), *others]) == others


def test_missing_skips_requests_that_do_not_apply() -> None:
    request = ScoreRequest(
        tap="layer4", pool="flat", evaluator=Item(name="linear", label="linear"), protocol="linear@1"
    )
    refused = {**request.key(), "reason": "one class only"}
    assert sample_record().missing([request]) == [request]
    assert sample_record(checks={"not_applicable": [refused]}).missing([request]) == []
    assert sample_record(checks={"not_applicable": [{**refused, "tap": "fc"}]}).missing([request]) == [request]


def test_later_score_replaces_an_earlier_one() -> None:
    first, second, other = sample_score(0.1), sample_score(0.2), sample_score(0.3, metric="map")
    assert list(by_score_key([first, other, second]).values()) == [second, other]
