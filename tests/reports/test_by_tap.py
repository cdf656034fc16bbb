"""Scores along an encoder's depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conftest import Bench
from sample_records import column_of, sample_record, sample_score

from benchmark.api.catalog import Catalog
from benchmark.records.record import Record
from benchmark.records.record_files import write_record
from benchmark.reports.by_tap import tap_report
from benchmark.reports.table import Table


def _deep(
    method: str, values: dict[str, float], encoder: str = "blocknet", seed: int | None = 0, **words: Any
) -> Record:
    scores = tuple(sample_score(value, tap=tap) for tap, value in values.items())
    record = sample_record(method, encoder, seed=seed, scores=scores, **words)
    return dataclasses.replace(record, cell={**record.cell, "image_shape": [3, 32, 32]})


def _tables(records: Sequence[Record], catalog: Catalog, out: Path) -> list[Table]:
    return list(tap_report(records, catalog, out).tables())


def test_taps_are_in_depth_order(catalog: Catalog, tmp_path: Path) -> None:
    record = _deep("aet", {"conv2": 0.6, "conv4": 0.4, "conv1": 0.5, "conv3": 0.55})
    (table,) = _tables([record], catalog, tmp_path)
    assert table.columns == ("method", "encoder", "best tap", "epochs", "seeds", "conv1", "conv2", "conv3", "conv4")
    assert [text.partition(" ")[0] for text in table.rows[0][5:]] == ["0.5000", "0.6000", "0.5500", "0.4000"]


def test_taps_of_an_unknown_encoder_keep_their_order(catalog: Catalog, tmp_path: Path) -> None:
    (table,) = _tables([_deep("aet", {"low": 0.6, "deep": 0.4}, encoder="strange")], catalog, tmp_path)
    assert table.columns[5:] == ("low", "deep")


def test_best_tap_is_named_and_bold_with_a_note(catalog: Catalog, tmp_path: Path) -> None:
    records = [_deep("aet", {"conv1": 0.5, "conv2": 0.625}), _deep("dim", {"conv1": 0.75, "conv2": 0.25})]
    (table,) = _tables(records, catalog, tmp_path)
    assert column_of(table, "method") == ["dim", "aet"]
    assert column_of(table, "best tap") == ["conv1", "conv2"]
    assert table.best == {(0, 5), (1, 6)}
    assert any("selected on test images" in note for note in table.notes)


def test_best_tap_is_the_lowest_if_lower_is_better(catalog: Catalog, tmp_path: Path) -> None:
    scores = tuple(
        sample_score(value, tap=tap, metric="error", higher_is_better=False)
        for tap, value in (("conv1", 0.25), ("conv2", 0.5))
    )
    (table,) = _tables([sample_record(encoder="blocknet", scores=scores)], catalog, tmp_path)
    assert column_of(table, "best tap") == ["conv1"]


def test_absent_tap_is_missing(catalog: Catalog, tmp_path: Path) -> None:
    records = [_deep("aet", {"conv1": 0.5, "conv2": 0.6}), _deep("dim", {"conv2": 0.25})]
    (table,) = _tables(records, catalog, tmp_path)
    assert column_of(table, "conv1") == ["0.5000 [0.375, 0.625]", "missing"]


def test_encoders_with_other_taps_have_separate_tables(catalog: Catalog, tmp_path: Path) -> None:
    records = [
        _deep("aet", {"conv1": 0.5, "conv2": 0.6}),
        _deep("aet", {"layer1": 0.5, "layer2": 0.6}, encoder="resnet18"),
        _deep("aet", {"fc": 0.5}, encoder="dim_conv"),
        _deep("pixels", {"pixels": 0.25}, encoder="-", seed=None),
    ]
    first, second = _tables(records, catalog, tmp_path)
    assert (column_of(first, "encoder"), column_of(second, "encoder")) == (["blocknet"], ["resnet18"])
    for table in (first, second):
        assert table.notes[0] == "pixels (no depth): 0.2500 [0.125, 0.375]."
        assert table.notes[1].startswith("Scored at one tap only: dim_conv.")


def test_seeds_are_averaged_at_each_tap(catalog: Catalog, tmp_path: Path) -> None:
    records = [_deep("aet", {"conv1": 0.25 + 0.25 * seed, "conv2": 0.5}, seed=seed) for seed in range(2)]
    (table,) = _tables(records, catalog, tmp_path)
    assert table.rows[0][3:] == ("6", "2", "0.3750 ±0.1768", "0.5000 ±0.0000")


def test_smoke_run_has_no_best_tap(catalog: Catalog, tmp_path: Path) -> None:
    (table,) = _tables([_deep("aet", {"conv1": 0.5, "conv2": 0.6}, state="smoke")], catalog, tmp_path)
    assert (column_of(table, "best tap"), table.best) == (["-"], frozenset())


def test_command_reads_the_tap_order_from_a_record(bench: Bench, tmp_path: Path) -> None:
    write_record(tmp_path / "runs" / "a", _deep("aet", {"conv4": 0.6, "conv1": 0.5}))
    result = bench("table", "runs", "--by", "tap")
    assert result.exit_code == 0
    heads = next(line for line in result.output.splitlines() if "best tap" in line).split()
    assert heads[-2:] == ["conv1", "conv4"]


def test_caveat_of_all_rows_is_stated_once(catalog: Catalog, tmp_path: Path) -> None:
    checks = {"trained": True, "overlap": {"exact": 1, "near": 2, "of": 8}}
    records = [_deep(method, {"conv1": 0.5, "conv2": 0.6}, checks=checks) for method in ("aet", "dim")]
    (table,) = _tables(records, catalog, tmp_path)
    assert "remarks" not in table.columns
    assert sum("All rows, overlap 1+2/8." in note for note in table.notes) == 1
    records[0] = dataclasses.replace(records[0], checks={**checks, "labels_unseen": False})
    (table,) = _tables(records, catalog, tmp_path)
    assert {row[0]: row[-1] for row in table.rows} == {"aet": "saw labels", "dim": ""}


def test_frame_has_one_row_per_tap_in_depth_order(catalog: Catalog, tmp_path: Path) -> None:
    records = [_deep("aet", {"conv2": 0.6, "conv1": 0.25 + 0.25 * seed}, seed=seed) for seed in range(2)]
    frame = tap_report(records, catalog, tmp_path).frame()
    assert frame[["tap", "depth", "seeds", "value"]].values.tolist() == [["conv1", 0, 2, 0.375], ["conv2", 1, 2, 0.6]]
