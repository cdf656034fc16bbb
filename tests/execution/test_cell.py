"""One cell from settings to record: stages, events, failures, locks, memory."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from sample_jobs import JobMaker, folder_of, forbid_training, replace_loss, run_done, run_failed

from benchmark.api.catalog import load_catalog
from benchmark.api.cells import Job
from benchmark.api.grammar import parse_items
from benchmark.execution.cell import run_cell
from benchmark.execution.plan import plan
from benchmark.execution.request import Request
from benchmark.progress import Event
from benchmark.records import locks
from benchmark.records.record_files import read_record
from benchmark.records.record_text import SchemaError


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stamps(job: Job) -> dict[str, tuple[str, int]]:
    return {path.name: (hash_of(path), path.stat().st_mtime_ns) for path in folder_of(job).iterdir()}


# --- stages and events ------------------------------------------------------------------------------------------------


def test_events_report_the_start_each_epoch_each_stage_and_the_end(job: JobMaker) -> None:
    events: list[Event] = []
    run_cell(job(epochs=2), reporter=events.append)
    assert (events[0].kind, events[-1].kind, events[-1].stage) == ("started", "finished", "done")
    assert [(event.done, event.total) for event in events if event.kind == "epoch"] == [(1, 2), (2, 2)]
    stages = [event.stage for event in events if event.kind == "stage"]
    assert stages == ["load the dataset", "train", "features", "evaluate centroid at conv", "evaluate centroid at fc"]


def test_cell_in_another_folder_gives_the_same_weights_and_scores(job: JobMaker, tmp_path: Path) -> None:
    first, second = job(), job(out=tmp_path / "elsewhere")
    torch.manual_seed(5)  # the global generator must not matter
    assert run_done(first).scores == run_done(second).scores
    assert hash_of(folder_of(first) / "model.safetensors") == hash_of(folder_of(second) / "model.safetensors")


def test_smoke_cell_is_marked_and_trains_for_four_steps(job: JobMaker) -> None:
    record = run_done(job(smoke=True, epochs=5))
    assert (record.state, record.cost["images_seen"]) == ("smoke", 64)


def test_threads_are_set_for_the_cell_and_restored(job: JobMaker) -> None:
    before = torch.get_num_threads()
    record = run_done(job(threads=before + 1))
    assert torch.get_num_threads() == before
    assert record.provenance["threads"] == before + 1


def test_built_in_cell_leaves_a_record(tmp_path: Path) -> None:
    catalog = load_catalog("rotation,encoders,images,probes")
    request = Request(
        methods=parse_items(["rotation"]),
        encoders=parse_items(["dim_conv"]),
        datasets=parse_items(["digits[subset=100]"]),
        evaluators=parse_items(["knn[k=1;5]"]),
        epochs=1,
        floors=False,
        data_dir=tmp_path,
    )
    (planned,) = plan(request, catalog).cells
    job = Job(
        cell=planned.cell, scores=planned.scores, data_dir=str(tmp_path), out_dir=str(tmp_path / "runs"), folder="cell"
    )
    scores = run_done(job, catalog=catalog).scores
    metrics = {f"{kind}@k={k}" for kind in ("accuracy", "vote_accuracy") for k in (1, 5)}
    assert {score.metric for score in scores} == metrics
    assert {score.n for score in scores} == {360}
    assert all(0.3 < score.value <= 1 for score in scores)  # 0.1 is chance level for ten classes


def test_rerun_trains_again_to_the_same_bits(job: JobMaker) -> None:
    before = run_done(job())
    weights = folder_of(job()) / "model.safetensors"
    content, modified = hash_of(weights), weights.stat().st_mtime_ns
    after = run_done(job(rerun=True))
    assert hash_of(weights) == content
    assert weights.stat().st_mtime_ns > modified
    assert after.scores == before.scores


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("fault_build", "RuntimeError: the third-party build failed"),
        ("fault_loss", "RuntimeError: the third-party loss failed"),
        ("fault_nan", "the loss was not finite in step 3 (epoch 1): total nan, error 0."),
        ("fault_detached", "method 'fault_detached': the loss does not depend on the encoder"),
    ],
)
def test_failing_method_leaves_a_record_with_stage_reason_and_traceback(
    job: JobMaker, method: str, reason: str
) -> None:
    outcome = run_failed(job(method))
    record = read_record(folder_of(job(method)))
    assert reason in outcome.reason
    assert record.state == "failed"
    assert record.failure is not None
    assert (record.failure["stage"], record.failure["reason"]) == ("train", outcome.reason)
    assert "Traceback" in record.failure["traceback"]
    log = (folder_of(job(method)) / "log.txt").read_text()
    assert "failed in 'train'" in log
    assert "Traceback" in log
    assert not record.trained
    assert record.cell["recipe"]["epochs"] == 1


def test_failing_rerun_keeps_finished_scores_and_weights(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_done(job())
    weights = hash_of(folder_of(job()) / "model.safetensors")
    replace_loss(monkeypatch, lambda self, batch: 1 / 0)
    run_failed(job(rerun=True))
    after = read_record(folder_of(job()))
    assert (after.state, after.scores) == ("done", before.scores)
    assert hash_of(folder_of(job()) / "model.safetensors") == weights


def test_system_exit_of_a_plugin_fails_only_the_cell(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(self: Any, batch: Any) -> None:
        raise SystemExit(9)

    replace_loss(monkeypatch, leave)
    assert run_failed(job()).reason == "SystemExit: 9"


def test_interrupt_is_recorded_and_raised(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Any, batch: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        replace_loss(patch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_cell(job())
    assert read_record(folder_of(job())).state == "interrupted"
    assert run_done(job()).state == "done"


def test_folder_that_cannot_be_created_is_an_outcome(job: JobMaker) -> None:
    Path(job().out_dir).write_text("a file in the way")
    reason = run_failed(job()).reason
    assert "File exists" in reason or "Not a directory" in reason


def test_full_disk_fails_the_cell(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in run_failed(job()).reason


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema_version": 1}'])
def test_damaged_record_is_renamed_and_the_cell_runs_again(job: JobMaker, damage: bytes) -> None:
    before = run_done(job())
    (folder_of(job()) / "record.json").write_bytes(damage)
    events: list[Event] = []
    assert run_done(job(), reporter=events.append).scores == before.scores
    assert (folder_of(job()) / "record.json.unreadable-1").read_bytes() == damage
    assert any("record.json.unreadable-1" in event.text for event in events if event.kind == "note")


def test_record_of_another_schema_version_is_left_untouched(job: JobMaker) -> None:
    run_done(job())
    path = folder_of(job()) / "record.json"
    path.write_text(path.read_text().replace('"schema_version": 2', '"schema_version": 99'))
    before = stamps(job())
    assert "schema version 99" in run_failed(job()).reason
    assert stamps(job()) == before
    with pytest.raises(SchemaError):
        read_record(folder_of(job()))


# --- other runs on the same folder ------------------------------------------------------------------------------------


def test_cell_locked_by_another_run_is_not_run(job: JobMaker) -> None:
    lock = locks.acquire(folder_of(job()), "another run's cell", "cpu")
    assert lock is not None
    try:
        outcome = run_cell(job())
    finally:
        lock.release()
    assert outcome.state == "elsewhere"
    assert not (folder_of(job()) / "record.json").exists()


def test_cell_that_another_run_has_finished_is_not_touched(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    run_done(job())
    forbid_training(monkeypatch)
    before = stamps(job())
    assert run_cell(job()).state == "done"
    assert stamps(job()) == before


def test_lock_is_released_however_the_cell_ends(job: JobMaker) -> None:
    run_done(job())
    run_failed(job("fault_loss"))
    assert not list(Path(job().out_dir).glob(f"*/{locks.LOCK}"))


def test_cell_without_its_lock_writes_nothing(job: JobMaker) -> None:
    stolen = job(epochs=2)

    def steal(event: Event) -> None:
        if event.kind == "epoch" and event.done == 2:
            (folder_of(stolen) / locks.LOCK).write_text("{}")

    outcome = run_cell(stolen, reporter=steal)
    assert outcome.state == "elsewhere"
    assert "another run took over this cell" in outcome.reason
    assert not (folder_of(stolen) / "record.json").exists()


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_memory(third_party: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Memory for batches of 5; returns the batch sizes that were tried."""
    from bench_third_party.mean_color import MeanColor

    tried: list[int] = []
    original = MeanColor.loss

    def loss(self: Any, batch: Any) -> Any:
        tried.append(len(batch.images))
        if len(batch.images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return original(self, batch)

    replace_loss(monkeypatch, loss)
    return tried


def test_out_of_memory_is_reported_with_batch_and_memory(job: JobMaker, small_memory: list[int]) -> None:
    outcome = run_failed(job())
    assert outcome.cause == "memory"
    assert "CUDA out of memory" in outcome.reason
    assert "batch 16; this cell's process held up to" in outcome.reason
    assert "would fit" not in outcome.reason
    assert small_memory == [16]


def test_exclusive_job_reports_the_batch_that_would_fit_without_using_it(
    job: JobMaker, small_memory: list[int]
) -> None:
    outcome = run_failed(dataclasses.replace(job(), exclusive=True))
    assert "a batch of 4 would fit (--set batch=...; it is not used automatically" in outcome.reason
    assert small_memory[:3] == [16, 8, 4]
    assert not read_record(folder_of(job())).trained


def test_other_failures_have_no_cause(job: JobMaker) -> None:
    assert run_failed(job("fault_loss")).cause == ""
