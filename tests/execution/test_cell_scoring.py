"""The scoring stage of a cell: which scores are computed, and the effects of failing evaluators."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from flipped_bits import flip_bit
from sample_jobs import JobMaker, folder_of, forbid_training, run_done, run_failed
from verified_runs import change_records

from benchmark.progress import Event
from benchmark.records.record_files import read_record


def test_score_has_its_conditions_and_an_interval_around_it(job: JobMaker) -> None:
    record = run_done(job())
    assert [(score.tap, score.metric) for score in record.scores] == [("conv", "accuracy"), ("fc", "accuracy")]
    for score in record.scores:
        assert (score.pool, score.evaluator, score.protocol, score.n) == ("average", "centroid", "centroid@1", 24)
        assert score.ci_low is not None
        assert score.ci_high is not None
        assert 0 <= score.ci_low < score.value < score.ci_high <= 1
        assert score.headline


def test_new_tap_adds_scores_without_training(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_done(job(taps=("conv",)))
    weights = folder_of(job()) / "model.safetensors"
    content = hashlib.sha256(weights.read_bytes()).digest()
    forbid_training(monkeypatch)
    after = run_done(job(taps="all"))
    assert [score.tap for score in after.scores] == ["conv", "fc"]
    assert after.scores[0] == before.scores[0]
    assert hashlib.sha256(weights.read_bytes()).digest() == content
    assert after.cost["train_seconds"] == before.cost["train_seconds"]
    assert after.checks["encoder_sha256"] == before.checks["encoder_sha256"]


def test_new_evaluator_adds_scores_without_training(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,probes")
    before = run_done(job())
    forbid_training(monkeypatch)
    after = run_done(job(evaluators="centroid,knn[k=1]"))
    assert after.scores[: len(before.scores)] == before.scores
    assert {score.evaluator for score in after.scores[len(before.scores) :]} == {"knn[k=1]"}
    with np.load(folder_of(job()) / "predictions.npz") as file:
        assert all(score.outcomes in file.files for score in after.scores)


def test_weights_with_a_flipped_bit_get_no_score_and_cost_none(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_done(job(taps=("conv",)))
    weights = folder_of(job()) / "model.safetensors"
    intact = weights.read_bytes()
    flip_bit(weights)
    assert "model.safetensors (SHA-256" in run_failed(job(taps="all")).reason
    failed = read_record(folder_of(job()))
    assert (failed.scores, failed.checks, failed.state) == (before.scores, before.checks, "done")
    assert "model.safetensors" in (failed.failure or {})["reason"]
    weights.write_bytes(intact)
    forbid_training(monkeypatch)
    after = run_done(job(taps="all"))
    assert after.scores[:1] == before.scores
    assert after.failure is None


def test_interrupted_cell_records_the_checksum_of_its_weights(job: JobMaker) -> None:
    run_failed(job(evaluators="fault_raises"))
    flip_bit(folder_of(job()) / "model.safetensors")
    assert "model.safetensors (SHA-256" in run_failed(job()).reason
    assert not read_record(folder_of(job())).scores


def test_weights_without_a_recorded_checksum_are_scored_with_a_note(job: JobMaker) -> None:
    run_done(job(taps=("conv",)))
    change_records(folder_of(job()).parent, lambda body: body.update(checks={"trained": True}))
    notes: list[Event] = []
    run_done(job(taps="all"), reporter=notes.append)
    assert ["not compared with a checksum" in event.text for event in notes if event.kind == "note"] == [True]


def test_trained_cell_without_scores_is_only_scored(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    run_failed(job(evaluators="fault_raises"))
    forbid_training(monkeypatch)
    after = run_done(job())
    assert len(after.scores) == 2
    assert after.failure is None


def test_failing_evaluator_affects_neither_training_nor_other_scores(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_failed(job(evaluators="fault_raises,centroid"))
    record = read_record(folder_of(job()))
    assert record.trained
    assert [score.evaluator for score in record.scores] == ["centroid", "centroid"]
    assert outcome.reason == (
        "fault_raises at conv: ZeroDivisionError: the third-party evaluator failed; "
        "fault_raises at fc: ZeroDivisionError: the third-party evaluator failed"
    )
    assert "the third-party evaluator failed" in outcome.traceback
    assert record.failure is not None
    assert record.failure["stage"] == "evaluate fault_raises at conv"
    forbid_training(monkeypatch)
    assert run_done(job()).state == "done"


def test_evaluator_without_a_measurement_is_named(job: JobMaker) -> None:
    reason = run_failed(job(evaluators="fault_empty")).reason
    assert "evaluator 'fault_empty': the evaluation has no measurement" in reason


def test_finished_cell_stays_finished_if_a_new_evaluator_fails(job: JobMaker) -> None:
    before = run_done(job())
    outcome = run_failed(job(evaluators="centroid,fault_raises"))
    after = read_record(folder_of(job()))
    assert (after.state, after.scores) == ("done", before.scores)
    assert after.failure is not None
    assert after.failure["reason"] == outcome.reason
    assert run_done(job()).failure is None


def test_evaluator_that_trains_the_encoder_fails_the_cell_and_no_score_is_kept(job: JobMaker) -> None:
    outcome = run_failed(job(evaluators="centroid,fault_trains"))
    assert "weights or running statistics changed while it was scored" in outcome.reason
    record = read_record(folder_of(job()))
    assert record.scores == ()
    assert "frozen" not in record.checks
    assert run_done(job()).scores == run_done(job(rerun=True)).scores  # the weights on disk are the trained ones
