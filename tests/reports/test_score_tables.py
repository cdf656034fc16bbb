"""Tables: raw numbers for machines, honest ones for people."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import random
import re
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from sample_records import sample_record, sample_score

from benchmark.records.dataframe import CSV_COLUMNS, records_as_json, to_frame, write_csv
from benchmark.records.record import Record
from benchmark.reports import terminal as formats
from benchmark.reports.render import render
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import MissingCell, Table

PUBLISHED = (
    "method,encoder,dataset,seed,epochs,tap,pool,evaluator,protocol,metric,value,ci_low,ci_high,n,train_seconds,device,"
    "cell,method_params,versions,fingerprint,state,repbench_version,commit,images_seen,peak_memory_bytes,precision"
)


def _rows(records: list[Record]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(write_csv(records))))


def _seeds(values: list[float], method: str = "aet", **changes: Any) -> list[Record]:
    return [
        sample_record(method, seed=seed, scores=(sample_score(value, **changes),)) for seed, value in enumerate(values)
    ]


def _cells(table: Table, column: str) -> list[str]:
    return [row[table.columns.index(column)] for row in table.rows]


def _missing(**changes: Any) -> MissingCell:
    fields: dict[str, Any] = {
        "method": "dim",
        "encoder": "resnet18",
        "dataset": "digits",
        "seed": 1,
        "reason": "failed: NaN in step 3",
    }
    return MissingCell(**{**fields, **changes})


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_the_columns_are_those_published_in_that_order() -> None:
    assert ",".join(CSV_COLUMNS) == PUBLISHED
    assert write_csv([sample_record()]).splitlines()[0] == PUBLISHED
    assert write_csv([]) == PUBLISHED + "\n"


def test_a_row_holds_one_score_with_all_its_conditions() -> None:
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


def test_values_are_raw_fractions_to_six_digits() -> None:
    record = sample_record(scores=(sample_score(2 / 3, ci_low=None, ci_high=None),))
    (row,) = _rows([record])
    assert (row["value"], row["ci_low"], row["ci_high"]) == ("0.666667", "", "")


def test_seeds_and_counts_stay_whole_beside_a_cell_without_a_seed() -> None:
    rows = _rows([sample_record("pixels", "-", seed=None, recipe={"epochs": 0}), sample_record(seed=12)])
    assert [(row["method"], row["seed"], row["epochs"], row["n"]) for row in rows] == [
        ("aet", "12", "6", "8"),
        ("pixels", "", "0", "8"),
    ]


def test_a_gpu_is_shown_by_name_and_a_dirty_commit_by_a_plus() -> None:
    provenance = {"device": "cuda", "device_name": "NVIDIA A100", "commit": "0123456789abcdef", "dirty": True}
    (row,) = _rows([sample_record(provenance=provenance)])
    assert (row["device"], row["commit"]) == ("NVIDIA A100", "0123456789+")


def test_a_method_that_did_not_learn_and_a_smoke_run_say_so() -> None:
    dull = sample_record("dim", checks={"trained": True, "learned": False})
    smoke = sample_record("rotation", state="smoke")
    assert [row["state"] for row in _rows([sample_record(), dull, smoke])] == ["done", "did not learn", "smoke"]


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


def test_rows_are_sorted_by_what_they_are_and_numbers_by_size() -> None:
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


def test_the_same_records_give_the_same_bytes_in_whatever_order() -> None:
    assert write_csv(_many()) == write_csv(_many()[::-1])
    assert "\r" not in write_csv(_many())


def test_the_frame_keeps_more_digits_than_the_csv() -> None:
    assert to_frame([sample_record(scores=(sample_score(1 / 3),))])["value"].item() == 1 / 3


# --- means and spreads ------------------------------------------------------------------------------------------------


def test_several_seeds_show_mean_and_standard_deviation() -> None:
    (table,) = score_tables(_seeds([0.1, 0.2, 0.6]))
    # (0.1 + 0.2 + 0.6) / 3 and sqrt((0.04 + 0.01 + 0.09) / 2), by hand
    assert _cells(table, "accuracy@k=20") == ["0.3000 ±0.2646"]
    assert statistics.stdev([0.1, 0.2, 0.6]) == pytest.approx(0.07**0.5)
    assert _cells(table, "seeds") == ["3"]
    assert table.notes == ("± is the standard deviation over seeds.",)


def test_below_three_seeds_the_table_says_so() -> None:
    (table,) = score_tables(_seeds([0.2, 0.4]))
    assert _cells(table, "accuracy@k=20") == ["0.3000 ±0.1414"]
    assert "Fewer than 3 seeds (2)" in table.notes[0]


def test_one_seed_shows_the_interval_over_test_images_of_the_headline_alone() -> None:
    scores = (sample_score(0.5), sample_score(0.25, metric="vote_accuracy@k=20", headline=False))
    (table,) = score_tables([sample_record(scores=scores)])
    assert _cells(table, "accuracy@k=20") == ["0.5000 [0.375, 0.625]"]
    assert _cells(table, "vote_accuracy@k=20") == ["0.2500"]
    assert "how much training again would change is not known" in table.notes[0]


def test_a_score_without_an_interval_shows_none() -> None:
    (table,) = score_tables([sample_record(scores=(sample_score(0.5, ci_low=None, ci_high=None),))])
    assert _cells(table, "accuracy@k=20") == ["0.5000"]


def test_a_mixture_of_one_and_several_seeds_explains_both() -> None:
    (table,) = score_tables([*_seeds([0.5, 0.6, 0.7]), sample_record("dim")])
    assert [note.partition(" ")[0] for note in table.notes] == ["±", "1"]


def test_a_cell_without_chance_has_no_number_of_seeds() -> None:
    (table,) = score_tables([sample_record("pixels", "-", seed=None)])
    assert _cells(table, "seeds") == ["-"]
    assert table.notes == ("Without seeds: [ ] is the 95 % interval over test images.",)


def test_other_recipes_taps_and_encoders_are_rows_of_their_own() -> None:
    records = [
        sample_record(),
        sample_record(recipe={"epochs": 40}),
        sample_record(encoder="blocknet"),
        sample_record(seed=1, scores=(sample_score(tap="layer3"), sample_score())),
    ]
    (table,) = score_tables(records)
    assert sorted(zip(_cells(table, "encoder"), _cells(table, "tap"), _cells(table, "epochs"), strict=True)) == [
        ("blocknet", "layer4", "6"),
        ("resnet18", "layer3", "6"),
        ("resnet18", "layer4", "40"),
        ("resnet18", "layer4", "6"),
    ]
    assert sorted(_cells(table, "seeds")) == ["1", "1", "1", "2"]


def _with(record: Record, kind: str, **changes: Any) -> Record:
    cell = {**record.cell, kind: {**record.cell[kind], **changes}}
    return dataclasses.replace(record, cell=cell, id=f"{changes}"[::-1] + record.id)


@pytest.mark.parametrize(
    "other",
    [
        _with(sample_record(seed=1), "dataset", fingerprint="e" * 64),
        _with(sample_record(seed=1), "method", params={"transform": "affine"}),
        _with(sample_record(seed=1), "encoder", params={"stem": "large"}),
        sample_record(seed=1, state="smoke"),
        sample_record(seed=1, provenance={"versions": {"method": 2, "encoder": 1, "dataset": 1}}),
    ],
    ids=["images that changed", "a default that changed", "an encoder's default", "a smoke run", "another version"],
)
def test_what_looks_alike_but_is_not_is_never_averaged(other: Record) -> None:
    (table,) = score_tables([sample_record(), other])
    assert _cells(table, "seeds") == ["1", "1"]


def test_other_datasets_evaluators_pools_and_protocols_are_tables_of_their_own() -> None:
    scores = (
        sample_score(),
        sample_score(pool="flat"),
        sample_score(evaluator="linear", protocol="linear@1", metric="accuracy"),
        sample_score(protocol="knn@2"),
    )
    found = score_tables([sample_record(scores=scores), sample_record(dataset="cifar10")])
    assert [table.title for table in found] == [
        "knn on digits (knn@1, n = 8 test images)",
        "knn on digits (knn@1, flat features, n = 8 test images)",
        "linear on digits (linear@1, n = 8 test images)",
        "knn on digits (knn@2, n = 8 test images)",
        "knn on cifar10 (knn@1, n = 8 test images)",
    ]


def _at_random(chance: random.Random) -> list[Record]:
    """Cells with values on a grid and off it, scored here and there."""
    kinds = list(itertools.product(("layer1", "layer4"), ("average", "flat"), ("knn", "linear"), ("accuracy", "map")))
    found = []
    for method, dataset, seed in itertools.product(("aet", "dim"), ("digits", "photos"), range(chance.randint(1, 6))):
        scores = tuple(
            sample_score(
                chance.choice([0.25, 0.2501, 0.1, chance.random(), chance.randrange(361) / 360]),
                tap=tap,
                pool=pool,
                evaluator=evaluator,
                protocol=f"{evaluator}@1",
                metric=metric,
                ci_low=None if chance.random() < 0.3 else 0.0625,
            )
            for tap, pool, evaluator, metric in chance.sample(kinds, chance.randint(1, len(kinds)))
        )
        found.append(sample_record(method, dataset=dataset, seed=seed, scores=scores))
    return found


def _plainly(table: Table, row: tuple[str, ...], metric: str, records: list[Record]) -> str:
    """What stands in a table, by going through all records and asking the statistics module."""
    method, _, tap, *_ = row
    evaluator, dataset = table.title.split()[0], table.title.split()[2]
    pool = "flat" if "flat features" in table.title else "average"
    scores = [
        score
        for record in records
        for score in record.scores
        if (record.cell["method"]["label"], record.cell["dataset"]["label"]) == (method, dataset)
        and (score.tap, score.pool, score.evaluator, score.metric) == (tap, pool, evaluator, metric)
    ]
    if not scores:
        return "missing"
    values = [score.value for score in scores]
    if len(values) > 1:
        return f"{statistics.fmean(values):.4f} ±{statistics.stdev(values):.4f}"
    if metric == table.columns[5] and scores[0].ci_low is not None and scores[0].ci_high is not None:
        return f"{values[0]:.4f} [{scores[0].ci_low:.3f}, {scores[0].ci_high:.3f}]"
    return f"{values[0]:.4f}"


@pytest.mark.parametrize("number", range(12))
def test_every_number_is_what_a_search_through_all_scores_gives(number: int) -> None:
    records = _at_random(random.Random(number))
    found = score_tables(records)
    assert found
    for table in found:
        for row in table.rows:
            for place, metric in enumerate(table.columns[5:], start=5):
                assert row[place] == _plainly(table, row, metric, records)


@pytest.mark.parametrize(
    "values", [[0.5, 0.5, 0.5], [0.0, 0.0001, 0.0002], [0.1, 0.10005, 0.1001], [0.1, 0.1 + 2**-40]]
)
def test_a_deviation_that_lies_between_two_digits_is_rounded_as_the_exact_one(values: list[float]) -> None:
    (table,) = score_tables(_seeds(values))
    assert _cells(table, "accuracy@k=20") == [f"{statistics.fmean(values):.4f} ±{statistics.stdev(values):.4f}"]


class _Counted(tuple[Any, ...]):
    """Scores that count how often they are gone through."""

    rounds = 0

    def __iter__(self) -> Iterator[Any]:
        self.rounds += 1
        return super().__iter__()


def test_more_tables_go_through_a_records_scores_no_more_often() -> None:
    rounds = []
    for evaluators in (1, 30):
        scores = _Counted(sample_score(evaluator=f"knn[k={n}]", protocol="knn@1") for n in range(evaluators))
        records = [sample_record(seed=seed, scores=scores) for seed in range(5)]
        scores.rounds = 0
        assert len(score_tables(records)) == evaluators
        assert len(write_csv(records).splitlines()) == 1 + 5 * evaluators
        rounds.append(scores.rounds)
    assert rounds[0] == rounds[1] > 0


# --- order and winners ------------------------------------------------------------------------------------------------


def test_the_best_headline_stands_first() -> None:
    (table,) = score_tables([*_seeds([0.2], "aet"), *_seeds([0.6], "dim"), *_seeds([0.4], "rotation")])
    assert _cells(table, "method") == ["dim", "rotation", "aet"]


def test_where_less_is_better_the_least_stands_first_and_is_marked() -> None:
    records = [
        *_seeds([0.2, 0.3], "aet", metric="error", higher_is_better=False),
        *_seeds([0.6, 0.7], "dim", metric="error", higher_is_better=False),
    ]
    (table,) = score_tables(records)
    assert _cells(table, "method") == ["aet", "dim"]
    assert table.best == {(0, 5)}


def test_the_best_mean_of_each_column_is_marked() -> None:
    def seeds(method: str, accuracy: float, mean_precision: float) -> list[Record]:
        scores = (sample_score(accuracy), sample_score(mean_precision, metric="map", headline=False))
        return [sample_record(method, seed=seed, scores=scores) for seed in range(2)]

    (table,) = score_tables([*seeds("aet", 0.5, 0.3), *seeds("dim", 0.4, 0.6)])
    assert _cells(table, "method") == ["aet", "dim"]
    assert table.columns[5:7] == ("accuracy@k=20", "map")
    assert table.best == {(0, 5), (1, 6)}


def test_equals_are_both_the_best() -> None:
    (table,) = score_tables([*_seeds([0.5, 0.5], "aet"), *_seeds([0.5, 0.5], "dim"), *_seeds([0.1, 0.1], "rotation")])
    assert table.best == {(0, 5), (1, 5)}


def test_one_run_proves_no_winner() -> None:
    (table,) = score_tables([*_seeds([0.5], "aet"), *_seeds([0.9], "dim")])
    assert not table.best
    (table,) = score_tables([*_seeds([0.5, 0.5], "aet"), *_seeds([0.9], "dim")])
    assert not table.best
    (table,) = score_tables(_seeds([0.5, 0.5], "aet"))
    assert not table.best, "alone in its column"


def test_a_smoke_run_is_marked_and_never_the_best() -> None:
    smoke = [dataclasses.replace(record, state="smoke") for record in _seeds([0.9, 0.9], "dim")]
    (table,) = score_tables([*_seeds([0.5, 0.5], "aet"), *_seeds([0.1, 0.1], "rotation"), *smoke])
    assert _cells(table, "method") == ["dim", "aet", "rotation"]
    assert _cells(table, "remarks") == ["smoke: no result", "", ""]
    assert table.best == {(1, 5)}


# --- what is missing --------------------------------------------------------------------------------------------------


def test_a_failed_cell_has_a_row_with_its_reason_and_is_not_averaged() -> None:
    (table,) = score_tables(_seeds([0.2, 0.4]), [_missing()])
    assert table.rows[1] == ("dim", "resnet18", "-", "-", "seed 1", "-", "failed: NaN in step 3")
    assert _cells(table, "accuracy@k=20")[0] == "0.3000 ±0.1414"


def test_a_missing_seed_is_told_beside_the_mean_of_the_others() -> None:
    (table,) = score_tables(_seeds([0.2, 0.4]), [_missing(method="aet", seed=2)])
    assert _cells(table, "seeds") == ["2", "seed 2"]


def test_a_row_for_what_is_missing_stands_in_every_table_of_its_dataset_only() -> None:
    scores = (sample_score(), sample_score(evaluator="linear", protocol="linear@1"))
    records = [sample_record(scores=scores), sample_record(dataset="cifar10")]
    found = score_tables(records, [_missing(seed=None, reason="skipped: too small")])
    assert ["dim" in _cells(table, "method") for table in found] == [True, True, False]
    assert _cells(found[0], "seeds") == ["1", "-"]


def test_a_dataset_on_which_everything_failed_still_has_a_table() -> None:
    found = score_tables([sample_record()], [_missing(dataset="cifar10"), _missing(dataset="cifar10", seed=2)])
    assert [table.title for table in found][1:] == ["no scores on cifar10"]
    assert _cells(found[1], "seeds") == ["seed 1", "seed 2"]
    assert score_tables([], [_missing()])[0].rows == (("dim", "resnet18", "seed 1", "failed: NaN in step 3"),)
    assert "failed: NaN in step 3" in render(score_tables([], [_missing()]), "table")


def test_a_score_that_failed_where_others_were_had_is_told_in_both_tables() -> None:
    whole = sample_record(scores=(sample_score(), sample_score(evaluator="linear", protocol="linear@1")))
    failure = {"stage": "evaluate linear", "reason": "did not\nconverge", "traceback": ""}
    half = sample_record("dim", scores=(sample_score(0.25),), failure=failure)
    knn, linear = score_tables([whole, half])
    assert _cells(knn, "remarks") == ["", "not all scores: did not converge"]
    assert linear.rows[1][:2] == ("dim", "resnet18")
    assert linear.rows[1][-2:] == ("-", "did not converge")


def test_a_metric_that_a_row_lacks_is_missing_not_zero() -> None:
    both = (sample_score(), sample_score(0.25, metric="map", headline=False))
    (table,) = score_tables([sample_record(scores=both), sample_record("dim")])
    assert _cells(table, "map") == ["0.2500", "missing"]


def test_what_did_not_learn_is_marked_and_counted() -> None:
    dull = {"learned": False}
    records = _seeds([0.1, 0.1, 0.1])
    one = [dataclasses.replace(records[0], checks=dull), *records[1:]]
    assert _cells(score_tables(one)[0], "remarks") == ["1 of 3 did not learn"]
    every = [dataclasses.replace(record, checks=dull) for record in records]
    assert _cells(score_tables(every)[0], "remarks") == ["did not learn"]


def test_without_a_remark_there_is_no_column_of_them() -> None:
    assert "remarks" not in score_tables([sample_record()])[0].columns


def test_records_without_scores_make_no_table_and_no_row() -> None:
    failed = sample_record(scores=(), state="failed")
    assert score_tables([failed]) == []
    assert write_csv([failed]) == PUBLISHED + "\n"


def test_a_wide_evaluator_shows_its_headline_first_and_then_what_is_nearest() -> None:
    names = ["map", "recall@k=1", "recall@k=5", "precision@k=10", "accuracy@k=1", "accuracy@k=20", "accuracy@k=200"]
    scores = tuple(sample_score(0.5, metric=name, headline=name == "accuracy@k=20") for name in names)
    (table,) = score_tables([sample_record(scores=scores)])
    assert table.columns[5:] == ("accuracy@k=20", "accuracy@k=1", "accuracy@k=200", "map", "recall@k=1")


# --- formats ----------------------------------------------------------------------------------------------------------


def _everything() -> list[Table]:
    records = [
        *_seeds([0.5, 0.6], "aet[transform=affine]"),
        *_seeds([0.3, 0.4], "dim_local"),
        sample_record("x|y", dataset="photos[subset=50]", scores=(sample_score(evaluator="knn[k=5]"),)),
    ]
    return score_tables(records, [_missing(reason="failed: 100 % | of\nit [red]here[/red] [/x]")])


def test_markdown_is_a_table_with_the_best_in_bold() -> None:
    text = render(_everything(), "md")
    lines = text.splitlines()
    assert lines[0] == "### knn on digits (knn@1, n = 8 test images)"
    assert lines[2].replace(" ", "") == "|method|encoder|tap|epochs|seeds|accuracy@k=20|remarks|"
    assert "**0.5500 ±0.0707**" in lines[4]
    assert "aet[transform=affine]" in lines[4]


def test_a_bar_or_a_line_break_in_a_text_does_not_break_markdown() -> None:
    lines = render(_everything(), "md").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == (2 + 3) + (2 + 1)
    assert {row.replace("\\|", "").count("|") for row in rows[:5]} == {8}
    assert {row.replace("\\|", "").count("|") for row in rows[5:]} == {7}
    assert "failed: 100 % \\| of it" in rows[4]


def test_latex_is_booktabs_with_special_characters_escaped_and_the_best_in_bold() -> None:
    text = render(_everything(), "latex")
    assert text.startswith("% knn on digits (knn@1, n = 8 test images)\n")
    assert text.count("\\toprule") == text.count("\\bottomrule") == 2
    assert "\\textbf{0.5500 ±0.0707}" in text
    assert "dim\\_local" in text
    assert "100 \\% " in text
    body = [line for line in text.splitlines() if "&" in line]
    assert {line.count("&") for line in body[:4]} == {6}
    assert all(line.endswith("\\\\") for line in body)


def test_a_terminal_shows_brackets_as_they_are() -> None:
    text = render(_everything(), "table")
    for words in ("aet[transform=affine]", "knn[k=5] on photos[subset=50]", "x|y", "[red]here[/red] [/x]"):
        assert words in text
    assert "\x1b" not in text


@pytest.mark.parametrize(("width", "metrics"), [(80, 1), (100, 2), (150, 5)])
def test_on_a_narrow_terminal_the_last_metrics_are_left_out_and_no_digit_is_cut(width: int, metrics: int) -> None:
    names = ["accuracy@k=20", "accuracy@k=200", "vote_accuracy@k=20", "vote_accuracy@k=1", "map"]
    scores = tuple(sample_score(0.1 + 0.01 * n, metric=name, headline=n == 0) for n, name in enumerate(names))
    records = [sample_record("aet[transform=affine]", seed=seed, scores=scores) for seed in range(2)]
    found = score_tables([*records, *(sample_record("dim", seed=seed, scores=scores) for seed in range(2))])
    text = render(found, "table", width)
    assert max(len(line) for line in text.splitlines()) <= width
    for n, name in enumerate(found[0].columns[5:]):
        assert (f"{0.1 + 0.01 * names.index(name):.4f}" in text) == (n < metrics)
        assert name in text
    assert ("Left out for lack of width" in text) == (metrics < 5)
    assert "aet[transform=affine]" in text


def test_a_table_that_cannot_be_made_to_fit_folds_its_words() -> None:
    text = render(score_tables([sample_record()]), "table", 30)
    assert max(len(line) for line in text.splitlines()) <= 30
    assert "n=8testimages" in "".join(text.split())
    assert all(digits in text for digits in ("0.5", "[0", "375"))


TEXTS = (
    "",
    "-",
    "aet[transform=affine]",
    "0.5000 ±0.0707",
    "did not learn; smoke: no result",
    "x" * 30,
    "a  b",
    "1: 2: 3",
)
ODD = ("日本語", "a\\", ":smile:", "line\nbreak", "[bold]no[/bold]", "tab\there", "\x1b[1m", "é")


@pytest.mark.parametrize("width", [30, 60, 100, 200, 400])
def test_the_quick_way_of_drawing_a_table_gives_the_marks_of_the_slow_one(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, drawn = random.Random(width), []
    for number in range(60):
        texts = TEXTS + ODD if number % 3 == 0 else TEXTS
        columns = ("method", "encoder", "tap", "epochs", "seeds", *("accuracy@k=20", "map")[: chance.randint(1, 2)])
        columns += ("remarks",) * chance.randint(0, 1)
        rows = tuple(tuple(chance.choice(texts) for _ in columns) for _ in range(chance.choice([0, 1, 7])))
        best = frozenset((i, 5) for i in range(len(rows)) if chance.random() < 0.3)
        drawn.append(Table(title="knn", columns=columns, rows=rows, best=best, notes=("a note",)))
    quick = render(drawn, "table", width)
    plain = [formats._is_plain(table, formats._allotted(table, width), width) for table in drawn]
    assert not all(plain)
    assert any(plain) or width < 100
    monkeypatch.setattr(formats, "_is_plain", lambda *arguments: False)
    assert render(drawn, "table", width) == quick


def test_on_a_terminal_the_best_is_bold_and_nothing_but_the_marks_around_it_differs() -> None:
    (table,) = score_tables([*_seeds([0.5, 0.6], "aet"), *_seeds([0.1, 0.2], "dim")])
    stream = io.StringIO()
    formats.print_tables([table], Console(file=stream, width=200, force_terminal=True, color_system="standard"))
    text = stream.getvalue()
    assert "\x1b[1m" in text
    (bold,) = [line for line in text.splitlines() if "0.5500 ±0.0707" in line]
    assert bold.index("\x1b[1m") < bold.index("0.5500 ±0.0707") < bold.index("\x1b[0m")
    assert re.sub(r"\x1b\[\d*m", "", text) == render([table], "table", 200)


def test_json_holds_the_csvs_columns_with_raw_numbers_and_null_for_what_is_not() -> None:
    score = sample_score(1 / 3, ci_low=None, ci_high=None)
    records = [sample_record("pixels", seed=None, scores=(score,)), sample_record(seed=2)]
    first, second = json.loads(records_as_json(records))
    assert tuple(first) == CSV_COLUMNS
    assert (first["method"], first["seed"], first["value"]) == ("aet", 2, 0.5)
    assert (second["method"], second["seed"], second["ci_low"]) == ("pixels", None, None)
    assert second["value"] == pytest.approx(1 / 3, abs=1e-15)
    assert json.loads(records_as_json([])) == []
