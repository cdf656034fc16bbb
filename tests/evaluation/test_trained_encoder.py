"""Loading the trained encoder of a finished cell."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from flipped_bits import flip_bit
from sample_jobs import folder_of, run_done, run_failed, third_party_job
from verified_runs import change_records

import benchmark
from benchmark.api.catalog import load_catalog
from benchmark.api.cells import Job
from benchmark.errors import RecordError


@pytest.fixture
def job(third_party: Path, tmp_path: Path) -> Job:
    return third_party_job(tmp_path / "runs")


def test_load_encoder_gives_the_features_that_were_scored(job: Job) -> None:
    record = run_done(job)
    encoder = benchmark.load_encoder(folder_of(job))
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
    with np.load(folder_of(job) / "predictions.npz") as file:
        assert np.array_equal(predicted, file["fc|average|centroid|centroid@1|prediction|class"])
    assert np.mean(predicted == data.test.labels) == pytest.approx(record.scores[1].value)


def test_load_encoder_restores_the_normalization(job: Job) -> None:
    run_done(job)
    entry = load_catalog().find(load_catalog().datasets, "dataset", "stripes")
    images = entry.spec.load(entry.spec.params(), Path()).train.images / 255
    encoder = benchmark.load_encoder(folder_of(job))
    assert encoder.mean.flatten().tolist() == pytest.approx(images.mean(axis=(0, 2, 3)).tolist(), abs=1e-5)
    assert encoder.std.flatten().tolist() == pytest.approx(images.std(axis=(0, 2, 3)).tolist(), abs=1e-5)


def test_load_encoder_rejects_a_cell_without_trained_weights(third_party: Path, tmp_path: Path) -> None:
    job = third_party_job(tmp_path / "runs", "fault_loss")
    run_failed(job)
    with pytest.raises(RecordError, match=r"holds no trained weights \(state failed\)"):
        benchmark.load_encoder(folder_of(job))


def test_load_encoder_rejects_a_folder_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no record\.json in"):
        benchmark.load_encoder(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "missing", "another"])
def test_load_encoder_names_damaged_weights(job: Job, damage: str) -> None:
    run_done(job)
    path = folder_of(job) / "model.safetensors"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif damage == "missing":
        path.unlink()
    else:
        safetensors.torch.save_file({"network.other": torch.zeros(3)}, path)
    with pytest.raises(RecordError, match=r"cannot load \S+model\.safetensors .*--rerun all"):
        benchmark.load_encoder(folder_of(job))


def without(*checks: str) -> Callable[[dict[str, Any]], None]:
    """Removes checks from a record, as if an earlier version had written it."""
    return lambda body: [body["checks"].pop(check) for check in checks] and None


@pytest.mark.parametrize("offset", [-1, 20], ids=["of a weight", "of the header"])
@pytest.mark.parametrize("checks", [(), ("encoder_sha256",), ("model_file",)])
def test_weights_with_a_flipped_bit_are_refused(job: Job, offset: int, checks: tuple[str, ...]) -> None:
    run_done(job)
    change_records(Path(job.out_dir), without(*checks))
    benchmark.load_encoder(folder_of(job))
    flip_bit(folder_of(job) / "model.safetensors", offset)
    with pytest.raises(RecordError, match=r"cannot load \S+model\.safetensors .*--rerun all"):
        benchmark.load_encoder(folder_of(job))


def test_weights_of_another_seed_are_refused(job: Job, tmp_path: Path) -> None:
    other = third_party_job(tmp_path / "runs", seeds=(1,))
    for each in (job, other):
        run_done(each)
    (folder_of(other) / "model.safetensors").replace(folder_of(job) / "model.safetensors")
    with pytest.raises(RecordError, match=r"SHA-256 \w{12}, recorded \w{12}: changed or damaged since the training"):
        benchmark.load_encoder(folder_of(job))


def test_weights_file_that_is_no_regular_file_is_refused(job: Job) -> None:
    run_done(job)
    path = folder_of(job) / "model.safetensors"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecordError, match="not a regular file"):
        benchmark.load_encoder(folder_of(job))


def test_weights_without_a_recorded_checksum_are_loaded_with_a_warning(job: Job) -> None:
    run_done(job)
    change_records(Path(job.out_dir), without("encoder_sha256", "model_file"))
    with pytest.warns(UserWarning, match="not compared with a checksum"):
        assert not benchmark.load_encoder(folder_of(job)).training


@pytest.mark.parametrize("kind", ["method", "encoder"])
def test_record_whose_settings_were_edited_builds_no_encoder(job: Job, kind: str) -> None:
    run_done(job)
    change_records(Path(job.out_dir), lambda body: body["cell"][kind]["params"].update(size=3))
    with pytest.raises(RecordError, match=r"not those that were trained: they do not give the id \w{10}\. Restore"):
        benchmark.load_encoder(folder_of(job))
