"""The files of a cell's folder, and what happens if they are damaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sample_jobs import folder_of, run_done, run_failed, third_party_job

from benchmark.api.cells import Job


@pytest.fixture
def job(third_party: Path, tmp_path: Path) -> Job:
    return third_party_job(tmp_path / "runs")


@pytest.fixture
def more(job: Job, tmp_path: Path) -> Job:
    """The same cell with scores at more taps, after a run of one tap."""
    run_done(third_party_job(tmp_path / "runs", taps=("conv",)))
    return third_party_job(tmp_path / "runs", taps="all")


def test_record_is_complete(job: Job) -> None:
    run_done(job)
    body = json.loads((folder_of(job) / "record.json").read_text())
    assert sorted(body) == sorted(
        ("schema_version", "id", "state", "cell", "scores", "cost", "provenance", "checks", "failure")
    )
    assert (body["schema_version"], body["id"], body["state"], body["failure"]) == (2, job.cell.id, "done", None)
    cell = body["cell"]
    labels = [cell[kind]["label"] for kind in ("method", "encoder", "dataset")]
    assert labels == ["mean_color", "tiny", "stripes"]
    assert (cell["seed"], cell["recipe"]["epochs"], cell["image_shape"]) == (0, 1, [3, 8, 8])
    assert cell["method"]["provider"] == "repbench-third-party"
    assert body["cost"]["images_seen"] == 48
    assert min(body["cost"][key] for key in ("train_seconds", "images_per_second", "peak_memory_bytes")) > 0
    provenance = body["provenance"]
    assert (provenance["device"], provenance["precision"], provenance["threads"]) == ("cpu", "float32", 1)
    assert provenance["plugins"]["repbench-third-party"] == "0.3.1"
    assert provenance["versions"] == {"method": 1, "encoder": 1, "dataset": 1}
    assert body["checks"]["frozen"] is True
    assert body["checks"]["failed_to_learn"] in (True, False)


def test_folder_of_a_finished_cell_holds_no_temporary_files(job: Job) -> None:
    run_done(job)
    names = ["curve.csv", "model.safetensors", "predictions.npz", "record.json"]
    assert sorted(path.name for path in folder_of(job).iterdir()) == names


def test_curve_has_one_row_per_epoch(third_party: Path, tmp_path: Path) -> None:
    job = third_party_job(tmp_path / "runs", epochs=3)
    run_done(job)
    rows = (folder_of(job) / "curve.csv").read_text().splitlines()
    assert rows[0] == "epoch,learning_rate,total,error"
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3"]


def test_predictions_hold_outcomes_whose_mean_is_the_score(job: Job) -> None:
    record = run_done(job)
    with np.load(folder_of(job) / "predictions.npz", allow_pickle=False) as file:
        for score in record.scores:
            assert score.outcomes is not None
            assert file[score.outcomes].mean() == pytest.approx(score.value)
        predicted = [name for name in file.files if name.endswith("|prediction|class")]
    assert len(predicted) == 2


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_damaged_predictions_fail_the_cell_instead_of_losing_outcomes(job: Job, more: Job, damage: str) -> None:
    path = folder_of(job) / "predictions.npz"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200] if damage == "truncated" else b"")
    reason = run_failed(more).reason
    assert "predictions.npz" in reason
    assert "--rerun all" in reason
    assert len(run_done(dataclasses.replace(more, rerun=True)).scores) == 2


def test_damaged_weights_fail_the_cell_with_advice(job: Job, more: Job) -> None:
    (folder_of(job) / "model.safetensors").write_bytes(b"no weights")
    reason = run_failed(more).reason
    assert "cannot load" in reason
    assert "model.safetensors" in reason
    assert "--rerun all" in reason
