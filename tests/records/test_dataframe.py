"""The columns of a leaderboard: CSV, data frame, JSON."""

from __future__ import annotations

import csv
import io
import itertools
import json

import pytest
from sample_records import sample_record, sample_score

from benchmark.records.csv_columns import NAMES
from benchmark.records.dataframe import records_csv, to_frame
from benchmark.records.record import Record
from benchmark.reports.render import render_report
from benchmark.reports.score_tables import score_report

PUBLISHED = (
    "method,encoder,dataset,seed,epochs,tap,pool,evaluator,protocol,metric,value,ci_low,ci_high,n,train_seconds,device,"
    "cell,method_params,versions,fingerprint,state,repbench_version,commit,images_seen,peak_memory_bytes,precision"
)


def _rows(records: list[Record]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(records_csv(records))))


def test_csv_columns_are_those_documented() -> None:
    assert ",".join(NAMES) == PUBLISHED
    assert records_csv([sample_record()]).splitlines()[0] == PUBLISHED
    assert records_csv([]) == PUBLISHED + "\n"


def test_csv_row_is_one_score_with_its_conditions() -> None:
    record = sample_record("aet[transform=affine]", "blocknet", "digits[subset=100]", 3)
    (row,) = _rows([record])
    assert row == {
        "method": "aet[transform=affine]",
        "encoder": "blocknet",
        "dataset": "digits[subset=100]",
        "seed": "3",
        "epochs": "6",
        "tap": "layer4",
        "pool": "average",
        "evaluator": "knn",
        "protocol": "knn@1",
        "metric": "accuracy@k=20",
        "value": "0.5",
        "ci_low": "0.375",
        "ci_high": "0.625",
        "n": "8",
        "train_seconds": "1.5",
        "device": "cpu",
        "cell": record.id[:10],
        "method_params": '{"transform": "affine"}',
        "versions": "1.1.1",
        "fingerprint": "f" * 16,
        "state": "done",
        "repbench_version": "0.1.0",
        "commit": "0123456789",
        "images_seen": "8622",
        "peak_memory_bytes": "",
        "precision": "",
    }


def test_csv_values_are_raw_fractions_with_six_digits() -> None:
    record = sample_record(scores=(sample_score(2 / 3, ci_low=None, ci_high=None),))
    (row,) = _rows([record])
    assert (row["value"], row["ci_low"], row["ci_high"]) == ("0.666667", "", "")


def test_csv_integers_stay_integers_beside_a_missing_seed() -> None:
    rows = _rows([sample_record("pixels", "-", seed=None, recipe={"epochs": 0}), sample_record(seed=12)])
    assert [(row["method"], row["seed"], row["epochs"], row["n"]) for row in rows] == [
        ("aet", "12", "6", "8"),
        ("pixels", "", "0", "8"),
    ]


def test_csv_names_the_gpu_and_marks_a_modified_commit() -> None:
    provenance = {"device": "cuda", "device_name": "NVIDIA A100", "commit": "0123456789abcdef", "dirty": True}
    (row,) = _rows([sample_record(provenance=provenance)])
    assert (row["device"], row["commit"]) == ("NVIDIA A100", "0123456789+")


def test_csv_state_marks_failed_to_learn_and_smoke() -> None:
    failed = sample_record("dim", checks={"trained": True, "failed_to_learn": True})
    smoke = sample_record("rotation", state="smoke")
    assert [row["state"] for row in _rows([sample_record(), failed, smoke])] == ["done", "did not learn", "smoke"]


def _many() -> list[Record]:
    scores = tuple(
        sample_score(value, metric=metric, tap=tap, evaluator=evaluator, protocol=f"{evaluator}@1")
        for value, (metric, tap, evaluator) in enumerate(
            itertools.product(("map", "accuracy"), ("layer4", "layer1"), ("knn", "linear"))
        )
    )
    return [
        sample_record(method, encoder, dataset, seed, scores=scores, recipe={"epochs": epochs})
        for method, encoder, dataset, seed, epochs in itertools.product(
            ("dim", "aet"), ("resnet18",), ("digits", "cifar10"), (10, 9, None), (20, 3)
        )
    ]


def test_csv_rows_are_sorted_with_numbers_by_value() -> None:
    rows = _rows(_many())
    keys = [
        (
            row["dataset"],
            row["method"],
            row["encoder"],
            int(row["epochs"]),
            int(row["seed"] or -1),
            row["evaluator"],
            row["tap"],
            row["metric"],
        )
        for row in rows
    ]
    assert keys == sorted(keys)
    assert len(rows) == 2 * 2 * 3 * 2 * 8


def test_csv_bytes_do_not_depend_on_record_order() -> None:
    assert records_csv(_many()) == records_csv(_many()[::-1])
    assert "\r" not in records_csv(_many())


def test_frame_keeps_all_digits() -> None:
    assert to_frame([sample_record(scores=(sample_score(1 / 3),))])["value"].item() == 1 / 3


def test_records_without_scores_give_no_row() -> None:
    assert records_csv([sample_record(scores=(), state="failed")]) == PUBLISHED + "\n"


def test_json_has_the_csv_columns_with_raw_numbers_and_nulls() -> None:
    score = sample_score(1 / 3, ci_low=None, ci_high=None)
    records = [sample_record("pixels", seed=None, scores=(score,)), sample_record(seed=2)]
    first, second = json.loads(render_report(score_report(records), "json"))
    assert tuple(first) == NAMES
    assert (first["method"], first["seed"], first["value"]) == ("aet", 2, 0.5)
    assert (second["method"], second["seed"], second["ci_low"]) == ("pixels", None, None)
    assert second["value"] == pytest.approx(1 / 3, abs=1e-15)
    assert json.loads(render_report(score_report([]), "json")) == []
