"""The training stage of a cell: its encoder, trained or read from disk, and the record of the training."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmark.api.cells import SMOKE_STEPS, Item, Json
from benchmark.api.identity import canonical_json
from benchmark.api.methods import MethodSpec
from benchmark.api.parameters import bind
from benchmark.encoder import NormalizedEncoder
from benchmark.errors import UsageError
from benchmark.evaluation import overlap
from benchmark.evaluation.cell_data import CellData
from benchmark.evaluation.features import state_checksum
from benchmark.evaluation.trained_encoder import UNVERIFIED, load_weights, new_encoder
from benchmark.execution.cell_record import cell_json
from benchmark.execution.cell_run import CellRun
from benchmark.records.record import Record
from benchmark.training.loop import train
from benchmark.training.out_of_memory import FailedTraining
from benchmark.training.task import Trained, TrainingData, TrainingTask

SKIPPED_SHOWN = 100
"""Largest number of damaged images that a record names."""


def train_cell(run: CellRun, data: CellData) -> tuple[NormalizedEncoder, Record]:
    """Trains the encoder and writes its weights, its losses and a record. Later runs do not train it again."""
    spec: MethodSpec = run.spec("methods", "method", run.cell.method)
    encoder = _untrained_encoder(run, data)
    task, training_data = _task(run, spec), _training_data(run, spec, data)
    run.progress.training = FailedTraining(
        task=task, data=training_data, new_encoder=lambda: _trial_encoder(run, training_data)
    )
    trained = train(task, training_data, encoder, run.progress.reporter)
    run.progress.training = None
    record = _trained_record(run, spec, trained, data)
    return trained.encoder, run.folder.write_trained(trained.encoder, trained.curve, record)


def read_trained_encoder(run: CellRun, record: Record, data: CellData) -> NormalizedEncoder:
    """The encoder that an earlier run trained, whose record is passed.

    Raises:
        RecordError: its weights cannot be read, or are not those that were trained.
    """
    encoder = _untrained_encoder(run, data)
    if not load_weights(encoder, record):
        run.progress.note(UNVERIFIED)
    return encoder


def _untrained_encoder(run: CellRun, data: CellData) -> NormalizedEncoder:
    mean, std = data.normalization(run.cell.recipe)
    return _encoder(run, data.train.images, mean, std)


def _trial_encoder(run: CellRun, data: TrainingData) -> NormalizedEncoder:
    """An encoder for a trial of a smaller batch; mean and deviation do not matter there."""
    ones = (1.0,) * data.images.shape[1]
    return _encoder(run, data.images, ones, ones)


def _encoder(run: CellRun, images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> NormalizedEncoder:
    num_images, channels, height, width = images.shape
    return new_encoder(
        run.cell,
        run.catalog,
        image_shape=(channels, height, width),
        num_images=num_images,
        mean=mean,
        std=std,
        device=run.device,
    )


def _task(run: CellRun, spec: MethodSpec) -> TrainingTask:
    cell, job = run.cell, run.job
    params = bind(spec.params, cell.method.params, f"method '{spec.name}'")
    _check_identity(cell.method, spec, params)
    return TrainingTask(
        spec=spec,
        params=params,
        recipe=cell.recipe,
        seed=cell.seed,
        title=cell.title,
        checkpoint=run.folder.checkpoint,
        replace=run.folder.lock.replaced,
        checkpoint_seconds=job.checkpoint_seconds,
        checkpoint_epochs=job.checkpoint_epochs,
        checkpoint_key=run.checkpoint_key,
        sources=run.sources,
        stop=run.stop,
        steps=SMOKE_STEPS if cell.smoke else None,
        accelerate=job.accelerate,
    )


def _check_identity(item: Item, spec: MethodSpec, params: Any) -> None:
    """Checks that the files that a method reads are those that it was planned with: a cell may wait for hours.

    Raises:
        UsageError: a file has changed.
    """
    if spec.identity is not None and canonical_json(dict(spec.identity(params))) != canonical_json(item.identity):
        raise UsageError(
            f"a file that method '{item.label}' reads has changed since this cell was planned. Run the same command again"
        )


def _training_data(run: CellRun, spec: MethodSpec, data: CellData) -> TrainingData:
    """The images that the method trains on: those without labels too, unless it needs labels."""
    return TrainingData(
        images=data.images_to_train_on(spec.labels),
        labels=data.train.labels if spec.labels == "all" else None,
        num_classes=len(data.class_names),
        device=run.device,
        streamed=data.streamed,
    )


def _trained_record(run: CellRun, spec: MethodSpec, trained: Trained, data: CellData) -> Record:
    """The record of a cell that is trained but not scored."""
    return Record(
        id=run.cell.id,
        state="interrupted",
        cell=cell_json(run.cell, data.train.images.shape[1:]),
        cost=_cost(trained, run.device),
        provenance=run.provenance(),
        checks={
            "trained": True,
            "encoder_sha256": state_checksum(trained.encoder),
            "failed_to_learn": trained.failed_to_learn,
            "trivial_losses": dict(trained.trivial),
            **_leakage_checks(run, spec, trained, data),
            **_skipped_images(data),
        },
    )


def _leakage_checks(run: CellRun, spec: MethodSpec, trained: Trained, data: CellData) -> Json:
    """Leakage checks: the overlap of train and test, and whether labels reached a method that declares none."""
    training_images = [data.train.images, *([] if data.unlabeled is None else [data.unlabeled])]
    checks: Json = {
        "overlap": overlap.cached_overlap(
            Path(run.job.out_dir),
            f"{run.cell.fingerprint}/{run.cell.subset}",
            lambda: overlap.count_overlap(training_images, data.test.images),
        )
    }
    if spec.labels == "none":
        checks["labels_unseen"] = not trained.saw_labels
    return checks


def _skipped_images(data: CellData) -> Json:
    """The damaged images that the dataset left out, if there are any."""
    if not data.skipped:
        return {}
    reasons = dict(itertools.islice(data.skipped.items(), SKIPPED_SHOWN))
    return {
        "skipped_images": {"count": len(data.skipped), "of": data.num_images + len(data.skipped), "reasons": reasons}
    }


def _cost(trained: Trained, device: torch.device) -> Json:
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "train_seconds": trained.seconds,
        "images_seen": trained.images_seen,
        "images_per_second": trained.images_seen / trained.seconds if trained.images_seen else 0.0,
        "peak_memory_bytes": peak,
        "acceleration": dict(trained.acceleration),
    }
