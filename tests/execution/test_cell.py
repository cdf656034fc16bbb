"""One cell from settings to record: what it leaves, what is not done twice, and what is kept when something fails."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import benchmark
from benchmark.api.catalog import load_catalog
from benchmark.api.cells import Job, Outcome
from benchmark.api.grammar import parse_items
from benchmark.errors import RecordError
from benchmark.execution import cell as cells
from benchmark.execution.plan import cell_folder, plan
from benchmark.execution.request import Request
from benchmark.progress import Event
from benchmark.records import locks
from benchmark.records.record import Record, SchemaError, read_record

JobMaker = Callable[..., Job]


@pytest.fixture
def job(third_party: Path, tmp_path: Path) -> JobMaker:
    """A job of one method on the third-party encoder and dataset: one epoch of three steps."""

    def make(method: str = "mean_color", **request: Any) -> Job:
        given = {
            "encoders": "tiny",
            "datasets": "stripes",
            "evaluators": "centroid",
            "epochs": 1,
            "out": tmp_path / "runs",
            **request,
        }
        change = {key: given.pop(key) for key in ("rerun", "threads") if key in given}
        out = given.pop("out")
        for kind in ("encoders", "datasets", "evaluators"):
            given[kind] = parse_items([given[kind]])
        asked = Request(methods=parse_items([method]), floors=False, data_dir=tmp_path / "data", **given)
        (planned,) = plan(asked, load_catalog()).cells
        folder = cell_folder(planned.cell)
        made = Job(
            cell=planned.cell, scores=planned.scores, data_dir=str(tmp_path / "data"), out_dir=str(out), folder=folder
        )
        return dataclasses.replace(made, **change)

    return make


def folder(job: Job) -> Path:
    return Path(job.out_dir) / job.folder


def done(job: Job) -> Record:
    outcome = cells.run_cell(job)
    assert outcome.state in ("done", "smoke"), outcome.traceback
    return read_record(folder(job))


def failed(job: Job) -> Outcome:
    outcome = cells.run_cell(job)
    assert outcome.state == "failed"
    assert outcome.reason
    return outcome


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and whoever trains from then on fails the test."""

    def forbid() -> None:
        def refuse(*arguments: object) -> None:
            pytest.fail("trained again")

        monkeypatch.setattr(cells, "train", refuse)

    return forbid


# --- what a cell leaves -----------------------------------------------------------------------------------------------


def test_a_record_is_complete(job: JobMaker) -> None:
    made = job()
    done(made)
    body = json.loads((folder(made) / "record.json").read_text())
    assert sorted(body) == sorted(
        ("schema_version", "id", "state", "cell", "scores", "cost", "provenance", "checks", "failure")
    )
    assert (body["schema_version"], body["id"], body["state"], body["failure"]) == (1, made.cell.id, "done", None)
    cell = body["cell"]
    assert (cell["method"]["label"], cell["encoder"]["label"], cell["dataset"]["label"]) == (
        "mean_color",
        "tiny",
        "stripes",
    )
    assert (cell["seed"], cell["recipe"]["epochs"], cell["image_shape"]) == (0, 1, [3, 8, 8])
    assert cell["method"]["provider"] == "repbench-third-party"
    assert body["cost"]["images_seen"] == 48
    assert min(body["cost"][key] for key in ("train_seconds", "images_per_second", "peak_memory_bytes")) > 0
    provenance = body["provenance"]
    assert (provenance["device"], provenance["precision"], provenance["threads"]) == ("cpu", "float32", 1)
    assert provenance["plugins"]["repbench-third-party"] == "0.3.1"
    assert provenance["versions"] == {"method": 1, "encoder": 1, "dataset": 1}
    assert body["checks"]["frozen"] is True
    assert body["checks"]["learned"] in (True, False)


def test_a_score_has_its_conditions_and_an_interval_around_it(job: JobMaker) -> None:
    record = done(job())
    assert [(score.tap, score.metric) for score in record.scores] == [("conv", "accuracy"), ("fc", "accuracy")]
    for score in record.scores:
        assert (score.pool, score.evaluator, score.protocol, score.n) == ("average", "centroid", "centroid@1", 24)
        assert score.ci_low is not None
        assert score.ci_high is not None
        assert 0 <= score.ci_low < score.value < score.ci_high <= 1
        assert score.headline


def test_the_outcomes_of_each_image_are_kept_and_their_mean_is_the_score(job: JobMaker) -> None:
    made = job()
    record = done(made)
    with np.load(folder(made) / "predictions.npz", allow_pickle=False) as file:
        for score in record.scores:
            assert score.outcomes is not None
            assert file[score.outcomes].mean() == pytest.approx(score.value)
        predicted = [name for name in file.files if name.endswith("|prediction|class")]
    assert len(predicted) == 2


def test_the_curve_has_a_row_for_each_epoch(job: JobMaker) -> None:
    made = job(epochs=3)
    done(made)
    rows = (folder(made) / "curve.csv").read_text().splitlines()
    assert rows[0] == "epoch,learning_rate,total,error"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3"]


def test_nothing_temporary_is_left(job: JobMaker) -> None:
    made = job()
    done(made)
    assert sorted(path.name for path in folder(made).iterdir()) == [
        "curve.csv",
        "model.safetensors",
        "predictions.npz",
        "record.json",
    ]


def test_events_tell_the_start_each_epoch_each_stage_and_the_end(job: JobMaker) -> None:
    events: list[Event] = []
    cells.run_cell(job(epochs=2), reporter=events.append)
    assert (events[0].kind, events[-1].kind, events[-1].stage) == ("started", "finished", "done")
    assert [(event.done, event.total) for event in events if event.kind == "epoch"] == [(1, 2), (2, 2)]
    stages = [event.stage for event in events if event.kind == "stage"]
    assert stages == ["load the dataset", "train", "features", "evaluate centroid at conv", "evaluate centroid at fc"]


def test_the_same_cell_elsewhere_gives_the_same_weights_and_scores(job: JobMaker, tmp_path: Path) -> None:
    one, other = job(), job(out=tmp_path / "elsewhere")
    torch.manual_seed(5)  # what was drawn before plays no part
    assert done(one).scores == done(other).scores
    assert hash_of(folder(one) / "model.safetensors") == hash_of(folder(other) / "model.safetensors")


def test_a_subset_is_what_is_trained_on(job: JobMaker) -> None:
    record = done(job(datasets="stripes[subset=20]"))
    assert record.cell["dataset"]["subset"] == 20
    assert record.cost["images_seen"] == 16  # one whole batch
    assert {score.n for score in record.scores} == {24}


def test_a_teacher_is_what_is_saved_and_scored(job: JobMaker) -> None:
    byol = job("byol[momentum=0.5]")
    record = done(byol)
    weights = safetensors.torch.load_file(folder(byol) / "model.safetensors")
    assert all(name.startswith(("network.", "mean", "std")) for name in weights)
    assert record.checks["learned"] is None


def test_a_smoke_cell_is_marked_and_makes_four_steps(job: JobMaker) -> None:
    record = done(job(smoke=True, epochs=5))
    assert (record.state, record.cost["images_seen"]) == ("smoke", 64)


def test_threads_are_set_for_the_cell_and_put_back(job: JobMaker) -> None:
    before = torch.get_num_threads()
    record = done(job(threads=before + 1))
    assert torch.get_num_threads() == before
    assert record.provenance["threads"] == before + 1


def test_a_built_in_cell_leaves_a_record_too(tmp_path: Path) -> None:
    found = load_catalog("rotation,encoders,images,probes")
    asked = Request(
        methods=parse_items(["rotation"]),
        encoders=parse_items(["dim_conv"]),
        datasets=parse_items(["digits[subset=100]"]),
        evaluators=parse_items(["knn[k=1;5]"]),
        epochs=1,
        floors=False,
        data_dir=tmp_path,
    )
    (planned,) = plan(asked, found).cells
    made = Job(
        cell=planned.cell, scores=planned.scores, data_dir=str(tmp_path), out_dir=str(tmp_path / "runs"), folder="cell"
    )
    assert cells.run_cell(made, catalog=found).state == "done"
    scores = read_record(tmp_path / "runs" / "cell").scores
    assert {score.metric for score in scores} == {
        f"{kind}@k={k}" for kind in ("accuracy", "vote_accuracy") for k in (1, 5)
    }
    assert {score.n for score in scores} == {360}
    assert all(0.3 < score.value <= 1 for score in scores)  # ten classes: 0.1 is chance


# --- load_encoder -----------------------------------------------------------------------------------------------------


def test_load_encoder_gives_the_features_that_were_scored(job: JobMaker) -> None:
    made = job()
    record = done(made)
    encoder = benchmark.load_encoder(folder(made))
    assert not encoder.training
    entry = load_catalog().find(load_catalog().datasets, "dataset", "stripes")
    data = entry.spec.load(entry.spec.params(), Path())
    with torch.no_grad():
        train, test = (
            encoder(torch.from_numpy(split.images).float() / 255, ["fc"])["fc"] for split in (data.train, data.test)
        )
    labels = torch.from_numpy(data.train.labels)
    means = torch.stack([train[labels == label].mean(dim=0) for label in range(4)])
    predicted = torch.cdist(test, means).argmin(dim=1).numpy()
    with np.load(folder(made) / "predictions.npz") as file:
        assert np.array_equal(predicted, file["fc|average|centroid|centroid@1|prediction|class"])
    assert np.mean(predicted == data.test.labels) == pytest.approx(record.scores[1].value)


def test_load_encoder_brings_the_normalization_along(job: JobMaker) -> None:
    made = job()
    done(made)
    entry = load_catalog().find(load_catalog().datasets, "dataset", "stripes")
    images = entry.spec.load(entry.spec.params(), Path()).train.images / 255
    encoder = benchmark.load_encoder(folder(made))
    assert encoder.mean.flatten().tolist() == pytest.approx(images.mean(axis=(0, 2, 3)).tolist(), abs=1e-5)
    assert encoder.std.flatten().tolist() == pytest.approx(images.std(axis=(0, 2, 3)).tolist(), abs=1e-5)


def test_load_encoder_of_a_cell_that_was_not_trained_says_so(job: JobMaker) -> None:
    made = job("fault_loss")
    failed(made)
    with pytest.raises(RecordError, match=r"holds no trained weights \(state failed\)"):
        benchmark.load_encoder(folder(made))


def test_load_encoder_of_a_folder_without_a_record_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"holds no record\.json"):
        benchmark.load_encoder(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "gone", "another"])
def test_weights_that_cannot_be_loaded_are_named(job: JobMaker, damage: str) -> None:
    made = job()
    done(made)
    path = folder(made) / "model.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "gone":
        path.unlink()
    else:
        safetensors.torch.save_file({"network.other": torch.zeros(3)}, path)
    with pytest.raises(RecordError, match=r"model\.safetensors cannot be loaded.*--rerun all"):
        benchmark.load_encoder(folder(made))


# --- what is not done twice -------------------------------------------------------------------------------------------


def test_a_new_tap_adds_scores_and_trains_nothing(job: JobMaker, no_training: Callable[[], None]) -> None:
    first = job(taps=("conv",))
    before = done(first)
    weights = hash_of(folder(first) / "model.safetensors")
    no_training()
    after = done(job(taps="all"))
    assert [score.tap for score in after.scores] == ["conv", "fc"]
    assert after.scores[0] == before.scores[0]
    assert hash_of(folder(first) / "model.safetensors") == weights
    assert after.cost["train_seconds"] == before.cost["train_seconds"]
    assert after.checks["encoder_sha256"] == before.checks["encoder_sha256"]


def test_a_new_evaluator_adds_scores_and_trains_nothing(
    job: JobMaker, no_training: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,probes")
    first = job()
    before = done(first)
    no_training()
    after = done(job(evaluators="centroid,knn[k=1]"))
    assert after.scores[: len(before.scores)] == before.scores
    assert {score.evaluator for score in after.scores[len(before.scores) :]} == {"knn[k=1]"}
    with np.load(folder(first) / "predictions.npz") as file:
        assert all(score.outcomes in file.files for score in after.scores)


def test_another_pooling_adds_scores_and_trains_nothing(job: JobMaker, no_training: Callable[[], None]) -> None:
    done(job(taps=("conv",)))
    no_training()
    after = done(job(taps=("conv",), evaluators="centroid[pool=flat]"))
    assert [score.pool for score in after.scores] == ["average", "flat"]


def test_a_cell_that_was_trained_but_not_scored_is_only_scored(job: JobMaker, no_training: Callable[[], None]) -> None:
    made = job(evaluators="fault_raises")
    failed(made)
    no_training()
    after = done(job())
    assert len(after.scores) == 2
    assert after.failure is None


def test_a_job_to_rerun_trains_again_to_the_same_bits(job: JobMaker) -> None:
    made = job()
    before = done(made)
    weights = folder(made) / "model.safetensors"
    first, age = hash_of(weights), weights.stat().st_mtime_ns
    after = done(dataclasses.replace(made, rerun=True))
    assert hash_of(weights) == first
    assert weights.stat().st_mtime_ns > age
    assert after.scores == before.scores


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("fault_build", "RuntimeError: the third-party build failed"),
        ("fault_loss", "RuntimeError: the third-party loss failed"),
        ("fault_nan", "the loss was not finite in step 3 (epoch 1): total nan, error 0."),
        ("fault_detached", "method 'fault_detached': its loss does not depend on the encoder"),
    ],
)
def test_a_method_that_goes_wrong_leaves_a_record_that_says_how(job: JobMaker, method: str, reason: str) -> None:
    made = job(method)
    outcome = failed(made)
    record = read_record(folder(made))
    assert reason in outcome.reason
    assert record.state == "failed"
    assert record.failure is not None
    assert (record.failure["stage"], record.failure["reason"]) == ("train", outcome.reason)
    assert "Traceback" in record.failure["traceback"]
    log = (folder(made) / "log.txt").read_text()
    assert "failed in 'train'" in log
    assert "Traceback" in log
    assert not record.trained
    assert record.cell["recipe"]["epochs"] == 1


def test_an_evaluator_that_fails_costs_neither_training_nor_the_other_evaluators(
    job: JobMaker, no_training: Callable[[], None]
) -> None:
    made = job(evaluators="fault_raises,centroid")
    outcome = failed(made)
    record = read_record(folder(made))
    assert record.trained
    assert [score.evaluator for score in record.scores] == ["centroid", "centroid"]
    assert outcome.reason == (
        "fault_raises at conv: ZeroDivisionError: the third-party evaluator failed; "
        "fault_raises at fc: ZeroDivisionError: the third-party evaluator failed"
    )
    assert "went wrong" in outcome.traceback
    assert record.failure is not None
    assert record.failure["stage"] == "evaluate fault_raises at conv"
    no_training()
    assert done(job()).state == "done"


def test_an_evaluator_without_a_number_fails_and_is_named(job: JobMaker) -> None:
    assert "evaluator 'fault_empty' gave no measurement" in failed(job(evaluators="fault_empty")).reason


def test_a_finished_cell_stays_finished_when_a_new_evaluator_fails(job: JobMaker) -> None:
    made = job()
    before = done(made)
    outcome = failed(job(evaluators="centroid,fault_raises"))
    after = read_record(folder(made))
    assert (after.state, after.scores) == ("done", before.scores)
    assert after.failure is not None
    assert after.failure["reason"] == outcome.reason
    assert done(made).failure is None


def test_an_evaluator_that_trains_the_encoder_is_caught_and_none_of_its_scores_kept(job: JobMaker) -> None:
    made = job(evaluators="centroid,fault_trains")
    outcome = failed(made)
    assert "weights or running statistics changed while it was scored" in outcome.reason
    record = read_record(folder(made))
    assert record.scores == ()
    assert "frozen" not in record.checks
    assert done(job()).scores == done(job(rerun=True)).scores  # the weights on the disk are the trained ones


def test_a_rerun_that_fails_leaves_what_was_finished(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job()
    before = done(made)
    weights = hash_of(folder(made) / "model.safetensors")
    monkeypatch.setattr(cells, "train", lambda *arguments: 1 / 0)
    failed(dataclasses.replace(made, rerun=True))
    after = read_record(folder(made))
    assert (after.state, after.scores) == ("done", before.scores)
    assert hash_of(folder(made) / "model.safetensors") == weights


def test_system_exit_in_third_party_code_fails_the_cell_and_nothing_else(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(*arguments: object) -> None:
        raise SystemExit(9)

    monkeypatch.setattr(cells, "train", leave)
    assert failed(job()).reason == "SystemExit: 9"


def test_an_interrupt_is_recorded_and_passed_on(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    made = job()
    with monkeypatch.context() as patched:
        patched.setattr(cells, "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            cells.run_cell(made)
    assert read_record(folder(made)).state == "interrupted"
    assert done(made).state == "done"


def test_a_folder_that_cannot_be_made_is_an_outcome(job: JobMaker) -> None:
    made = job()
    Path(made.out_dir).write_text("a file in the way")
    assert "File exists" in failed(made).reason or "Not a directory" in failed(made).reason


def test_a_full_disk_fails_the_cell(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in failed(job()).reason


# --- damaged folders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"schema_version": 1}'])
def test_a_damaged_record_is_set_aside_and_the_cell_done_again(job: JobMaker, damage: bytes) -> None:
    made = job()
    before = done(made)
    (folder(made) / "record.json").write_bytes(damage)
    events: list[Event] = []
    assert cells.run_cell(made, reporter=events.append).state == "done"
    assert read_record(folder(made)).scores == before.scores
    assert (folder(made) / "record.json.unreadable-1").read_bytes() == damage
    assert any("record.json.unreadable-1" in event.text for event in events if event.kind == "note")


def test_a_record_of_another_schema_version_is_not_touched(job: JobMaker) -> None:
    made = job()
    done(made)
    path = folder(made) / "record.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 99'))
    before = {file.name: (hash_of(file), file.stat().st_mtime_ns) for file in folder(made).iterdir()}
    assert "schema version 99" in failed(made).reason
    assert {file.name: (hash_of(file), file.stat().st_mtime_ns) for file in folder(made).iterdir()} == before
    with pytest.raises(SchemaError):
        read_record(folder(made))


@pytest.mark.parametrize("damage", ["truncated", "empty", "gone"])
def test_damaged_outcomes_are_not_quietly_replaced_by_fewer(job: JobMaker, damage: str) -> None:
    first = job(taps=("conv",))
    done(first)
    path = folder(first) / "predictions.npz"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200] if damage == "truncated" else b"")
    more = job(taps="all")
    assert "predictions.npz cannot be read" in failed(more).reason
    assert "--rerun all" in failed(more).reason
    assert len(done(dataclasses.replace(more, rerun=True)).scores) == 2


def test_damaged_weights_fail_the_cell_and_say_what_to_do(job: JobMaker) -> None:
    first = job(taps=("conv",))
    done(first)
    (folder(first) / "model.safetensors").write_bytes(b"no weights")
    outcome = failed(job(taps="all"))
    assert "model.safetensors cannot be loaded" in outcome.reason
    assert "--rerun all" in outcome.reason


def begun(made: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves a checkpoint of two epochs."""
    real = cells.TrainingTask

    def stop(event: Event) -> None:
        if event.kind == "epoch" and event.done == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cells, "TrainingTask", lambda **given: real(**{**given, "checkpoint_epochs": 1}))
        with pytest.raises(KeyboardInterrupt):
            cells.run_cell(made, reporter=stop)


def test_a_checkpoint_of_an_earlier_attempt_is_gone_on_with(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(epochs=4)
    begun(made, monkeypatch)
    assert (folder(made) / "checkpoint.pt").exists()
    events: list[Event] = []
    cells.run_cell(made, reporter=events.append)
    assert [event.done for event in events if event.kind == "epoch"] == [3, 4]
    assert not (folder(made) / "checkpoint.pt").exists()
    resumed = read_record(folder(made))
    again = done(dataclasses.replace(made, rerun=True))
    assert resumed.checks["encoder_sha256"] == again.checks["encoder_sha256"]
    assert len((folder(made) / "curve.csv").read_text().splitlines()) == 5


def test_a_checkpoint_of_another_law_is_not_gone_on_with(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    import bench_third_party

    begun(job(epochs=4), monkeypatch)
    monkeypatch.setattr(bench_third_party, "METHOD_VERSION", 2)
    events: list[Event] = []
    cells.run_cell(job(epochs=4), reporter=events.append)
    assert [event.done for event in events if event.kind == "epoch"] == [1, 2, 3, 4]


def test_a_cell_that_was_begun_with_one_number_of_threads_ends_with_it(
    job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(job(epochs=4), monkeypatch)
    events: list[Event] = []
    cells.run_cell(job(epochs=4, threads=2), reporter=events.append)
    assert [event.done for event in events if event.kind == "epoch"] == [3, 4]
    assert read_record(folder(job(epochs=4))).provenance["threads"] == 1


# --- a folder that others use as well ---------------------------------------------------------------------------------


def test_a_cell_that_another_run_works_on_is_left_to_it(job: JobMaker) -> None:
    made = job()
    claim = locks.acquire(folder(made), "somebody's", "cpu")
    assert claim is not None
    try:
        outcome = cells.run_cell(made)
    finally:
        claim.release()
    assert outcome.state == "elsewhere"
    assert not (folder(made) / "record.json").exists()


def test_a_cell_that_another_run_has_finished_meanwhile_is_not_touched(job: JobMaker) -> None:
    made = job()
    done(made)
    before = {path.name: path.stat().st_mtime_ns for path in folder(made).iterdir()}
    assert cells.run_cell(made).state == "done"
    assert {path.name: path.stat().st_mtime_ns for path in folder(made).iterdir()} == before


def test_a_claim_is_given_back_however_the_cell_ends(job: JobMaker) -> None:
    done(job())
    failed(job(method="fault_loss"))
    assert not list(Path(job().out_dir).glob("*/claim.json"))


def test_who_has_lost_its_claim_writes_nothing_more(job: JobMaker) -> None:
    made = job(epochs=2)

    def steal(event: Event) -> None:
        if event.kind == "epoch" and event.done == 2:
            (folder(made) / "claim.json").write_text("{}")

    outcome = cells.run_cell(made, reporter=steal)
    assert outcome.state == "elsewhere"
    assert "taken over by another run" in outcome.reason
    assert not (folder(made) / "record.json").exists()


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Room for batches of 5; the sizes that were tried."""
    from bench_third_party.mean_color import MeanColor

    tried: list[int] = []
    real = MeanColor.loss

    def loss(self: Any, batch: Any) -> Any:
        tried.append(len(batch.images))
        if len(batch.images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, batch)

    monkeypatch.setattr(MeanColor, "loss", loss)
    return tried


def test_memory_that_ran_out_is_told_with_the_figures(job: JobMaker, small_memory: list[int]) -> None:
    outcome = failed(job())
    assert outcome.cause == "memory"
    assert "CUDA out of memory" in outcome.reason
    assert "batch 16; this cell's process held up to" in outcome.reason
    assert "would fit" not in outcome.reason
    assert small_memory == [16]


def test_a_second_try_alone_finds_the_batch_that_would_fit_and_does_not_take_it(
    job: JobMaker, small_memory: list[int]
) -> None:
    outcome = failed(dataclasses.replace(job(), alone=True))
    assert "a batch of 4 would fit (--set batch=...; it is not used automatically" in outcome.reason
    assert small_memory[:3] == [16, 8, 4]
    assert not read_record(folder(job())).trained


def test_another_failure_is_none_of_memory(job: JobMaker) -> None:
    assert failed(job(method="fault_loss")).cause == ""
