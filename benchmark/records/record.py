"""The record of one cell, with its scores; the names of the files in a cell folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmark.api.cells import Json, ScoreRequest, State
from benchmark.api.encoders import Pool

SCHEMA_VERSION = 2
KINDS = ("method", "encoder", "dataset")
"""The parts of a cell that a plugin provides."""
RECORD = "record.json"
MODEL = "model.safetensors"
"""Weights of the trained encoder."""
CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
"""Losses by epoch."""
PREDICTIONS = "predictions.npz"
"""Outcomes of each test image."""
LOG = "log.txt"
"""Tracebacks of exceptions that were caught."""
OUTPUT = "output.txt"
"""What the process of a cell printed; kept while it runs and after a failure."""
ScoreId = tuple[str, str, str, str, str]
"""tap, pool, evaluator, protocol, metric: unique within a record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One number with its conditions."""

    tap: str
    """Layer whose features are scored."""
    pool: Pool
    evaluator: str
    """Label: the name with its non-default parameters."""
    protocol: str
    """`knn@1`. Numbers of different protocols are not comparable."""
    metric: str
    """`accuracy`, `accuracy@k=20`, `map`."""
    params: Json
    """All parameters of the evaluator."""
    value: float
    """Raw, never a percentage."""
    ci_low: float | None
    """Lower end of the 95 % interval over test images; None where no calibrated interval exists."""
    ci_high: float | None
    """Upper end of that interval."""
    n: int
    """Number of test images (queries)."""
    outcomes: str | None
    """Name of the array in predictions.npz whose mean is `value`; None if it is no mean over images."""
    details: Json = field(default_factory=dict)
    """What the evaluator selected: an L2 strength, a number of iterations."""
    higher_is_better: bool = True
    headline: bool = False
    """Whether this is the evaluator's main metric."""
    unit: str = ""
    """Unit of the metric, such as `fraction`; empty in records of earlier versions."""

    def key(self) -> ScoreId:
        """Identifies the score within its record."""
        return (self.tap, self.pool, self.evaluator, self.protocol, self.metric)


@dataclass(frozen=True, kw_only=True)
class Record:
    """The stored result of one finished or failed cell."""

    id: str
    """Hash of the training settings: 64 hexadecimal digits."""
    state: State
    cell: Json
    """method, encoder, dataset (name, label, params, version), seed, recipe, image_shape."""
    scores: tuple[Score, ...] = ()
    cost: Json = field(default_factory=dict)
    """train_seconds, evaluate_seconds, images_seen, images_per_second, peak_memory_bytes, acceleration."""
    provenance: Json = field(default_factory=dict)
    """versions, commit, device, precision, threads, time: in no identity."""
    checks: Json = field(default_factory=dict)
    """trained, failed_to_learn, frozen, overlap, labels_unseen, not_applicable. An absent check was not made."""
    failure: Json | None = None
    """stage, reason, traceback; None unless the cell failed or was interrupted."""
    schema_version: int = SCHEMA_VERSION
    folder: str = ""
    """Folder that the record was read from; not part of the file."""
    stored_id: str = field(default="", compare=False)
    """The id in the file if it is of schema version 1, else empty; not part of the file."""

    @property
    def labels(self) -> tuple[str, str, str]:
        """Labels of method, encoder and dataset."""
        method, encoder, dataset = (str(self.cell[kind]["label"]) for kind in KINDS)
        return method, encoder, dataset

    @property
    def seed(self) -> int | None:
        """None if the method uses no random numbers."""
        seed: int | None = self.cell["seed"]
        return seed

    @property
    def name(self) -> str:
        """`aet/resnet18/digits/0`; the seed is `-` if there is none."""
        return name_of(self)

    @property
    def short_id(self) -> str:
        """The first 10 digits of the id."""
        return self.id[:10]

    def outcomes_key(self, score: Score) -> str:
        """Name of a score's array in the .outcomes.npz of a leaderboard."""
        return f"{self.outcomes_group}{score.outcomes}"

    @property
    def outcomes_group(self) -> str:
        """Start of the names of all its arrays in the .outcomes.npz of a leaderboard."""
        return f"{(self.stored_id or self.id)[:16]}|"

    @property
    def trained(self) -> bool:
        """Whether the folder holds finished weights, with or without scores."""
        return bool(self.checks.get("trained"))

    @property
    def failed_to_learn(self) -> bool:
        """Whether the loss ended no lower than that of a predictor that ignores the image."""
        return self.checks.get("failed_to_learn") is True

    def grouping_key(self) -> str:
        """Everything but the seed. Only records with equal keys may be averaged. Labels do not show data and versions."""
        cell = {key: value for key, value in self.cell.items() if key != "seed"}
        return json.dumps([cell, self.provenance.get("versions"), self.state == "smoke"], sort_keys=True)

    def is_complete(self, requests: Sequence[ScoreRequest]) -> bool:
        """Whether the cell is finished without a failure and has every requested score."""
        return self.state == "done" and self.failure is None and not self.missing(requests)

    def missing(self, requests: Sequence[ScoreRequest]) -> list[ScoreRequest]:
        """Requests that are neither scored under their protocol nor recorded as not applicable."""
        keys = ("tap", "pool", "evaluator", "protocol")
        settled = {score.key()[:4] for score in self.scores}
        settled |= {tuple(each[key] for key in keys) for each in self.checks.get("not_applicable", ())}
        return [request for request in requests if tuple(request.key()[key] for key in keys) not in settled]


class Named(Protocol):
    """What names a record: a `Record`, or what the index holds of it."""

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""

    @property
    def folder(self) -> str:
        """Path or name of its folder; empty if it has none."""

    @property
    def labels(self) -> tuple[str, str, str]:
        """Labels of method, encoder and dataset."""

    @property
    def seed(self) -> int | None:
        """None if the method uses no random numbers."""


def name_of(record: Named) -> str:
    """`aet/resnet18/digits/0`; the seed is `-` if there is none."""
    return f"{'/'.join(record.labels)}/{'-' if record.seed is None else record.seed}"


def is_named(record: Named, argument: str) -> bool:
    """Whether a command-line argument names a record: its name, its folder, or 4 or more first digits of its id."""
    if argument in (name_of(record), Path(record.folder).name or None):
        return True
    return len(argument) >= 4 and record.id.startswith(argument)


def group_by_seed(records: Iterable[Record]) -> list[tuple[Record, ...]]:
    """Finished records in groups that differ only in the seed, in order of appearance."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.state == "done":
            groups.setdefault(record.grouping_key(), []).append(record)
    return [tuple(group) for group in groups.values()]


def by_score_key(scores: Sequence[Score]) -> dict[ScoreId, Score]:
    """Scores by their key; a later one replaces an earlier one."""
    return {score.key(): score for score in scores}
