"""Scores against the cost of training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sample_records import column_of, sample_record, sample_score

from benchmark.records.record import Record
from benchmark.reports.pareto import cost_report
from benchmark.reports.table import Table


def _tables(records: Sequence[Record]) -> list[Table]:
    return list(cost_report(records).tables())


def _cost(method: str, value: float, seconds: float | None, seed: int = 0, **words: Any) -> Record:
    cost = {"train_seconds": seconds, "images_seen": words.pop("images", 8448), "peak_memory_bytes": 748_044_288}
    return sample_record(method, seed=seed, scores=(sample_score(value),), cost=cost, **words)


def test_rows_are_sorted_by_cost_and_the_pareto_set_is_marked() -> None:
    records = [
        _cost("slow", 0.9, 100.0),
        _cost("wasteful", 0.5, 50.0),
        _cost("cheap", 0.5, 10.0),
        _cost("middle", 0.75, 60.0),
        _cost("worse", 0.4, 10.0),
    ]
    (table,) = _tables(records)
    assert column_of(table, "method") == ["cheap", "worse", "wasteful", "middle", "slow"]
    assert column_of(table, "pareto") == ["*", "", "", "*", "*"]
    assert column_of(table, "train seconds") == ["10.0", "10.0", "50.0", "60.0", "100.0"]
    assert set(column_of(table, "images seen")) == {"8448"}
    assert set(column_of(table, "peak memory")) == {"748 MB"}


def test_equal_rows_are_both_in_the_pareto_set() -> None:
    (table,) = _tables([_cost("aet", 0.5, 10.0), _cost("dim", 0.5, 10.0)])
    assert column_of(table, "pareto") == ["*", "*"]


def test_rows_of_other_devices_do_not_dominate() -> None:
    on_gpu = {"device": "cuda", "device_name": "NVIDIA H100", "versions": {"method": 1, "encoder": 1, "dataset": 1}}
    (table,) = _tables([_cost("aet", 0.5, 10.0), _cost("dim", 0.75, 1.0, provenance=on_gpu)])
    assert column_of(table, "device") == ["NVIDIA H100", "cpu"]
    assert column_of(table, "pareto") == ["*", "*"]


def test_untrained_method_is_compared_with_every_device() -> None:
    on_gpu = {"device": "cuda", "device_name": "NVIDIA H100", "versions": {"method": 1, "encoder": 1, "dataset": 1}}
    (table,) = _tables([_cost("dim", 0.5, 1.0, provenance=on_gpu), _cost("untrained", 0.75, 0.0, images=0)])
    assert column_of(table, "device") == ["-", "NVIDIA H100"]
    assert column_of(table, "pareto") == ["*", ""]


def test_cost_is_the_mean_over_seeds_or_missing() -> None:
    known = [_cost("aet", 0.5, 10.0 + 20 * seed, seed=seed) for seed in range(2)]
    unknown = [_cost("dim", 0.9, 10.0), _cost("dim", 0.9, None, seed=1)]
    (table,) = _tables([*known, *unknown])
    assert column_of(table, "train seconds") == ["20.0", "missing"]
    assert column_of(table, "pareto") == ["*", ""]


def test_lower_score_dominates_if_lower_is_better() -> None:
    records = [_cost("aet", 0.5, 20.0), _cost("dim", 0.25, 10.0)]
    records = [
        dataclasses.replace(r, scores=(dataclasses.replace(r.scores[0], metric="error", higher_is_better=False),))
        for r in records
    ]
    (table,) = _tables(records)
    assert column_of(table, "pareto") == ["*", ""]


def test_smoke_run_is_not_in_the_pareto_set() -> None:
    (table,) = _tables([_cost("aet", 0.9, 1.0, state="smoke"), _cost("dim", 0.5, 2.0)])
    assert column_of(table, "pareto") == ["", "*"]


def test_caveat_of_all_rows_is_stated_once() -> None:
    checks = {"trained": True, "overlap": {"exact": 1, "near": 2, "of": 8}}
    records = [_cost("aet", 0.5, 10.0, checks=checks), _cost("dim", 0.6, 20.0, checks=checks)]
    (table,) = _tables(records)
    assert "remarks" not in table.columns
    assert sum("All rows, overlap 1+2/8." in note for note in table.notes) == 1


def test_frame_holds_raw_costs_and_the_pareto_set() -> None:
    frame = cost_report([_cost("aet", 0.5, 10.0), _cost("dim", 0.25, 20.0)]).frame()
    assert frame[["method", "train_seconds", "images_seen", "pareto"]].values.tolist() == [
        ["aet", 10.0, 8448, True],
        ["dim", 20.0, 8448, False],
    ]
