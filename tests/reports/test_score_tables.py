"""Score tables: means, order, winners, missing cells."""

from __future__ import annotations

import dataclasses
import itertools
import random
import statistics
from collections.abc import Iterator
from typing import Any

import pytest
from sample_records import column_of, sample_record, sample_score

from benchmark.records.record import Record
from benchmark.reports.render import render_tables
from benchmark.reports.score_tables import score_tables
from benchmark.reports.table import MissingCell, Table


def _seeds(values: list[float], method: str = "aet", **changes: Any) -> list[Record]:
    return [
        sample_record(method, seed=seed, scores=(sample_score(value, **changes),)) for seed, value in enumerate(values)
    ]


def _missing(**changes: Any) -> MissingCell:
    fields: dict[str, Any] = {
        "method": "dim",
        "encoder": "resnet18",
        "dataset": "digits",
        "seed": 1,
        "reason": "failed: NaN in step 3",
    }
    return MissingCell(**{**fields, **changes})


# --- means and spreads ------------------------------------------------------------------------------------------------


def test_seeds_give_mean_and_standard_deviation() -> None:
    (table,) = score_tables(_seeds([0.1, 0.2, 0.6]))
    # (0.1 + 0.2 + 0.6) / 3 and sqrt((0.04 + 0.01 + 0.09) / 2), by hand
    assert column_of(table, "accuracy@k=20") == ["0.3000 ±0.2646"]
    assert statistics.stdev([0.1, 0.2, 0.6]) == pytest.approx(0.07**0.5)
    assert column_of(table, "seeds") == ["3"]
    assert table.notes == ("±: standard deviation over seeds.",)


def test_fewer_than_three_seeds_give_a_warning() -> None:
    (table,) = score_tables(_seeds([0.2, 0.4]))
    assert column_of(table, "accuracy@k=20") == ["0.3000 ±0.1414"]
    assert "fewer than 3 seeds (2)" in table.notes[0]


def test_one_seed_shows_the_interval_of_the_headline() -> None:
    scores = (sample_score(0.5), sample_score(0.25, metric="vote_accuracy@k=20", headline=False))
    (table,) = score_tables([sample_record(scores=scores)])
    assert column_of(table, "accuracy@k=20") == ["0.5000 [0.375, 0.625]"]
    assert column_of(table, "vote_accuracy@k=20") == ["0.2500"]
    assert "One seed: variance across seeds unknown." in table.notes[0]


def test_score_without_interval_shows_the_value() -> None:
    (table,) = score_tables([sample_record(scores=(sample_score(0.5, ci_low=None, ci_high=None),))])
    assert column_of(table, "accuracy@k=20") == ["0.5000"]


def test_notes_explain_one_and_several_seeds() -> None:
    (table,) = score_tables([*_seeds([0.5, 0.6, 0.7]), sample_record("dim")])
    assert [note.partition(" ")[0] for note in table.notes] == ["±:", "["]


def test_seedless_method_shows_a_dash() -> None:
    (table,) = score_tables([sample_record("pixels", "-", seed=None)])
    assert column_of(table, "seeds") == ["-"]
    assert table.notes == ("[ ]: 95 % interval over test images, for methods without a seed.",)


def test_recipes_taps_and_encoders_have_separate_rows() -> None:
    records = [
        sample_record(),
        sample_record(recipe={"epochs": 40}),
        sample_record(encoder="blocknet"),
        sample_record(seed=1, scores=(sample_score(tap="layer3"), sample_score())),
    ]
    (table,) = score_tables(records)
    assert sorted(
        zip(column_of(table, "encoder"), column_of(table, "tap"), column_of(table, "epochs"), strict=True)
    ) == [
        ("blocknet", "layer4", "6"),
        ("resnet18", "layer3", "6"),
        ("resnet18", "layer4", "40"),
        ("resnet18", "layer4", "6"),
    ]
    assert sorted(column_of(table, "seeds")) == ["1", "1", "1", "2"]


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
def test_records_with_equal_labels_but_other_settings_are_not_averaged(other: Record) -> None:
    (table,) = score_tables([sample_record(), other])
    assert column_of(table, "seeds") == ["1", "1"]


def test_datasets_evaluators_pools_and_protocols_have_separate_tables() -> None:
    scores = (
        sample_score(),
        sample_score(pool="flat"),
        sample_score(evaluator="linear", protocol="linear@1", metric="accuracy"),
        sample_score(protocol="knn@2"),
    )
    tables = score_tables([sample_record(scores=scores), sample_record(dataset="cifar10")])
    assert [table.title for table in tables] == [
        "knn on digits (knn@1, n = 8 test images)",
        "knn on digits (knn@1, flat features, n = 8 test images)",
        "linear on digits (linear@1, n = 8 test images)",
        "knn on digits (knn@2, n = 8 test images)",
        "knn on cifar10 (knn@1, n = 8 test images)",
    ]


def _random_records(rng: random.Random) -> list[Record]:
    """Cells with values on a grid and off it, each with some of the scores."""
    kinds = list(itertools.product(("layer1", "layer4"), ("average", "flat"), ("knn", "linear"), ("accuracy", "map")))
    tables = []
    for method, dataset, seed in itertools.product(("aet", "dim"), ("digits", "photos"), range(rng.randint(1, 6))):
        scores = tuple(
            sample_score(
                rng.choice([0.25, 0.2501, 0.1, rng.random(), rng.randrange(361) / 360]),
                tap=tap,
                pool=pool,
                evaluator=evaluator,
                protocol=f"{evaluator}@1",
                metric=metric,
                ci_low=None if rng.random() < 0.3 else 0.0625,
            )
            for tap, pool, evaluator, metric in rng.sample(kinds, rng.randint(1, len(kinds)))
        )
        tables.append(sample_record(method, dataset=dataset, seed=seed, scores=scores))
    return tables


def _by_search(table: Table, row: tuple[str, ...], metric: str, records: list[Record]) -> str:
    """A table's text from a search through all records and the statistics module."""
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
def test_every_number_equals_a_plain_search(number: int) -> None:
    records = _random_records(random.Random(number))
    tables = score_tables(records)
    assert tables
    for table in tables:
        for row in table.rows:
            for column, metric in enumerate(table.columns[5:], start=5):
                assert row[column] == _by_search(table, row, metric, records)


@pytest.mark.parametrize(
    "values", [[0.5, 0.5, 0.5], [0.0, 0.0001, 0.0002], [0.1, 0.10005, 0.1001], [0.1, 0.1 + 2**-40]]
)
def test_deviation_between_two_digits_is_rounded_exactly(values: list[float]) -> None:
    (table,) = score_tables(_seeds(values))
    assert column_of(table, "accuracy@k=20") == [f"{statistics.fmean(values):.4f} ±{statistics.stdev(values):.4f}"]


class _Counted(tuple[Any, ...]):
    """Scores that count how often they are iterated."""

    rounds = 0

    def __iter__(self) -> Iterator[Any]:
        self.rounds += 1
        return super().__iter__()


def test_number_of_tables_does_not_change_the_passes_over_scores() -> None:
    rounds = []
    for evaluators in (1, 30):
        scores = _Counted(sample_score(evaluator=f"knn[k={n}]", protocol="knn@1") for n in range(evaluators))
        records = [sample_record(seed=seed, scores=scores) for seed in range(5)]
        scores.rounds = 0
        assert len(score_tables(records)) == evaluators
        rounds.append(scores.rounds)
    assert rounds[0] == rounds[1] > 0


# --- order and winners ------------------------------------------------------------------------------------------------


def test_best_headline_is_first() -> None:
    (table,) = score_tables([*_seeds([0.2], "aet"), *_seeds([0.6], "dim"), *_seeds([0.4], "rotation")])
    assert column_of(table, "method") == ["dim", "rotation", "aet"]


def test_lowest_value_is_best_if_lower_is_better() -> None:
    records = [
        *_seeds([0.2, 0.3], "aet", metric="error", higher_is_better=False),
        *_seeds([0.6, 0.7], "dim", metric="error", higher_is_better=False),
    ]
    (table,) = score_tables(records)
    assert column_of(table, "method") == ["aet", "dim"]
    assert table.best == {(0, 5)}


def test_best_mean_of_each_column_is_marked() -> None:
    def seeds(method: str, accuracy: float, mean_precision: float) -> list[Record]:
        scores = (sample_score(accuracy), sample_score(mean_precision, metric="map", headline=False))
        return [sample_record(method, seed=seed, scores=scores) for seed in range(2)]

    (table,) = score_tables([*seeds("aet", 0.5, 0.3), *seeds("dim", 0.4, 0.6)])
    assert column_of(table, "method") == ["aet", "dim"]
    assert table.columns[5:7] == ("accuracy@k=20", "map")
    assert table.best == {(0, 5), (1, 6)}


def test_ties_are_both_best() -> None:
    (table,) = score_tables([*_seeds([0.5, 0.5], "aet"), *_seeds([0.5, 0.5], "dim"), *_seeds([0.1, 0.1], "rotation")])
    assert table.best == {(0, 5), (1, 5)}


def test_single_run_is_never_best() -> None:
    (table,) = score_tables([*_seeds([0.5], "aet"), *_seeds([0.9], "dim")])
    assert not table.best
    (table,) = score_tables([*_seeds([0.5, 0.5], "aet"), *_seeds([0.9], "dim")])
    assert not table.best
    (table,) = score_tables(_seeds([0.5, 0.5], "aet"))
    assert not table.best, "alone in its column"


def test_smoke_run_is_never_best() -> None:
    smoke = [dataclasses.replace(record, state="smoke") for record in _seeds([0.9, 0.9], "dim")]
    (table,) = score_tables([*_seeds([0.5, 0.5], "aet"), *_seeds([0.1, 0.1], "rotation"), *smoke])
    assert column_of(table, "method") == ["dim", "aet", "rotation"]
    assert column_of(table, "remarks") == ["smoke run: not a result", "", ""]
    assert table.best == {(1, 5)}


# --- what is missing --------------------------------------------------------------------------------------------------


def test_failed_cell_has_a_row_with_its_reason() -> None:
    (table,) = score_tables(_seeds([0.2, 0.4]), [_missing()])
    assert table.rows[1] == ("dim", "resnet18", "-", "-", "seed 1", "-", "failed: NaN in step 3")
    assert column_of(table, "accuracy@k=20")[0] == "0.3000 ±0.1414"


def test_missing_seed_has_its_own_row() -> None:
    (table,) = score_tables(_seeds([0.2, 0.4]), [_missing(method="aet", seed=2)])
    assert column_of(table, "seeds") == ["2", "seed 2"]


def test_missing_cell_is_in_all_tables_of_its_dataset() -> None:
    scores = (sample_score(), sample_score(evaluator="linear", protocol="linear@1"))
    records = [sample_record(scores=scores), sample_record(dataset="cifar10")]
    tables = score_tables(records, [_missing(seed=None, reason="skipped: too small")])
    assert ["dim" in column_of(table, "method") for table in tables] == [True, True, False]
    assert column_of(tables[0], "seeds") == ["1", "-"]


def test_dataset_without_scores_has_a_table() -> None:
    tables = score_tables([sample_record()], [_missing(dataset="cifar10"), _missing(dataset="cifar10", seed=2)])
    assert [table.title for table in tables][1:] == ["no scores on cifar10"]
    assert column_of(tables[1], "seeds") == ["seed 1", "seed 2"]
    assert score_tables([], [_missing()])[0].rows == (("dim", "resnet18", "seed 1", "failed: NaN in step 3"),)
    assert "failed: NaN in step 3" in render_tables(score_tables([], [_missing()]), "table")


def test_failed_evaluator_is_shown_in_both_tables() -> None:
    whole = sample_record(scores=(sample_score(), sample_score(evaluator="linear", protocol="linear@1")))
    failure = {"stage": "evaluate linear", "reason": "did not\nconverge", "traceback": ""}
    half = sample_record("dim", scores=(sample_score(0.25),), failure=failure)
    knn, linear = score_tables([whole, half])
    assert column_of(knn, "remarks") == ["", "not all scores: did not converge"]
    assert linear.rows[1][:2] == ("dim", "resnet18")
    assert linear.rows[1][-2:] == ("-", "did not converge")


def test_absent_metric_is_missing_not_zero() -> None:
    both = (sample_score(), sample_score(0.25, metric="map", headline=False))
    (table,) = score_tables([sample_record(scores=both), sample_record("dim")])
    assert column_of(table, "map") == ["0.2500", "missing"]


def test_records_that_failed_to_learn_are_counted() -> None:
    failed = {"failed_to_learn": True}
    records = _seeds([0.1, 0.1, 0.1])
    one = [dataclasses.replace(records[0], checks=failed), *records[1:]]
    assert column_of(score_tables(one)[0], "remarks") == ["1 of 3 did not learn"]
    every = [dataclasses.replace(record, checks=failed) for record in records]
    assert column_of(score_tables(every)[0], "remarks") == ["did not learn"]


def test_remarks_column_is_absent_without_remarks() -> None:
    assert "remarks" not in score_tables([sample_record()])[0].columns


def test_records_without_scores_give_no_table() -> None:
    failed = sample_record(scores=(), state="failed")
    assert score_tables([failed]) == []


def test_headline_is_followed_by_its_family_of_metrics() -> None:
    names = ["map", "recall@k=1", "recall@k=5", "precision@k=10", "accuracy@k=1", "accuracy@k=20", "accuracy@k=200"]
    scores = tuple(sample_score(0.5, metric=name, headline=name == "accuracy@k=20") for name in names)
    (table,) = score_tables([sample_record(scores=scores)])
    assert table.columns[5:] == ("accuracy@k=20", "accuracy@k=1", "accuracy@k=200", "map", "recall@k=1")
