"""The training stage of a cell: what is trained on, what is saved, and how a checkpoint is resumed."""

from __future__ import annotations

import dataclasses

import pytest
import safetensors.torch
from flipped_bits import flip_bit
from sample_jobs import JobMaker, folder_of, run_done, run_failed

from benchmark.api.cells import Job
from benchmark.execution.cell import run_cell
from benchmark.progress import Event
from benchmark.records.record_files import read_record


def epochs_of(job: Job) -> list[int]:
    """The epochs that a run of the job trains."""
    events: list[Event] = []
    assert run_cell(job, reporter=events.append).state == "done"
    return [event.done for event in events if event.kind == "epoch"]


@pytest.fixture
def interrupted(job: JobMaker) -> Job:
    """A cell of four epochs with a checkpoint of two."""
    begun = job(epochs=4, checkpoint_epochs=1)

    def interrupt(event: Event) -> None:
        if event.kind == "epoch" and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(begun, reporter=interrupt)
    return dataclasses.replace(begun, checkpoint_epochs=None)


def test_subset_limits_the_training_images_but_not_the_test_images(job: JobMaker) -> None:
    record = run_done(job(datasets="stripes[subset=20]"))
    assert record.cell["dataset"]["subset"] == 20
    assert record.cost["images_seen"] == 16  # one full batch
    assert {score.n for score in record.scores} == {24}


def test_method_that_trains_another_encoder_saves_and_scores_that_one(job: JobMaker) -> None:
    byol = job("byol[momentum=0.5]")
    record = run_done(byol)
    weights = safetensors.torch.load_file(folder_of(byol) / "model.safetensors")
    assert all(name.startswith(("network.", "mean", "std")) for name in weights)
    assert record.checks["failed_to_learn"] is None


def test_checkpoint_is_resumed_to_the_same_bits_as_an_uninterrupted_run(interrupted: Job) -> None:
    assert (folder_of(interrupted) / "checkpoint.pt").exists()
    assert epochs_of(interrupted) == [3, 4]
    assert not (folder_of(interrupted) / "checkpoint.pt").exists()
    resumed = read_record(folder_of(interrupted))
    again = run_done(dataclasses.replace(interrupted, rerun=True))
    assert resumed.checks["encoder_sha256"] == again.checks["encoder_sha256"]
    assert len((folder_of(interrupted) / "curve.csv").read_text().splitlines()) == 5


def test_checkpoint_of_another_version_is_not_resumed(
    interrupted: Job, job: JobMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench_third_party

    monkeypatch.setattr(bench_third_party, "METHOD_VERSION", 2)
    assert epochs_of(job(epochs=4)) == [1, 2, 3, 4]


def test_resumed_training_keeps_its_number_of_threads(interrupted: Job) -> None:
    assert epochs_of(dataclasses.replace(interrupted, threads=2)) == [3, 4]
    assert read_record(folder_of(interrupted)).provenance["threads"] == 1


def test_weights_file_that_changed_after_planning_is_not_used(job: JobMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PLUGINS", "third_party,bounds")
    run_done(job())
    weights = folder_of(job()) / "model.safetensors"
    planned = job(f"pretrained[path={weights},prefix=network.]")
    flip_bit(weights)
    assert "a file that method 'pretrained[" in (reason := run_failed(planned).reason)
    assert "has changed since this cell was planned" in reason


def test_dataset_that_changed_after_planning_is_not_trained_on(job: JobMaker) -> None:
    planned = job()
    other = dataclasses.replace(planned, cell=dataclasses.replace(planned.cell, fingerprint="stripes of old"))
    reason = run_failed(other).reason
    assert "'stripes' has changed since this cell was planned: fingerprint stripes of o then, " in reason


def test_training_that_resumes_with_changed_code_keeps_the_first_fingerprint(
    interrupted: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_record(folder_of(interrupted)).provenance["sources"]
    monkeypatch.setattr("benchmark.execution.cell.training_sources", lambda cell, catalog: {"benchmark": "0" * 16})
    assert epochs_of(interrupted) == [3, 4]
    assert read_record(folder_of(interrupted)).provenance["sources"].items() >= before.items()
    assert run_done(dataclasses.replace(interrupted, rerun=True)).provenance["sources"]["benchmark"] == "0" * 16
