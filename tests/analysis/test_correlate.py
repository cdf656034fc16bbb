"""Rank correlations over clusters, and scores without labels against accuracies."""

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
from scipy import stats as reference

from benchmark.analysis import correlate
from benchmark.analysis.correlate import Correlation, correlation_tables, correlations
from benchmark.api.catalog import load_catalog
from benchmark.api.evaluators import EvaluatorSpec, Metric
from benchmark.errors import UsageError
from benchmark.records.columns import columns_of
from benchmark.records.leaderboard import export
from benchmark.records.record import PREDICTIONS, Record, read_records, write_record
from benchmark.stats.rank_correlation import rank_agreement

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
        evaluate=lambda probe, params: None,  # type: ignore[arg-type, return-value]
        labels="none",
        metrics=(Metric(name="cka"),),
    ),
    EvaluatorSpec(
        name="knn",
        summary="",
        evaluate=lambda probe, params: None,  # type: ignore[arg-type, return-value]
        metrics=(Metric(name="accuracy", headline="accuracy@k=20"),),
    ),
]
CATALOG: Any = SimpleNamespace(evaluators=[SimpleNamespace(spec=spec) for spec in SPECS])


def free(value: float, tap: str, metric: str = "rank", **changes: Any) -> Any:
    fields = {"evaluator": "rank", "protocol": "rank@1", "metric": metric, "params": {}, "headline": metric == "rank"}
    return sample_score(value, tap=tap, **{**fields, **changes})


def board(
    methods: int = 6, seeds: int = 2, taps: tuple[str, ...] = ("conv1", "conv2"), *, without: int | None = None
) -> list[Record]:
    """Cells whose accuracy rises with the method's number, as the rank does; the spread falls. One may lack its scores."""
    records = []
    for method in range(methods):
        for seed in range(seeds):
            scores = []
            for depth, tap in enumerate(taps):
                level = method + 0.1 * seed + 0.01 * depth
                scores.append(sample_score(0.3 + 0.05 * level, tap=tap))
                scores.append(sample_score(0.1, tap=tap, metric="accuracy@k=1", headline=False))
                if method != without:
                    scores.append(free(level**3, tap))
                    scores.append(free(-level, tap, "spread", higher_is_better=False))
                    other = {"evaluator": "likeness", "protocol": "likeness@1"}
                    scores.append(free(0.5, tap, "cka@tap=conv9", **other))
            records.append(sample_record(f"m{method}", seed=seed, scores=tuple(scores)))
    return records


def rows(records: list[Record], min_cells: int = 4) -> dict[tuple[str, str], Correlation]:
    found = correlations(columns_of(records), CATALOG, min_cells)
    return {(row.metric, row.tap): row for row in found}


# --- concordance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [5, 1000])
def test_both_correlations_are_scipys_with_and_without_ties(levels: int) -> None:
    draw = np.random.default_rng(0)
    x = draw.integers(levels, size=60).astype(float)
    y = x + draw.integers(levels, size=60)
    spearman, kendall = rank_agreement(x, y, np.arange(60))
    assert spearman.value == pytest.approx(reference.spearmanr(x, y).statistic, abs=1e-12)
    assert kendall.value == pytest.approx(reference.kendalltau(x, y).statistic, abs=1e-12)


def test_a_resample_by_weights_is_the_resample_written_out() -> None:
    from benchmark.stats.rank_correlation import _Table

    draw = np.random.default_rng(1)
    x, y, places = draw.normal(size=20), draw.normal(size=20), np.arange(20) // 4
    weights = np.array([[2.0, 0.0, 1.0, 1.0, 1.0]])
    written = np.concatenate([np.flatnonzero(places == cluster) for cluster in (0, 0, 2, 3, 4)])
    spearman, kendall = _Table(x, y, places, 5).both(weights)
    assert spearman[0] == pytest.approx(reference.spearmanr(x[written], y[written]).statistic, abs=1e-12)
    assert kendall[0] == pytest.approx(reference.kendalltau(x[written], y[written]).statistic, abs=1e-12)


def test_a_monotone_relation_is_one_and_turned_round_minus_one() -> None:
    x = np.arange(30.0)
    for sign in (1, -1):
        for found in rank_agreement(x, sign * np.exp(x / 10), np.arange(30)):
            assert (found.value, found.low, found.high) == pytest.approx((sign, sign, sign))


def test_an_interval_over_clusters_is_wider_than_one_over_their_copies() -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(size=20)
    y = x + draw.normal(size=20)
    copied_x, copied_y = np.repeat(x, 4), np.repeat(y, 4)
    for clustered, naive, once in zip(
        rank_agreement(copied_x, copied_y, np.repeat(np.arange(20), 4)),
        rank_agreement(copied_x, copied_y, np.arange(80)),
        rank_agreement(x, y, np.arange(20)),
        strict=True,
    ):
        assert None not in (clustered.low, clustered.high, naive.low, naive.high, once.low, once.high)
        assert clustered.value == pytest.approx(naive.value)
        assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)  # type: ignore[operator]
        # Four copies of each point tell no more than the point.
        assert (clustered.low, clustered.high) == pytest.approx((once.low, once.high), abs=0.02)


def test_intervals_cover_about_as_often_as_they_say() -> None:
    truth, hits = 6 / np.pi * np.arcsin(0.5 / 2), 0  # Spearman's of Gaussians with correlation .5
    draw = np.random.default_rng(3)
    for trial in range(150):
        shared = draw.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=40)
        noisy = np.repeat(shared, 3, axis=0)  # three taps that are copies
        found, _ = rank_agreement(noisy[:, 0], noisy[:, 1], np.repeat(np.arange(40), 3), draws=400, seed=trial)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / 150 <= 0.99


def test_few_clusters_have_no_interval_and_a_score_that_never_varies_no_value() -> None:
    x = np.arange(12.0)
    few, _ = rank_agreement(x, x, np.arange(12) % 4)
    assert (few.value, few.low, few.high) == (1.0, None, None)
    constant, tau = rank_agreement(np.ones(12), x, np.arange(12))
    assert constant.value is tau.value is constant.low is None
    with pytest.raises(ValueError, match="as many of each"):
        rank_agreement(x, x[:3], np.arange(12))


def test_large_tables_are_the_same_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(4)
    x, y, clusters = draw.normal(size=50), draw.normal(size=50), np.arange(50) // 5
    whole = rank_agreement(x, y, clusters)
    monkeypatch.setattr("benchmark.stats.rank_correlation.BLOCK", 170)
    for block, each in zip(rank_agreement(x, y, clusters), whole, strict=True):
        assert (block.value, block.low, block.high) == pytest.approx((each.value, each.low, each.high))


# --- correlate --------------------------------------------------------------------------------------------------------


def test_a_planted_monotone_relation_is_found_in_either_direction() -> None:
    found = rows(board())
    for metric, higher in (("rank", True), ("spread", False)):
        row = found[metric, "all"]
        assert (row.higher_is_better, row.target) == (higher, "knn accuracy@k=20")
        assert (row.spearman, row.kendall) == pytest.approx((1, 1))
        assert (row.points, row.cells, row.clusters, row.missing) == (24, 12, 6, 0)
        assert row.spearman_low == pytest.approx(1)


def test_each_tap_of_an_encoder_has_a_row_where_there_are_enough_cells() -> None:
    found = rows(board())
    assert {tap for _, tap in found} == {"all", "conv1", "conv2"}
    assert (found["rank", "conv1"].points, found["rank", "conv1"].encoder) == (12, "resnet18")
    assert {tap for _, tap in rows(board(), min_cells=13)} == {"all"}
    few = rows(board(), min_cells=13)["rank", "all"]
    assert (few.spearman, few.remark) == (None, "fewer than 13 cells")


def test_only_headlines_and_scores_without_a_setting_count() -> None:
    assert {metric for metric, _ in rows(board())} == {"rank", "spread"}


def test_missing_scores_are_shown_as_missing_and_never_filled() -> None:
    row = rows(board(without=5))["rank", "all"]
    assert (row.points, row.missing, row.clusters) == (20, 4, 5)
    accuracies = [sample_record(f"m{number}", scores=(sample_score(number / 10),)) for number in range(6)]
    absent = rows(accuracies)["rank", "all"]
    assert (absent.points, absent.missing, absent.spearman, absent.remark) == (0, 6, None, "missing")
    (shown,) = correlation_tables(correlations(columns_of(accuracies), CATALOG, 4))
    assert all(words[-1] == "missing" for words in shown.rows)


def test_unfinished_cells_and_other_datasets_are_kept_apart() -> None:
    records = [*board(), *board()[:1]]
    records[0] = sample_record("m0", seed=0, scores=records[0].scores, state="failed")
    assert rows(records[:-1])["rank", "all"].cells == 11
    other = [sample_record(f"m{n}", dataset="stripes", scores=(sample_score(n / 10),)) for n in range(6)]
    found = correlations(columns_of([*board(), *other]), CATALOG, 4)
    assert {(row.dataset, row.missing) for row in found if row.metric == "rank" and row.tap == "all"} == {
        ("digits", 0),
        ("stripes", 6),
    }


def test_a_table_says_what_its_numbers_are() -> None:
    (shown,) = correlation_tables(correlations(columns_of(board()), CATALOG, 4))
    assert shown.title == "scores without labels against knn accuracy@k=20 on digits"
    assert shown.columns[:6] == ("score", "encoder", "tap", "better", "spearman", "kendall")
    assert [row[:4] for row in shown.rows][:2] == [
        ("rank", "all", "all", "higher"),
        ("rank spread", "all", "all", "lower"),
    ]
    assert shown.rows[0][4] == "1.0000 [1.000, 1.000]"
    notes = " ".join(shown.notes)
    for words in ("not independent", "clusters", "its own direction"):
        assert words in notes


def test_all_that_ship_and_need_no_labels_are_known_from_their_specs() -> None:
    free_of_labels = {entry.spec.name for entry in load_catalog().evaluators if entry.spec.labels == "none"}
    assert {"rankme", "alpha_req", "lidar", "dimension", "alignment", "uniformity", "stability"} <= free_of_labels
    assert not free_of_labels & {"linear", "knn", "clustering", "retrieval"}


# --- the command ------------------------------------------------------------------------------------------------------


def of_rankme(records: list[Record]) -> list[Record]:
    """The same with the name of an evaluator that is installed."""
    renamed = []
    for record in records:
        scores = [score for score in record.scores if score.metric in ("rank", "accuracy@k=20")]
        named = [
            free(score.value, score.tap, "rankme", evaluator="rankme", protocol="rankme@1", headline=True)
            if score.metric == "rank"
            else score
            for score in scores
        ]
        cell = record.cell
        renamed.append(sample_record(cell["method"]["label"], seed=cell["seed"], scores=tuple(named)))
    return renamed


def written(folder: Path) -> tuple[Path, Path]:
    """A folder of records, and the leaderboard that they were exported to."""
    for number, record in enumerate(of_rankme(board())):
        write_record(folder / "runs" / f"cell{number}", record)
        np.savez(folder / "runs" / f"cell{number}" / PREDICTIONS)
    export(read_records(folder / "runs")[0], folder / "results")
    return folder / "runs", folder / "results" / "digits.jsonl"


def test_the_command_reads_a_folder_and_a_leaderboard_alike(tmp_path: Path, bench: Bench) -> None:
    texts = {}
    for source in written(tmp_path):
        result = bench("correlate", str(source), "--format", "csv")
        assert result.exit_code == 0, result.output
        texts[source] = result.output
    first, second = texts.values()
    assert first == second
    lines = list(csv.DictReader(io.StringIO(first)))
    (rankme,) = [line for line in lines if line["evaluator"] == "rankme" and line["tap"] == "all"]
    assert (rankme["spearman"], rankme["cells"], rankme["clusters"]) == ("1", "12", "6")
    assert {line["remark"] for line in lines if line["evaluator"] == "lidar"} == {"missing"}


@pytest.mark.parametrize("form", ["table", "md", "json", "latex"])
def test_every_format_has_every_score(tmp_path: Path, bench: Bench, form: str) -> None:
    result = bench("correlate", str(written(tmp_path)[1]), "--format", form, "--min-cells", "5")
    assert result.exit_code == 0, result.output
    for name in ("rankme", "lidar", "stability"):
        assert name in result.output
    if form == "json":
        found = json.loads(result.output)
        assert {row["spearman"] for row in found if row["evaluator"] == "lidar"} == {None}
    else:
        assert "not independent" in result.output


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no record under"):
        correlate.correlate(tmp_path)
