"""Rank correlations of label-free scores with accuracies."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Bench
from sample_records import sample_record, sample_score

from benchmark.analysis.correlate import Correlation, correlation_report, correlations, read_scores
from benchmark.api.catalog import load_catalog
from benchmark.api.evaluators import EvaluatorSpec, Metric
from benchmark.errors import UsageError
from benchmark.records.columns import columns_of
from benchmark.records.export import export
from benchmark.records.record import PREDICTIONS, Record
from benchmark.records.record_files import read_records, write_record

SPECS = [
    EvaluatorSpec(
        name="rank",
        summary="",
        evaluate=lambda probe, params: None,  # type: ignore[arg-type, return-value]  # never called
        labels="none",
        metrics=(Metric(name="rank", headline="rank"), Metric(name="spread", higher_is_better=False)),
    ),
    EvaluatorSpec(
        name="likeness",
        summary="",
        evaluate=lambda probe, params: None,  # type: ignore[arg-type, return-value]  # never called
        labels="none",
        metrics=(Metric(name="cka"),),
    ),
    EvaluatorSpec(
        name="knn",
        summary="",
        evaluate=lambda probe, params: None,  # type: ignore[arg-type, return-value]  # never called
        metrics=(Metric(name="accuracy", headline="accuracy@k=20"),),
    ),
]
CATALOG: Any = SimpleNamespace(evaluators=[SimpleNamespace(spec=spec) for spec in SPECS])


def label_free_score(value: float, tap: str, metric: str = "rank", **changes: Any) -> Any:
    fields = {"evaluator": "rank", "protocol": "rank@1", "metric": metric, "params": {}, "headline": metric == "rank"}
    return sample_score(value, tap=tap, **{**fields, **changes})


def board(
    methods: int = 6, seeds: int = 2, taps: tuple[str, ...] = ("conv1", "conv2"), *, without: int | None = None
) -> list[Record]:
    """Cells whose accuracy and rank increase with the method's number, while the spread decreases. The method
    `without` has no label-free scores.
    """
    records = []
    for method in range(methods):
        for seed in range(seeds):
            scores = []
            for depth, tap in enumerate(taps):
                level = method + 0.1 * seed + 0.01 * depth
                scores.append(sample_score(0.3 + 0.05 * level, tap=tap))
                scores.append(sample_score(0.1, tap=tap, metric="accuracy@k=1", headline=False))
                if method != without:
                    scores.append(label_free_score(level**3, tap))
                    scores.append(label_free_score(-level, tap, "spread", higher_is_better=False))
                    other = {"evaluator": "likeness", "protocol": "likeness@1"}
                    scores.append(label_free_score(0.5, tap, "cka@tap=conv9", **other))
            records.append(sample_record(f"m{method}", seed=seed, scores=tuple(scores)))
    return records


def rows(records: list[Record], min_cells: int = 4) -> dict[tuple[str, str], Correlation]:
    return {(row.metric, row.tap): row for row in correlations(columns_of(records), CATALOG, min_cells)}


def test_monotone_relation_is_detected_in_both_directions() -> None:
    results = rows(board())
    for metric, higher in (("rank", True), ("spread", False)):
        row = results[metric, "all"]
        assert (row.higher_is_better, row.target) == (higher, "knn accuracy@k=20")
        assert (row.spearman, row.kendall) == pytest.approx((1, 1))
        assert (row.points, row.cells, row.clusters, row.missing) == (24, 12, 6, 0)
        assert row.spearman_low == pytest.approx(1)


def test_taps_have_rows_if_there_are_enough_cells() -> None:
    results = rows(board())
    assert {tap for _, tap in results} == {"all", "conv1", "conv2"}
    assert (results["rank", "conv1"].points, results["rank", "conv1"].encoder) == (12, "resnet18")
    assert {tap for _, tap in rows(board(), min_cells=13)} == {"all"}
    few = rows(board(), min_cells=13)["rank", "all"]
    assert (few.spearman, few.remark) == (None, "fewer than 13 cells")


def test_settings_of_a_metric_are_ignored_unless_headline() -> None:
    assert {metric for metric, _ in rows(board())} == {"rank", "spread"}


def test_missing_scores_are_counted_and_never_filled() -> None:
    row = rows(board(without=5))["rank", "all"]
    assert (row.points, row.missing, row.clusters) == (20, 4, 5)
    accuracies = [sample_record(f"m{number}", scores=(sample_score(number / 10),)) for number in range(6)]
    absent = rows(accuracies)["rank", "all"]
    assert (absent.points, absent.missing, absent.spearman, absent.remark) == (0, 6, None, "missing")
    (shown,) = correlation_report(correlations(columns_of(accuracies), CATALOG, 4)).tables()
    assert all(words[-1] == "missing" for words in shown.rows)


def test_unfinished_cells_are_ignored_and_datasets_separate() -> None:
    records = [*board(), *board()[:1]]
    records[0] = sample_record("m0", seed=0, scores=records[0].scores, state="failed")
    assert rows(records[:-1])["rank", "all"].cells == 11
    other = [sample_record(f"m{n}", dataset="stripes", scores=(sample_score(n / 10),)) for n in range(6)]
    results = correlations(columns_of([*board(), *other]), CATALOG, 4)
    assert {(row.dataset, row.missing) for row in results if row.metric == "rank" and row.tap == "all"} == {
        ("digits", 0),
        ("stripes", 6),
    }


def test_table_explains_its_numbers() -> None:
    (shown,) = correlation_report(correlations(columns_of(board()), CATALOG, 4)).tables()
    assert shown.title == "label-free scores against knn accuracy@k=20 on digits"
    assert shown.columns[:6] == ("score", "encoder", "tap", "better", "spearman", "kendall")
    assert [row[:4] for row in shown.rows][:2] == [
        ("rank", "all", "all", "higher"),
        ("rank spread", "all", "all", "lower"),
    ]
    assert shown.rows[0][4] == "1.0000 [1.000, 1.000]"
    notes = " ".join(shown.notes)
    for words in ("not independent", "clusters", "see column `better`"):
        assert words in notes


def test_installed_label_free_evaluators_are_known_from_their_specs() -> None:
    label_free = {entry.spec.name for entry in load_catalog().evaluators if entry.spec.labels == "none"}
    assert {"rankme", "alpha_req", "lidar", "dimension", "alignment", "uniformity", "stability"} <= label_free
    assert not label_free & {"linear", "knn", "clustering", "retrieval"}


def named_rankme(records: list[Record]) -> list[Record]:
    """The records with the rank under the name of an installed evaluator."""
    renamed = []
    for record in records:
        scores = [score for score in record.scores if score.metric in ("rank", "accuracy@k=20")]
        named = [
            label_free_score(score.value, score.tap, "rankme", evaluator="rankme", protocol="rankme@1", headline=True)
            if score.metric == "rank"
            else score
            for score in scores
        ]
        cell = record.cell
        renamed.append(sample_record(cell["method"]["label"], seed=cell["seed"], scores=tuple(named)))
    return renamed


def write_board(folder: Path) -> tuple[Path, Path]:
    """Writes a folder of records and exports them to a leaderboard."""
    for number, record in enumerate(named_rankme(board())):
        write_record(folder / "runs" / f"cell{number}", record)
        np.savez(folder / "runs" / f"cell{number}" / PREDICTIONS)
    export(read_records(folder / "runs")[0], folder / "results")
    return folder / "runs", folder / "results" / "digits.jsonl"


def test_command_gives_the_same_for_folder_and_leaderboard(tmp_path: Path, bench: Bench) -> None:
    texts = {}
    for source in write_board(tmp_path):
        result = bench("correlate", str(source), "--format", "csv")
        assert result.exit_code == 0, result.output
        texts[source] = result.output
    first, second = texts.values()
    assert first == second
    lines = list(csv.DictReader(io.StringIO(first)))
    (rankme,) = [line for line in lines if line["evaluator"] == "rankme" and line["tap"] == "all"]
    assert (rankme["spearman"], rankme["cells"], rankme["clusters"]) == ("1.0", "12", "6")
    assert {line["remark"] for line in lines if line["evaluator"] == "lidar"} == {"missing"}


@pytest.mark.parametrize("form", ["table", "md", "json", "latex"])
def test_every_format_has_every_score(tmp_path: Path, bench: Bench, form: str) -> None:
    result = bench("correlate", str(write_board(tmp_path)[1]), "--format", form, "--min-cells", "5")
    assert result.exit_code == 0, result.output
    for name in ("rankme", "lidar", "stability"):
        assert name in result.output
    if form == "json":
        results = json.loads(result.output)
        assert {row["spearman"] for row in results if row["evaluator"] == "lidar"} == {None}
    else:
        assert "not independent" in result.output


def test_folder_without_records_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no record in"):
        read_scores(tmp_path)
