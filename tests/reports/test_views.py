"""Two more ways to look at the same scores: along an encoder's depth, and against what training cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.records.record import Record, write_record
from benchmark.reports import by_tap, pareto
from benchmark.reports.table import Table


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def _deep(
    method: str, values: dict[str, float], encoder: str = "blocknet", seed: int | None = 0, **words: Any
) -> Record:
    scores = tuple(sample_score(value, tap=tap) for tap, value in values.items())
    record = sample_record(method, encoder, seed=seed, scores=scores, **words)
    return dataclasses.replace(record, cell={**record.cell, "image_shape": [3, 32, 32]})


def _column(table: Table, name: str) -> list[str]:
    return [row[table.columns.index(name)] for row in table.rows]


# --- depth ------------------------------------------------------------------------------------------------------------


def test_taps_stand_in_the_encoders_depth_order_however_the_scores_came(catalog: Catalog, tmp_path: Path) -> None:
    record = _deep("aet", {"conv2": 0.6, "conv4": 0.4, "conv1": 0.5, "conv3": 0.55})
    (table,) = by_tap.tap_tables([record], catalog, tmp_path)
    assert table.columns == ("method", "encoder", "best tap", "epochs", "seeds", "conv1", "conv2", "conv3", "conv4")
    assert [text.partition(" ")[0] for text in table.rows[0][5:]] == ["0.5000", "0.6000", "0.5500", "0.4000"]


def test_an_encoder_that_is_not_installed_keeps_the_order_of_its_scores(catalog: Catalog, tmp_path: Path) -> None:
    (table,) = by_tap.tap_tables([_deep("aet", {"low": 0.6, "deep": 0.4}, encoder="strange")], catalog, tmp_path)
    assert table.columns[5:] == ("low", "deep")


def test_the_best_tap_of_each_row_is_named_and_bold_and_a_note_says_by_what_it_was_chosen(
    catalog: Catalog, tmp_path: Path
) -> None:
    records = [_deep("aet", {"conv1": 0.5, "conv2": 0.625}), _deep("dim", {"conv1": 0.75, "conv2": 0.25})]
    (table,) = by_tap.tap_tables(records, catalog, tmp_path)
    assert _column(table, "method") == ["dim", "aet"]
    assert _column(table, "best tap") == ["conv1", "conv2"]
    assert table.best == {(0, 5), (1, 6)}
    assert any("chosen on test images" in note for note in table.notes)


def test_where_less_is_better_the_best_tap_is_the_lowest(catalog: Catalog, tmp_path: Path) -> None:
    scores = tuple(
        sample_score(value, tap=tap, metric="error", higher_is_better=False)
        for tap, value in (("conv1", 0.25), ("conv2", 0.5))
    )
    (table,) = by_tap.tap_tables([sample_record(encoder="blocknet", scores=scores)], catalog, tmp_path)
    assert _column(table, "best tap") == ["conv1"]


def test_a_tap_that_a_row_lacks_is_missing(catalog: Catalog, tmp_path: Path) -> None:
    records = [_deep("aet", {"conv1": 0.5, "conv2": 0.6}), _deep("dim", {"conv2": 0.25})]
    (table,) = by_tap.tap_tables(records, catalog, tmp_path)
    assert _column(table, "conv1") == ["0.5000 [0.375, 0.625]", "missing"]


def test_encoders_of_other_taps_have_tables_of_their_own_and_pixels_are_a_level(
    catalog: Catalog, tmp_path: Path
) -> None:
    records = [
        _deep("aet", {"conv1": 0.5, "conv2": 0.6}),
        _deep("aet", {"layer1": 0.5, "layer2": 0.6}, encoder="resnet18"),
        _deep("aet", {"fc": 0.5}, encoder="dim_conv"),
        _deep("pixels", {"pixels": 0.25}, encoder="-", seed=None),
    ]
    first, second = by_tap.tap_tables(records, catalog, tmp_path)
    assert (_column(first, "encoder"), _column(second, "encoder")) == (["blocknet"], ["resnet18"])
    for table in (first, second):
        assert table.notes[0] == "pixels, which has no depth: 0.2500 [0.125, 0.375]."
        assert table.notes[1].startswith("One tap only, so no curve: dim_conv;")


def test_seeds_are_averaged_at_each_tap(catalog: Catalog, tmp_path: Path) -> None:
    records = [_deep("aet", {"conv1": 0.25 + 0.25 * seed, "conv2": 0.5}, seed=seed) for seed in range(2)]
    (table,) = by_tap.tap_tables(records, catalog, tmp_path)
    assert table.rows[0][3:] == ("6", "2", "0.3750 ±0.1768", "0.5000 ±0.0000")


def test_a_smoke_run_has_no_best_tap(catalog: Catalog, tmp_path: Path) -> None:
    (table,) = by_tap.tap_tables([_deep("aet", {"conv1": 0.5, "conv2": 0.6}, state="smoke")], catalog, tmp_path)
    assert (_column(table, "best tap"), table.best) == (["-"], frozenset())


def test_depth_by_the_command_line_reads_the_order_from_a_record(bench: Bench, tmp_path: Path) -> None:
    write_record(tmp_path / "runs" / "a", _deep("aet", {"conv4": 0.6, "conv1": 0.5}))
    result = bench("table", "runs", "--by", "tap")
    assert result.exit_code == 0
    heads = next(line for line in result.output.splitlines() if "best tap" in line).split()
    assert heads[-2:] == ["conv1", "conv4"]


# --- cost -------------------------------------------------------------------------------------------------------------


def _cost(method: str, value: float, seconds: float | None, seed: int = 0, **words: Any) -> Record:
    cost = {"train_seconds": seconds, "images_seen": words.pop("images", 8448), "peak_memory_bytes": 748_044_288}
    return sample_record(method, seed=seed, scores=(sample_score(value),), cost=cost, **words)


def test_rows_are_sorted_by_cost_and_what_no_other_beats_at_both_ends_is_marked() -> None:
    records = [
        _cost("slow", 0.9, 100.0),
        _cost("wasteful", 0.5, 50.0),
        _cost("cheap", 0.5, 10.0),
        _cost("middle", 0.75, 60.0),
        _cost("worse", 0.4, 10.0),
    ]
    (table,) = pareto.pareto_tables(records)
    assert _column(table, "method") == ["cheap", "worse", "wasteful", "middle", "slow"]
    assert _column(table, "pareto") == ["*", "", "", "*", "*"]
    assert _column(table, "train seconds") == ["10.0", "10.0", "50.0", "60.0", "100.0"]
    assert set(_column(table, "images seen")) == {"8448"}
    assert set(_column(table, "peak memory")) == {"748 MB"}


def test_equals_in_both_are_both_in_the_set() -> None:
    (table,) = pareto.pareto_tables([_cost("aet", 0.5, 10.0), _cost("dim", 0.5, 10.0)])
    assert _column(table, "pareto") == ["*", "*"]


def test_seconds_of_another_device_beat_nothing() -> None:
    on_gpu = {"device": "cuda", "device_name": "NVIDIA H100", "versions": {"method": 1, "encoder": 1, "dataset": 1}}
    (table,) = pareto.pareto_tables([_cost("aet", 0.5, 10.0), _cost("dim", 0.75, 1.0, provenance=on_gpu)])
    assert _column(table, "device") == ["NVIDIA H100", "cpu"]
    assert _column(table, "pareto") == ["*", "*"]


def test_what_was_not_trained_is_compared_with_every_device() -> None:
    on_gpu = {"device": "cuda", "device_name": "NVIDIA H100", "versions": {"method": 1, "encoder": 1, "dataset": 1}}
    (table,) = pareto.pareto_tables(
        [_cost("dim", 0.5, 1.0, provenance=on_gpu), _cost("untrained", 0.75, 0.0, images=0)]
    )
    assert _column(table, "device") == ["-", "NVIDIA H100"]
    assert _column(table, "pareto") == ["*", ""]


def test_cost_is_the_mean_over_seeds_and_unknown_where_one_does_not_say() -> None:
    known = [_cost("aet", 0.5, 10.0 + 20 * seed, seed=seed) for seed in range(2)]
    unknown = [_cost("dim", 0.9, 10.0), _cost("dim", 0.9, None, seed=1)]
    (table,) = pareto.pareto_tables([*known, *unknown])
    assert _column(table, "train seconds") == ["20.0", "missing"]
    assert _column(table, "pareto") == ["*", ""]


def test_where_less_is_better_the_lower_score_wins() -> None:
    records = [_cost("aet", 0.5, 20.0), _cost("dim", 0.25, 10.0)]
    records = [
        dataclasses.replace(r, scores=(dataclasses.replace(r.scores[0], metric="error", higher_is_better=False),))
        for r in records
    ]
    (table,) = pareto.pareto_tables(records)
    assert _column(table, "pareto") == ["*", ""]


def test_a_smoke_run_is_no_member() -> None:
    (table,) = pareto.pareto_tables([_cost("aet", 0.9, 1.0, state="smoke"), _cost("dim", 0.5, 2.0)])
    assert _column(table, "pareto") == ["", "*"]


def test_views_are_asked_for_one_at_a_time_and_as_tables(bench: Bench, tmp_path: Path) -> None:
    write_record(tmp_path / "runs" / "a", _cost("aet", 0.5, 10.0))
    assert "pareto" in bench("table", "runs", "--sort", "cost", "--format", "md").output
    for words in (
        ["--by", "tap", "--sort", "cost"],
        ["--by", "tap", "--format", "csv"],
        ["--sort", "cost", "--expected"],
    ):
        result = bench("table", "runs", *words)
        assert (result.exit_code, "choose one" in result.output) == (2, True), words


def test_marks_of_every_row_are_told_once_in_both_views(catalog: Catalog, tmp_path: Path) -> None:
    checks = {"trained": True, "overlap": {"exact": 1, "near": 2, "of": 8}}
    records = [_deep(m, {"conv1": 0.5, "conv2": 0.6}, checks=checks) for m in ("aet", "dim")]
    for table in (*by_tap.tap_tables(records, catalog, tmp_path), *pareto.pareto_tables(records)):
        assert "remarks" not in table.columns
        assert sum("All rows, overlap 1+2/8." in note for note in table.notes) == 1
    records[0] = dataclasses.replace(records[0], checks={**checks, "labels_unseen": False})
    for table in (*by_tap.tap_tables(records, catalog, tmp_path), *pareto.pareto_tables(records)):
        assert {row[0]: row[-1] for row in table.rows} == {"aet": "saw labels", "dim": ""}
