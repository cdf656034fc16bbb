"""Scores of an evaluation: conditions, intervals, headlines, and the names of their arrays."""

from __future__ import annotations

import dataclasses

import numpy as np

import benchmark
from benchmark.api.cells import Item, ScoreRequest
from benchmark.evaluation.scores import scores_of
from benchmark.stats import intervals

KNN = Item(name="knn", label="knn[k=3]", params={"k": 3})
REQUEST = ScoreRequest(tap="conv2", pool="average", evaluator=KNN, protocol="knn@1")
SPEC = benchmark.EvaluatorSpec(
    name="knn",
    summary="",
    evaluate=lambda probe, params: EVALUATION,
    metrics=(
        benchmark.Metric(name="accuracy", headline="accuracy@k=3"),
        benchmark.Metric(name="entropy", higher_is_better=False, unit="nats"),
    ),
)
CORRECT = np.array([True, True, False, True])
EVALUATION = benchmark.Evaluation(
    measurements=(
        benchmark.Measurement(metric="accuracy@k=3", value=0.75, n=4, outcomes=CORRECT),
        benchmark.Measurement(metric="accuracy@k=1", value=0.5, n=4, outcomes=~CORRECT),
        benchmark.Measurement(metric="entropy", value=1.5, n=4),
    ),
    predictions={"class": np.arange(4)},
    details={"strength": 0.1},
)


def test_scores_have_the_conditions_of_the_request() -> None:
    for score in scores_of(REQUEST, SPEC, EVALUATION).scores:
        assert (score.tap, score.pool, score.evaluator, score.protocol) == ("conv2", "average", "knn[k=3]", "knn@1")
        assert (score.params, score.details, score.n) == ({"k": 3}, {"strength": 0.1}, 4)


def test_scores_have_the_values_and_intervals_of_the_measurements() -> None:
    scores = scores_of(REQUEST, SPEC, EVALUATION).scores
    assert [(score.metric, score.value) for score in scores] == [
        ("accuracy@k=3", 0.75),
        ("accuracy@k=1", 0.5),
        ("entropy", 1.5),
    ]
    assert (scores[0].ci_low, scores[0].ci_high) == intervals.interval(CORRECT, 0.75, 4)
    assert (scores[2].ci_low, scores[2].ci_high) == (None, None)


def test_scores_have_the_direction_and_the_headline_of_their_metric() -> None:
    scores = scores_of(REQUEST, SPEC, EVALUATION).scores
    assert [score.higher_is_better for score in scores] == [True, True, False]
    assert [score.headline for score in scores] == [True, False, False]


def test_arrays_are_outcomes_and_predictions_by_name() -> None:
    scored = scores_of(REQUEST, SPEC, EVALUATION)
    prefix = "conv2|average|knn[k=3]|knn@1"
    assert [score.outcomes for score in scored.scores] == [f"{prefix}|accuracy@k=3", f"{prefix}|accuracy@k=1", None]
    assert set(scored.arrays) == {f"{prefix}|accuracy@k=3", f"{prefix}|accuracy@k=1", f"{prefix}|prediction|class"}
    np.testing.assert_array_equal(scored.arrays[f"{prefix}|accuracy@k=3"], CORRECT)
    np.testing.assert_array_equal(scored.arrays[f"{prefix}|prediction|class"], np.arange(4))


def test_value_of_a_score_is_a_python_float() -> None:
    measurement = dataclasses.replace(EVALUATION.measurements[0], value=np.float32(0.75))  # type: ignore[arg-type]
    (score,) = scores_of(REQUEST, SPEC, benchmark.Evaluation(measurements=(measurement,))).scores
    assert type(score.value) is float
