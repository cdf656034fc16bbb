"""Turn an evaluation into scores with 95 % intervals, as a record holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from benchmark.api.cells import ScoreRequest
from benchmark.api.evaluators import Evaluation, EvaluatorSpec, Measurement
from benchmark.records.record import Score
from benchmark.stats import intervals


@dataclass(frozen=True, kw_only=True)
class ScoredRequest:
    """The scores of one evaluator at one tap."""

    scores: tuple[Score, ...]
    """One for each measurement."""
    arrays: Mapping[str, NDArray[Any]]
    """Outcomes and predictions for each test image, by their name in predictions.npz."""


def scores_of(request: ScoreRequest, spec: EvaluatorSpec, evaluation: Evaluation) -> ScoredRequest:
    """The scores of an evaluation.

    Args:
        request: the tap, the pooling, the evaluator and the protocol.
        spec: the evaluator.
        evaluation: its checked result.
    """
    prefix = f"{request.tap}|{request.pool}|{request.evaluator.label}|{request.protocol}"
    arrays = {f"{prefix}|prediction|{name}": array for name, array in evaluation.predictions.items()}
    arrays |= {
        f"{prefix}|{measurement.metric}": measurement.outcomes
        for measurement in evaluation.measurements
        if measurement.outcomes is not None
    }
    scores = tuple(_score(request, spec, evaluation, measurement, prefix) for measurement in evaluation.measurements)
    return ScoredRequest(scores=scores, arrays=arrays)


def _score(
    request: ScoreRequest, spec: EvaluatorSpec, evaluation: Evaluation, measurement: Measurement, prefix: str
) -> Score:
    name = measurement.metric.partition("@")[0]
    metric = next(metric for metric in reversed(spec.metrics) if metric.name == name)
    low, high = intervals.interval(measurement.outcomes, measurement.value, measurement.n)
    return Score(
        tap=request.tap,
        pool=request.pool,
        evaluator=request.evaluator.label,
        protocol=request.protocol,
        metric=measurement.metric,
        params=dict(request.evaluator.params),
        details=dict(evaluation.details),
        value=float(measurement.value),
        ci_low=low,
        ci_high=high,
        n=measurement.n,
        outcomes=None if measurement.outcomes is None else f"{prefix}|{measurement.metric}",
        higher_is_better=metric.higher_is_better,
        headline=measurement.metric in {each.headline for each in spec.metrics},
        unit=metric.unit,
    )
