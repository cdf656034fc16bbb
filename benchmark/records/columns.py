"""Scores of many records as columns: what tables need of records, a hundred times faster to pass on than the records.

Texts are stored once for all records that share them. Numbers are stored in arrays with one entry per score, in the
order of the records and of the scores within each.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmark.api.cells import Json, State
from benchmark.errors import RecordError
from benchmark.records.caveats import Caveat, caveats_of
from benchmark.records.csv_columns import OF_RECORD, OF_SETTING, Value, device_of, fingerprint_of
from benchmark.records.record import KINDS, Record
from benchmark.records.weights_file import recorded_checksums

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SCORE_ARRAYS = ("score_key", "value", "ci_low", "ci_high", "n")
"""Fields of `Columns` with one entry per score."""
ENVIRONMENT = ("device", "device_name", "precision", "torch", "threads")
"""Keys of the provenance that tell in which environment a cell ran."""
NOT_APPLICABLE_KEY = ("tap", "pool", "evaluator", "protocol")
"""Identifies a request that does not apply to a cell."""


@dataclass(frozen=True, kw_only=True)
class ScoreKey:
    """The fields that many scores share: where and how they were measured. Each combination is stored once."""

    tap: str
    pool: str
    evaluator: str
    protocol: str
    metric: str
    headline: bool
    higher_is_better: bool


_SCORE_KEY = attrgetter(*ScoreKey.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class SharedMetadata:
    """Values shared by records that differ only in the seed and ran in the same environment."""

    method: str
    """Label, as for encoder and dataset."""
    encoder: str
    dataset: str
    epochs: int | float | None
    grouping_key: str
    """Hash of `Record.grouping_key`: only records with equal keys may be averaged."""
    fingerprint: str
    """First 16 digits of the dataset's fingerprint."""
    device: str | None
    """`cpu`, or the name of the GPU."""
    device_kind: str | None
    """`cpu`, `cuda`: times and memory are comparable only within a kind."""
    batch: int | float | None
    spec_versions: Json
    """Kind -> version of its spec."""
    providers: Json
    """Kind -> distribution that provides it."""
    sources: Json
    """Fingerprints of the code of repbench, of the plugins and of the evaluators; empty if they are not recorded."""
    environment: tuple[str, ...]
    """Values of `ENVIRONMENT`; `-` if one is not recorded."""
    csv: tuple[Value, ...]
    """Values of the CSV columns of scope `setting`."""

    @property
    def labels(self) -> tuple[str, str, str]:
        """Labels of method, encoder and dataset."""
        return self.method, self.encoder, self.dataset

    @property
    def shown_epochs(self) -> str:
        """Epochs as tables show them: 0 if they are not recorded."""
        return str(self.epochs or 0)


CellKey = tuple[str, str]
"""Id and label of the dataset: two datasets with equal images have separate cells, but the id does not depend on the label."""


@dataclass(frozen=True, kw_only=True)
class RecordSummary:
    """A record without its scores."""

    folder: str
    """Name of its folder; empty if it was read from a leaderboard."""
    id: str
    state: State
    seed: int | None
    shared: SharedMetadata
    train_seconds: int | float | None
    evaluate_seconds: int | float | None
    images_seen: int | float | None
    """Images seen in training: 0 if nothing was trained."""
    peak_memory_bytes: int | float | None
    failed_to_learn: bool
    trained: bool
    failure: str | None
    """Reason of the failure; None if nothing failed."""
    not_applicable: tuple[tuple[str, ...], ...] = ()
    """Requests that do not apply to the cell: tap, pool, evaluator, protocol of each."""
    files: dict[str, tuple[int, str] | None] = field(default_factory=dict)
    """Name of a file beside the record -> its bytes and SHA-256; None if they are not recorded."""
    caveats: tuple[Caveat, ...] = ()
    csv: tuple[Value, ...] = ()
    """Values of the CSV columns of scope `record`."""
    stored_id: str = ""
    """Id in a record of an earlier schema version; empty for all others."""

    @property
    def key(self) -> CellKey:
        """Identifies the cell within an output folder."""
        return self.id, self.labels[2]

    @property
    def labels(self) -> tuple[str, str, str]:
        """Labels of method, encoder and dataset."""
        return self.shared.labels


COST = ("train_seconds", "evaluate_seconds", "images_seen", "peak_memory_bytes")
"""Fields of `RecordSummary` that come from a record's cost."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Many records with their scores. `len` is the number of records."""

    summaries: tuple[RecordSummary, ...]
    score_keys: tuple[ScoreKey, ...]
    score_counts: Integers
    """(records,) number of scores of each record."""
    score_key: Integers
    """(scores,) index into `score_keys`."""
    value: Floats
    """(scores,) raw."""
    ci_low: Floats
    """(scores,) lower end of the 95 % interval; NaN if there is none."""
    ci_high: Floats
    n: Integers
    """(scores,) test images behind each score."""

    def __len__(self) -> int:
        return len(self.summaries)

    @functools.cached_property
    def record_index(self) -> Integers:
        """(scores,) index into `summaries`."""
        return np.repeat(np.arange(len(self.summaries), dtype=np.int64), self.score_counts)

    @functools.cached_property
    def offsets(self) -> Integers:
        """(records + 1,) index of each record's first score, then the number of scores."""
        return np.concatenate(([0], np.cumsum(self.score_counts)))

    def score_keys_of(self, index: int) -> list[ScoreKey]:
        """The keys of one record's scores."""
        keys = self.score_key[self.offsets[index] : self.offsets[index + 1]]
        return [self.score_keys[key] for key in keys.tolist()]

    def take(self, indices: Sequence[int]) -> Columns:
        """The records at these indices, in this order."""
        offsets = self.offsets
        parts = [np.arange(offsets[index], offsets[index + 1]) for index in indices]
        scores = np.concatenate(parts) if parts else np.empty(0, np.int64)
        return dataclasses.replace(
            self,
            summaries=tuple(self.summaries[index] for index in indices),
            score_counts=self.score_counts[np.asarray(indices, np.int64)],
            **{name: getattr(self, name)[scores] for name in SCORE_ARRAYS},
        )

    def with_scores(self) -> Columns:
        """The records that have scores."""
        return self if self.score_counts.all() else self.take(np.flatnonzero(self.score_counts).tolist())


def concatenate(first: Columns, second: Columns) -> Columns:
    """The records of both, one after the other."""
    keys = {key: index for index, key in enumerate(first.score_keys)}
    indices = np.array([keys.setdefault(key, len(keys)) for key in second.score_keys], np.int64)
    second = dataclasses.replace(second, score_key=indices[second.score_key]) if len(indices) else second
    return Columns(
        summaries=(*first.summaries, *second.summaries),
        score_keys=tuple(keys),
        **{
            name: np.concatenate((getattr(first, name), getattr(second, name)))
            for name in ("score_counts", *SCORE_ARRAYS)
        },
    )


def columns_of(records: Iterable[Record] | Columns) -> Columns:
    """Records as columns; columns are returned as they are.

    Raises:
        RecordError: a value has the wrong type; the message names the record.
    """
    if isinstance(records, Columns):
        return records
    builder = ColumnsBuilder()
    for record in records:
        builder.add(record)
    return builder.columns()


@dataclass
class ColumnsBuilder:
    """Collects records one by one, so that they need not stay in memory."""

    summaries: list[RecordSummary] = field(default_factory=list)
    score_counts: array[int] = field(default_factory=lambda: array("q"))
    score_key: array[int] = field(default_factory=lambda: array("q"))
    value: array[float] = field(default_factory=lambda: array("d"))
    ci_low: array[float] = field(default_factory=lambda: array("d"))
    ci_high: array[float] = field(default_factory=lambda: array("d"))
    n: array[int] = field(default_factory=lambda: array("q"))
    _score_keys: dict[tuple[object, ...], int] = field(default_factory=dict)
    _shared: dict[str, SharedMetadata] = field(default_factory=dict)

    def add(self, record: Record, folder: str = "") -> None:
        """Add a whole record, or nothing.

        Raises:
            RecordError: a value has the wrong type.
        """
        try:
            summary = self._summary(record, folder)
            scores = record.scores
            keys = [self._score_keys.setdefault(key, len(self._score_keys)) for key in map(_SCORE_KEY, scores)]
            values = array("d", [score.value for score in scores])
            lows = array("d", [math.nan if score.ci_low is None else score.ci_low for score in scores])
            highs = array("d", [math.nan if score.ci_high is None else score.ci_high for score in scores])
            counts = array("q", [score.n for score in scores])
        except (msgspec.ValidationError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            name = record.folder or f"record {record.id}"
            raise RecordError(f"{name} is incomplete: {error}; run the cell again with bench run") from error
        self.summaries.append(summary)
        self.score_counts.append(len(keys))
        self.score_key.extend(keys)
        self.value.extend(values)
        self.ci_low.extend(lows)
        self.ci_high.extend(highs)
        self.n.extend(counts)

    def columns(self) -> Columns:
        """All records that were added."""
        names = tuple(ScoreKey.__dataclass_fields__)
        return Columns(
            summaries=tuple(self.summaries),
            score_keys=tuple(ScoreKey(**dict(zip(names, key, strict=True))) for key in self._score_keys),  # type: ignore[arg-type]  # attributes of scores
            score_counts=np.array(self.score_counts, np.int64),
            score_key=np.array(self.score_key, np.int64),
            value=np.array(self.value, np.float64),
            ci_low=np.array(self.ci_low, np.float64),
            ci_high=np.array(self.ci_high, np.float64),
            n=np.array(self.n, np.int64),
        )

    def _summary(self, record: Record, folder: str) -> RecordSummary:
        shared = _shared_fields(record)
        text = json.dumps(shared, sort_keys=True)
        if text not in self._shared:
            self._shared[text] = msgspec.convert(shared, SharedMetadata)
        fields = {
            "folder": folder,
            "id": record.id,
            "state": record.state,
            "seed": record.seed,
            "shared": self._shared[text],
            **{name: record.cost.get(name) for name in COST},
            "failed_to_learn": record.failed_to_learn,
            "trained": record.trained,
            "failure": str(record.failure.get("reason", "")) if record.failure else None,
            "not_applicable": [
                [each[key] for key in NOT_APPLICABLE_KEY] for each in record.checks.get("not_applicable", ())
            ],
            "files": recorded_checksums(record),
            "caveats": caveats_of(record.checks),
            "csv": [column.read(record) for column in OF_RECORD],
            "stored_id": record.stored_id,
        }
        return msgspec.convert(fields, RecordSummary)


def grouping_digest(record: Record) -> str:
    """Hash of `Record.grouping_key`."""
    return hashlib.sha256(record.grouping_key().encode(errors="surrogatepass")).hexdigest()


def _shared_fields(record: Record) -> Json:
    cell, provenance, recipe = record.cell, record.provenance, record.cell.get("recipe", {})
    method, encoder, dataset = record.labels
    return {
        "method": method,
        "encoder": encoder,
        "dataset": dataset,
        "epochs": recipe.get("epochs"),
        "grouping_key": grouping_digest(record),
        "fingerprint": fingerprint_of(record),
        "device": device_of(record),
        "device_kind": provenance.get("device"),
        "batch": recipe.get("batch"),
        "spec_versions": provenance.get("versions", {}),
        "providers": {kind: cell[kind].get("provider") for kind in KINDS},
        "sources": provenance.get("sources") or {},
        "environment": [str(provenance.get(key, "-")) for key in ENVIRONMENT],
        "csv": [column.read(record) for column in OF_SETTING],
    }
