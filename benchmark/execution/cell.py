"""One cell from settings to record: load the images, train, read features, evaluate, write. The rooms, in order.

Importable on any machine; a job is made of plain values. Whatever goes wrong in a stranger's code ends here, in the
record and the outcome, with what was finished before kept.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import resource
import time
import traceback
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import SMOKE_STEPS, Cause, Item, Job, Json, Outcome, ScoreRequest, State
from benchmark.api.evaluators import Evaluation, EvaluatorSpec
from benchmark.api.parameters import as_dict, bind
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import BenchError, PluginError, RecordError, UnsupportedError
from benchmark.evaluation import evaluate, leakage
from benchmark.evaluation.features import FrozenFeatures, frozen_features
from benchmark.evaluation.trained_encoder import _load_weights, encoder_of, entry_of
from benchmark.execution.cell_data import CellData, mapped_tensor_source, owned_array
from benchmark.execution.devices import threads
from benchmark.execution.provenance import now, provenance
from benchmark.images import channel_statistics, stratified_subset
from benchmark.progress import Event, Reporter, silent
from benchmark.records import locks
from benchmark.records.atomic import replaced
from benchmark.records.record import (
    CHECKPOINT,
    CURVE,
    LOG,
    MODEL,
    PREDICTIONS,
    RECORD,
    Record,
    SchemaError,
    Score,
    by_score_key,
    read_record,
    set_aside,
    write_record,
)
from benchmark.stats import intervals
from benchmark.training import checkpoints, out_of_memory
from benchmark.training.batches import fits_in_memory
from benchmark.training.checkpoints import StopRequest as Stop  # executors take it from here
from benchmark.training.loop import Trained, TrainingData, TrainingTask, train

SCORES_SECONDS = 10.0
"""Least time between two writings of scores while others are still to come."""


def run_cell(
    job: Job,
    *,
    device: str = "cpu",
    reporter: Reporter = silent,
    catalog: Catalog | None = None,
    stop: Stop | None = None,
) -> Outcome:
    """Carries out one job and leaves its record under `job.out_dir`.

    Args:
        job: what to do.
        device: `cpu` or `cuda:0`.
        reporter: is told of the start, each epoch, each stage and the end.
        catalog: default: everything installed.
        stop: by whom the cell may be asked to write where it is and stop; None: nobody.

    Returns:
        How it ended. A failure is an outcome, not an exception; KeyboardInterrupt passes after it was recorded. Where
        another run works on the cell, the outcome says `elsewhere` and nothing was done.
    """
    start = time.monotonic()
    folder = Path(job.out_dir) / job.folder
    try:
        claim = locks.acquire(folder, job.cell.title, device, left_token=job.left_token)
    except BenchError as error:
        return _ended(job, "failed", start, reporter, _sentence(error), traceback.format_exc())
    if claim is None:
        return Outcome(cell_id=job.cell.id, folder=job.folder, state="elsewhere", seconds=0.0)
    reporter = claim.told(reporter)
    run = _CellRun(job, torch.device(device), reporter, catalog or load_catalog(), claim, stop)
    reporter(Event(kind="started", cell=job.cell.title, text=device))
    cause: Cause = ""
    try:
        with threads(run.threads):
            record = run.carry_out()
        state, reason, trace = record.state, "", ""
    except KeyboardInterrupt:
        run.mark("interrupted", "interrupted", "")
        raise
    except locks.LostLockError as error:
        return Outcome(
            cell_id=job.cell.id,
            folder=job.folder,
            state="elsewhere",
            seconds=time.monotonic() - start,
            reason=str(error),
        )
    except (Exception, SystemExit) as error:  # a stranger's code was run: whatever it raised is kept
        state, reason, trace = "failed", _sentence(error), traceback.format_exc()
        cause = "memory" if out_of_memory.is_out_of_memory(error) else ""
        if cause:
            traceback.clear_frames(error.__traceback__)  # they hold what filled the memory
            reason += run.memory_report()
        run.mark("failed", reason, trace)
    finally:
        claim.release()
    return _ended(job, state, start, reporter, reason, trace, cause)


def _ended(
    job: Job, state: State, start: float, reporter: Reporter, reason: str, trace: str, cause: Cause = ""
) -> Outcome:
    seconds = time.monotonic() - start
    reporter(Event(kind="finished", cell=job.cell.title, stage=state, values={"seconds": seconds}, text=reason))
    return Outcome(
        cell_id=job.cell.id,
        folder=job.folder,
        state=state,
        seconds=seconds,
        reason=reason,
        traceback=trace,
        cause=cause,
    )


class _CellRun:
    """One job on its way through the rooms."""

    def __init__(
        self,
        job: Job,
        device: torch.device,
        reporter: Reporter,
        catalog: Catalog,
        claim: locks.CellLock,
        stop: Stop | None,
    ) -> None:
        self.job = job
        self.cell = job.cell
        self.device = device
        self.reporter = reporter
        self.catalog = catalog
        self.claim = claim
        self.stop = stop
        self.folder = Path(job.out_dir) / job.folder
        self.stage = "prepare"
        self.key = f"{self.cell.id}/{self._versions()}"
        # What was begun with one number of threads ends with it: another one gives other sums.
        self.threads = checkpoints.threads_of(self.folder / CHECKPOINT, self.key) or job.threads
        self.training: out_of_memory.FailedTraining | None = None
        """The training in progress, which may run out of memory."""
        self.saved = time.monotonic()
        """When scores were last written."""

    def carry_out(self) -> Record:
        """All rooms in order; what an earlier run finished is not done again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self._earlier()
        if before is not None and not self.job.rerun and before.is_whole(self.job.scores):
            return before  # another run was here first
        self._enter("load the dataset")
        material = self._material()
        encoder, record = self._trained_before(before, material) or self._train(material)
        self._enter("features")
        return self._score(encoder, record, material)

    def mark(self, state: State, reason: str, trace: str) -> None:
        """Keeps a failure in log.txt and in the record; a finished record stays finished."""
        try:
            self.claim.check()
        except locks.LostLockError:
            return  # the folder is another run's by now
        try:
            before = self._earlier()
        except SchemaError:
            return  # another version's: not a byte of it is touched
        with contextlib.suppress(OSError), (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{now()} {state} in '{self.stage}': {reason}\n{trace}\n")
        failure = {"stage": self.stage, "reason": reason, "traceback": trace}
        if before is None:
            record = Record(
                id=self.cell.id, state=state, cell=self._cell_json(None), provenance=self._provenance(), failure=failure
            )
        else:
            kept = before.state if before.state == "done" else state
            record = dataclasses.replace(before, state=kept, failure=failure)
        with contextlib.suppress(RecordError):  # the outcome tells it; there may be no room to write
            write_record(self.folder, record)

    def memory_report(self) -> str:
        """What is known where memory ran out."""
        return out_of_memory.memory_report(self.device, self.training, exclusive=self.job.alone)

    # --- rooms --------------------------------------------------------------------------------------------------------

    def _material(self) -> CellData:
        cell = self.cell
        spec = self._entry("datasets", "dataset", cell.dataset).spec
        params = bind(spec.params, cell.dataset.params, f"dataset '{spec.name}'")
        data = spec.load(params, Path(self.job.data_dir))
        parts = [data.train.images, data.test.images, *([] if data.unlabeled is None else [data.unlabeled])]
        resident = fits_in_memory(sum(part.nbytes for part in parts), self.device)
        train_labels = torch.from_numpy(np.ascontiguousarray(data.train.labels)).long()
        train_images = torch.from_numpy(
            owned_array(data.train.images) if resident else mapped_tensor_source(data.train.images)
        )
        if cell.subset is not None:
            chosen = stratified_subset(train_labels, cell.subset)
            train_images, train_labels = train_images[chosen], train_labels[chosen]
        mean, std = cell.recipe.mean, cell.recipe.std
        if mean is None or std is None:
            own_mean, own_std = channel_statistics(train_images)
            mean, std = mean or own_mean, std or own_std
        test_images = torch.from_numpy(
            owned_array(data.test.images) if resident else mapped_tensor_source(data.test.images)
        )
        test_labels = torch.from_numpy(np.ascontiguousarray(data.test.labels)).long()
        extra = None
        if data.unlabeled is not None:
            extra = torch.from_numpy(owned_array(data.unlabeled) if resident else mapped_tensor_source(data.unlabeled))
        place = self.device if resident else torch.device("cpu")
        return CellData(
            train=evaluate.LabeledImages(images=train_images.to(place), labels=train_labels.to(self.device)),
            test=evaluate.LabeledImages(images=test_images.to(place), labels=test_labels.to(self.device)),
            unlabeled=None if extra is None else extra.to(place),
            class_names=data.class_names,
            mean=mean,
            std=std,
            streamed=not resident,
        )

    def _new_encoder_for(self, data: TrainingData) -> NormalizedEncoder:
        """A fresh one, to try what fits: its mean and deviation play no part."""
        channels = data.images.shape[1]
        blank = dict.fromkeys(("mean", "std"), (1.0,) * channels)
        split = evaluate.LabeledImages(images=data.images, labels=torch.empty(0, dtype=torch.int64))
        return self._new_encoder(
            CellData(train=split, test=split, unlabeled=None, class_names=(), streamed=False, **blank)
        )

    def _new_encoder(self, material: CellData) -> NormalizedEncoder:
        spec, params = encoder_of(self.cell.method, self.cell.encoder, self.catalog)
        _, channels, height, width = material.train.images.shape
        encoder = build_encoder(
            spec,
            params,
            (channels, height, width),
            num_images=len(material.train.images),
            seed=self.cell.seed,
            mean=material.mean,
            std=material.std,
        )
        encoder.low_precision = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return encoder.to(self.device)

    def _train(self, material: CellData) -> tuple[NormalizedEncoder, Record]:
        self._enter("train")
        spec = self._entry("methods", "method", self.cell.method).spec
        encoder = self._new_encoder(material)
        images, labels = material.train.images, material.train.labels
        if spec.labels == "none" and material.unlabeled is not None:
            images = torch.cat([images, material.unlabeled])
        task = TrainingTask(
            spec=spec,
            params=bind(spec.params, self.cell.method.params, f"method '{spec.name}'"),
            recipe=self.cell.recipe,
            seed=self.cell.seed,
            title=self.cell.title,
            checkpoint=self.folder / CHECKPOINT,
            checkpoint_seconds=self.job.checkpoint_seconds,
            checkpoint_epochs=self.job.checkpoint_epochs,
            checkpoint_key=self.key,
            stop=self.stop,
            steps=SMOKE_STEPS if self.cell.smoke else None,
            accelerate=self.job.accelerate,
        )
        data = TrainingData(
            images=images,
            labels=labels if spec.labels == "all" else None,
            num_classes=len(material.class_names),
            device=self.device,
            streamed=material.streamed,
        )
        self.training = out_of_memory.FailedTraining(
            task=task, data=data, new_encoder=lambda: self._new_encoder_for(data)
        )
        trained = train(task, data, encoder, self.reporter)
        self.training = None
        return trained.encoder, self._keep(trained, material)

    def _keep(self, trained: Trained, material: CellData) -> Record:
        """Writes weights and curve, then a record that says so: from here on nothing has to be trained again."""
        self.claim.check()
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.encoder.state_dict().items()}
        with replaced(self.folder / MODEL) as file:
            file.write(safetensors.torch.save(weights))
        with replaced(self.folder / CURVE) as file:
            file.write(_curve(trained).encode())
        record = Record(
            id=self.cell.id,
            state="interrupted",
            cell=self._cell_json(material),
            cost=_cost(trained, self.device),
            provenance=self._provenance(),
            checks={
                "trained": True,
                "learned": trained.learned,
                "trivial_losses": dict(trained.trivial),
                **self._audited(trained, material),
            },
        )
        write_record(self.folder, record)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return record

    def _audited(self, trained: Trained, material: CellData) -> Json:
        """Whether labels reached a method that does not ask for them, and how many test images are in train."""
        spec = self._entry("methods", "method", self.cell.method).spec
        trained_on = [material.train.images, *([] if material.unlabeled is None else [material.unlabeled])]
        key = f"{self.cell.fingerprint}/{self.cell.subset}"
        found: Json = {
            "overlap": leakage.known_overlap(
                Path(self.job.out_dir), key, lambda: leakage.overlap(trained_on, material.test.images)
            )
        }
        if spec.labels == "none":
            found["labels_unseen"] = not trained.labels_given
        return found

    def _trained_before(self, before: Record | None, material: CellData) -> tuple[NormalizedEncoder, Record] | None:
        if before is None or not before.trained or self.job.rerun:
            return None
        encoder = self._new_encoder(material)
        _load_weights(encoder, self.folder)
        return encoder, before

    def _score(self, encoder: NormalizedEncoder, record: Record, material: CellData) -> Record:
        wanted = record.missing(self.job.scores)
        pairs = [(each.tap, each.pool) for each in wanted]
        source = FrozenFeatures(encoder, material.train.images, material.test.images, pairs)
        subject = evaluate.Subject(
            source=source,
            train=material.train,
            test=material.test,
            class_names=material.class_names,
            fingerprint=self.cell.fingerprint,
        )
        scores = list(record.scores)
        arrays = _arrays(self.folder) if scores else {}
        start = time.monotonic()
        failures: list[tuple[str, BaseException]] = []
        refused: list[Json] = list(record.checks.get("not_applicable", ()))
        findings = leakage.LeakageChecks()
        with frozen_features(encoder) as checksum:
            for request in self._announced(wanted):
                asked, source.encoded = time.monotonic(), False
                try:
                    (found,) = evaluate.evaluate(subject, [request], self._resolve)
                except UnsupportedError as error:
                    refused.append({**request.key(), "reason": str(error)})
                    continue
                except (Exception, SystemExit) as error:  # a stranger's evaluator: the others go on
                    failures.append((self.stage, error))
                    continue
                new, outcomes = _scores(*found)
                scores += new
                arrays.update(outcomes)
                findings.look(subject, request, self._resolve, time.monotonic() - asked, source.encoded)
                if time.monotonic() - self.saved >= SCORES_SECONDS:
                    # So far: a scoring that takes hours and is ended goes on after the last of these.
                    self._keep_scores(record, "interrupted", scores, arrays, start, refused, {})
        finished: State = "smoke" if self.cell.smoke else "done"
        checks = {"frozen": True, "encoder_sha256": checksum, **findings.with_earlier(record.checks)}
        state = record.state if failures else finished
        done = self._keep_scores(record, state, scores, arrays, start, refused, checks)
        if failures:
            self.stage = failures[0][0]
            reasons = (f"{stage.removeprefix('evaluate ')}: {_sentence(error)}" for stage, error in failures)
            raise PluginError("; ".join(reasons)) from failures[0][1]
        return done

    def _keep_scores(
        self,
        record: Record,
        state: State,
        scores: Sequence[Score],
        arrays: dict[str, Any],
        start: float,
        refused: list[Json],
        checks: Json,
    ) -> Record:
        """Writes predictions, then a record with the scores that rest on them."""
        self.claim.check()
        with replaced(self.folder / PREDICTIONS) as file:
            np.savez_compressed(file, **arrays)
        evaluated = record.cost.get("evaluate_seconds", 0.0) + time.monotonic() - start
        kept = dataclasses.replace(
            record,
            state="done" if record.state == "done" else state,
            scores=tuple(by_score_key(scores).values()),
            cost={**record.cost, "evaluate_seconds": evaluated},
            checks={**record.checks, **checks, "not_applicable": refused},
            failure=None,
        )
        write_record(self.folder, kept)
        self.saved = time.monotonic()
        return kept

    def _announced(self, requests: Sequence[ScoreRequest]) -> Iterator[ScoreRequest]:
        """The requests one by one, each told of just before it is carried out."""
        for number, request in enumerate(requests):
            self._enter(f"evaluate {request.evaluator.label} at {request.tap}", number, len(requests))
            yield request

    # --- small things -------------------------------------------------------------------------------------------------

    def _enter(self, stage: str, done: int = 0, total: int = 0) -> None:
        self.stage = stage
        self.reporter(Event(kind="stage", cell=self.cell.title, stage=stage, done=done, total=total))

    def _entry(self, kind: str, singular: str, item: Item) -> Any:
        return entry_of(self.catalog, kind, singular, item)

    def _resolve(self, request: ScoreRequest) -> tuple[EvaluatorSpec, Any]:
        spec = self._entry("evaluators", "evaluator", request.evaluator).spec
        return spec, bind(spec.params, request.evaluator.params, f"evaluator '{spec.name}'")

    def _earlier(self) -> Record | None:
        if not (self.folder / RECORD).exists():
            return None
        try:
            return read_record(self.folder)
        except SchemaError:
            raise
        except RecordError:
            aside = set_aside(self.folder)
            self.reporter(Event(kind="note", cell=self.cell.title, text=f"unreadable record kept as {aside.name}"))
            return None

    def _versions(self) -> str:
        cell = self.cell
        return f"{cell.method.version}.{cell.encoder.version}.{cell.dataset.version}"

    def _cell_json(self, material: CellData | None) -> Json:
        cell = self.cell
        shape = None if material is None else list(material.train.images.shape[1:])
        return {
            "method": _item_json(cell.method),
            "encoder": _item_json(cell.encoder),
            "dataset": {**_item_json(cell.dataset), "fingerprint": cell.fingerprint, "subset": cell.subset},
            "seed": cell.seed,
            "recipe": as_dict(cell.recipe),
            "image_shape": shape,
        }

    def _provenance(self) -> Json:
        return provenance(self.cell, self.catalog, self.device, self.threads)


def _scores(request: ScoreRequest, spec: EvaluatorSpec, found: Evaluation) -> tuple[list[Score], dict[str, Any]]:
    headlines = {metric.headline for metric in spec.metrics if metric.headline}
    higher = {metric.name: metric.higher_is_better for metric in spec.metrics}
    prefix = f"{request.tap}|{request.pool}|{request.evaluator.label}|{request.protocol}"
    arrays: dict[str, Any] = {f"{prefix}|prediction|{name}": array for name, array in found.predictions.items()}
    scores = []
    for measurement in found.measurements:
        name = None if measurement.outcomes is None else f"{prefix}|{measurement.metric}"
        if name is not None:
            arrays[name] = measurement.outcomes
        low, high = intervals.interval(measurement.outcomes, measurement.value, measurement.n)
        scores.append(
            Score(
                tap=request.tap,
                pool=request.pool,
                evaluator=request.evaluator.label,
                protocol=request.protocol,
                metric=measurement.metric,
                params=dict(request.evaluator.params),
                details=dict(found.details),
                value=float(measurement.value),
                ci_low=low,
                ci_high=high,
                n=measurement.n,
                outcomes=name,
                higher_is_better=higher[measurement.metric.partition("@")[0]],
                headline=measurement.metric in headlines,
            )
        )
    return scores, arrays


def _arrays(folder: Path) -> dict[str, Any]:
    path = folder / PREDICTIONS
    try:
        # Opened here: np.load leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(
            f"{path} cannot be read ({error}), and the record's scores rest on it; do the cell again with --rerun all"
        ) from error


def _curve(trained: Trained) -> str:
    text = io.StringIO()
    names = list(trained.curve[0].losses) if trained.curve else []
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", "learning_rate", *names])
    for row in trained.curve:
        writer.writerow([row.epoch, f"{row.learning_rate:.6g}", *(f"{row.losses[name]:.6g}" for name in names)])
    return text.getvalue()


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


def _item_json(item: Item) -> Json:
    return {
        "name": item.name,
        "label": item.label,
        "params": dict(item.identity),
        "provider": item.provider,
        "version": item.version,
    }


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, BenchError) and text else f"{type(error).__name__}: {text}"
