"""The scoring stage of a cell: runs each requested evaluator on the frozen features, and writes scores meanwhile."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

from benchmark.api.cells import Json, ScoreRequest, State
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.api.parameters import bind
from benchmark.encoder import NormalizedEncoder
from benchmark.errors import PLUGIN_ERRORS, PluginError, UnsupportedError
from benchmark.evaluation.cell_data import CellData
from benchmark.evaluation.evaluate import Subject, evaluate
from benchmark.evaluation.features import FrozenFeatures, frozen_features
from benchmark.evaluation.leakage import LeakageChecks
from benchmark.evaluation.scores import scores_of
from benchmark.execution.cell_record import sentence
from benchmark.execution.cell_run import CellRun
from benchmark.execution.provenance import item_source
from benchmark.plain_text import shortened
from benchmark.records.record import Record, Score, by_score_key

WRITE_SECONDS = 10.0
"""Least time between two writes of scores while further scores are computed."""


@dataclass(kw_only=True)
class _Scoring:
    """The results of the scoring of a cell so far."""

    started: float
    """Start of the scoring, by the monotonic clock."""
    scores: list[Score]
    arrays: dict[str, Any]
    """Outcomes and predictions of each image, by name."""
    not_applicable: list[Json]
    """Requests that an evaluator refused, with its reason."""
    sources: dict[str, Json | None]
    """Label of an evaluator -> its plugin, with the fingerprint of its code."""
    scored: set[tuple[str, ...]] = field(default_factory=set)
    """tap, pool, evaluator, protocol of the requests that were scored in this run."""
    leakage: LeakageChecks = field(default_factory=LeakageChecks)
    failures: list[tuple[str, BaseException]] = field(default_factory=list)
    """Stages that failed, with their exceptions."""


def score_cell(run: CellRun, encoder: NormalizedEncoder, record: Record, data: CellData) -> Record:
    """Computes the requested scores that the record lacks, and writes them. One that fails does not stop the others.

    Raises:
        PluginError: evaluators failed. The scores of the others are written.
        FrozenError: an evaluator changed the encoder.
    """
    requests = _requests(run, record)
    scoring = _Scoring(
        started=time.monotonic(),
        scores=list(record.scores),
        arrays=run.folder.read_arrays(record) if record.scores else {},
        not_applicable=list(record.checks.get("not_applicable", ())),
        sources={each.evaluator.label: item_source(run.catalog, "evaluator", each.evaluator) for each in requests},
    )
    pairs = [(request.tap, request.pool) for request in requests]
    features = FrozenFeatures(encoder, data.train.images, data.test.images, pairs)
    subject = Subject(
        source=features,
        train=data.train,
        test=data.test,
        class_names=data.class_names,
        fingerprint=run.cell.fingerprint,
    )
    with frozen_features(encoder) as checksum:
        for number, request in enumerate(requests):
            run.progress.enter(f"evaluate {request.evaluator.label} at {request.tap}", number, len(requests))
            if _score(run, subject, features, request, scoring) and _is_write_due(run):
                _write(run, record, scoring, "interrupted", {})
    finished: State = "smoke" if run.cell.smoke else "done"
    checks = {"frozen": True, "encoder_sha256": checksum, **scoring.leakage.merged_with(record.checks)}
    scored = _write(run, record, scoring, record.state if scoring.failures else finished, checks)
    if scoring.failures:
        raise _evaluators_failed(run, scoring.failures)
    return scored


def _requests(run: CellRun, record: Record) -> list[ScoreRequest]:
    """The requested scores that the record lacks, and those that are computed again."""
    missing = record.missing(run.job.scores)
    return [each for each in run.job.scores if each in missing or each.evaluator.label in run.job.rescore]


def _score(run: CellRun, subject: Subject, features: FrozenFeatures, request: ScoreRequest, scoring: _Scoring) -> bool:
    """Computes the scores of one request. Returns whether there are any."""
    started, features.encoded = time.monotonic(), False
    try:
        spec: EvaluatorSpec = run.spec("evaluators", "evaluator", request.evaluator)
        params = bind(spec.params, request.evaluator.params, f"evaluator '{spec.name}'")
        evaluation = evaluate(subject, request, spec, params)
    except UnsupportedError as error:
        scoring.not_applicable.append({**request.key(), "reason": shortened(str(error))})
        return False
    except PLUGIN_ERRORS as error:  # plugin code: the other evaluators still run
        scoring.failures.append((run.progress.stage, error))
        return False
    scored = scores_of(request, spec, evaluation)
    key = tuple(request.key().values())
    scoring.scored.add(key)
    scoring.scores = [*(score for score in scoring.scores if score.key()[:4] != key), *scored.scores]
    scoring.arrays.update(scored.arrays)
    seconds = time.monotonic() - started
    scoring.leakage.check(subject, request, spec, params, seconds=seconds, encoded=features.encoded)
    return True


def _is_write_due(run: CellRun) -> bool:
    """Writes scores during a scoring that may take hours, so that they are not computed again after an interruption."""
    return time.monotonic() - run.progress.written >= WRITE_SECONDS


def _write(run: CellRun, record: Record, scoring: _Scoring, state: State, checks: Json) -> Record:
    """Writes the outcomes, then the record whose scores refer to them. A finished record stays finished."""
    seconds = record.cost.get("evaluate_seconds", 0.0) + time.monotonic() - scoring.started
    scored = dataclasses.replace(
        record,
        state="done" if record.state == "done" else state,
        scores=tuple(by_score_key(scoring.scores).values()),
        cost={**record.cost, "evaluate_seconds": seconds},
        checks={**record.checks, **checks, "not_applicable": scoring.not_applicable},
        provenance={**record.provenance, "sources": _sources(record, scoring)},
        failure=None,
    )
    written = run.folder.write_scores(scoring.arrays, scored)
    run.progress.written = time.monotonic()
    return written


def _sources(record: Record, scoring: _Scoring) -> Json:
    """The fingerprints in the record, with those of the evaluators that computed scores in this run.

    An evaluator has several if its scores were computed by different code, and an empty one if that is not known.
    """
    recorded = record.provenance.get("sources") or {}
    evaluators: Json = dict(recorded.get("evaluators", {}))
    for label, source in scoring.sources.items():
        new = [score.key()[:4] in scoring.scored for score in scoring.scores if score.evaluator == label]
        if source is None or not any(new):
            continue
        earlier = [] if all(new) else evaluators.get(label, {}).get("sources", [""])
        sources = list(dict.fromkeys([*earlier, source["source"]]))
        evaluators[label] = {"plugin": source["plugin"], "sources": sources}
    return {**recorded, "evaluators": evaluators}


def _evaluators_failed(run: CellRun, failures: list[tuple[str, BaseException]]) -> PluginError:
    """One error for all evaluators that failed; the failure's stage is that of the first."""
    run.progress.stage, first = failures[0]
    reasons = (f"{stage.removeprefix('evaluate ')}: {sentence(error)}" for stage, error in failures)
    error = PluginError("; ".join(reasons))
    error.__cause__ = first
    return error
