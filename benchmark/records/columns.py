"""Scores of many records as columns: all that tables ask of a record, a hundred times quicker to hand on than the records.

A record's own words are kept once for all records that share them; numbers stand in arrays, one place for each score, in
the order of the records and of the scores in each.
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
from math import isfinite
from operator import attrgetter
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.api.cells import Json, State
from benchmark.errors import RecordError
from benchmark.records.caveats import Caveat, caveats_of
from benchmark.records.record import Record, Score, grouping_key

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
OF_SCORE_KEY = attrgetter("tap", "pool", "evaluator", "protocol", "metric", "headline", "higher_is_better")
"""What of a score is its kind, in the order of `Kind`."""
COST = ("train_seconds", "evaluate_seconds", "images_seen", "peak_memory_bytes")
"""What of a record's cost a brief holds."""
REFUSAL = ("tap", "pool", "evaluator", "protocol")
"""By what a request is known that makes no sense for a cell."""


@dataclass(frozen=True, kw_only=True)
class ScoreKey:
    """What a score is of; many scores share it."""

    tap: str
    pool: str
    evaluator: str
    protocol: str
    metric: str
    headline: bool
    higher_is_better: bool


@dataclass(frozen=True, kw_only=True)
class SharedMetadata:
    """What records share that differ in the seed alone, and were made in the same place."""

    method: str
    """Labels, as for encoder and dataset."""
    encoder: str
    dataset: str
    epochs: int | float | None
    shown_epochs: str
    """As a table shows them: 0 where a record says nothing."""
    grouping_key: str
    """Hash of `records.conditions`: only records that agree in it may be averaged."""
    method_params: str
    """As JSON."""
    versions: str
    """Of method, encoder and dataset: `1.1.1`."""
    fingerprint: str
    """The beginning of the dataset's."""
    device: str | None
    device_kind: str | None
    """`cpu`, `cuda`: what times and memory may be compared within."""
    batch: int | float | None
    precision: str | None
    """Of training and features: `float32`, `bfloat16`."""
    repbench_version: str | None
    commit: str
    """Its beginning, with a + where files were changed since."""
    spec_versions: Json
    """Kind -> version, as recorded."""
    providers: Json
    """Kind -> distribution."""


@dataclass(frozen=True, kw_only=True)
class RecordSummary:
    """A record without its scores."""

    folder: str
    """Name of its folder; empty where it was read from a leaderboard."""
    id: str
    state: State
    seed: int | None
    common: SharedMetadata
    train_seconds: float | None
    evaluate_seconds: float | None
    images_seen: int | float | None
    """In training: 0 where nothing was trained."""
    peak_memory_bytes: int | float | None
    dull: bool
    """Whether it did not learn."""
    trained: bool
    failure: str | None
    """The reason, None where nothing failed."""
    refused: tuple[tuple[str, ...], ...] = ()
    """Requests that make no sense for it: tap, pool, evaluator, protocol of each."""
    marks: tuple[Caveat, ...] = ()
    """What was found that makes its numbers worth less than they seem; see `marks`."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Many records. `len` is their number, whether or not they have scores."""

    briefs: tuple[RecordSummary, ...]
    kinds: tuple[ScoreKey, ...]
    count: Whole
    """(records,) scores of each."""
    kind: Whole
    """(scores,) place in `kinds`."""
    value: Floats
    """(scores,) raw."""
    low: Floats
    """(scores,) lower end of the interval; NaN where there is none."""
    high: Floats
    n: Whole
    """(scores,) images behind each."""

    def __len__(self) -> int:
        return len(self.briefs)

    @functools.cached_property
    def record(self) -> Whole:
        """(scores,) place in `briefs`."""
        return np.repeat(np.arange(len(self.briefs), dtype=np.int64), self.count)

    def kinds_of(self, place: int) -> list[ScoreKey]:
        """What the scores of one record are of."""
        return [self.kinds[kind] for kind in self.kind[self.first[place] : self.first[place + 1]].tolist()]

    @functools.cached_property
    def first(self) -> Whole:
        """(records + 1,) place of each record's first score, and the number of all scores."""
        return np.concatenate(([0], np.cumsum(self.count)))

    def chosen(self, places: Sequence[int]) -> Columns:
        """The records at these places alone, in this order."""
        first = self.first
        parts = [np.arange(first[place], first[place + 1]) for place in places]
        scores = np.concatenate(parts) if parts else np.empty(0, np.int64)
        return Columns(
            briefs=tuple(self.briefs[place] for place in places),
            kinds=self.kinds,
            count=self.count[np.asarray(places, np.int64)],
            kind=self.kind[scores],
            value=self.value[scores],
            low=self.low[scores],
            high=self.high[scores],
            n=self.n[scores],
        )


def concatenate(first: Columns, second: Columns) -> Columns:
    """All records of both, one after the other."""
    kinds = {kind: place for place, kind in enumerate(first.kinds)}
    places = np.array([kinds.setdefault(kind, len(kinds)) for kind in second.kinds], np.int64)
    second = dataclasses.replace(second, kind=places[second.kind]) if len(places) else second
    numbers = ("count", "kind", "value", "low", "high", "n")
    return Columns(
        briefs=(*first.briefs, *second.briefs),
        kinds=tuple(kinds),
        **{name: np.concatenate((getattr(first, name), getattr(second, name))) for name in numbers},
    )


def columns_of(records: Iterable[Record]) -> Columns:
    """Records as columns.

    Raises:
        RecordError: a label that is no text, a number that is none; the record is named.
    """
    gathered = ColumnsBuilder()
    for record in records:
        gathered.add(record)
    return gathered.columns()


@dataclass
class ColumnsBuilder:
    """Records on their way into columns, one after the other; none has to stay in memory."""

    briefs: list[RecordSummary] = field(default_factory=list)
    count: array[int] = field(default_factory=lambda: array("q"))
    kind: array[int] = field(default_factory=lambda: array("q"))
    value: array[float] = field(default_factory=lambda: array("d"))
    low: array[float] = field(default_factory=lambda: array("d"))
    high: array[float] = field(default_factory=lambda: array("d"))
    n: array[int] = field(default_factory=lambda: array("q"))
    _kinds: dict[tuple[object, ...], int] = field(default_factory=dict)
    _commons: dict[str, SharedMetadata] = field(default_factory=dict)

    def add(self, record: Record, folder: str = "") -> None:
        """Takes in a record, whole or not at all.

        Raises:
            RecordError: a label that is no text, a number that is none.
        """
        try:
            brief = self._brief(record, folder)
            keys = list(map(OF_SCORE_KEY, record.scores))
            kinds = [self._kinds[key] if key in self._kinds else self._new_kind(key) for key in keys]
            values, lows, highs = (_numbers(record.scores, name) for name in ("value", "ci_low", "ci_high"))
            counts = array("q", [score.n for score in record.scores])
            if any(score.value is None for score in record.scores):
                raise TypeError("a value is missing")
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            where = record.folder or f"record {record.id}"
            raise RecordError(f"{where} is not whole: {error}; bench run makes it again") from error
        self.briefs.append(brief)
        self.count.append(len(kinds))
        self.kind.extend(kinds)
        self.value.extend(values)
        self.low.extend(lows)
        self.high.extend(highs)
        self.n.extend(counts)

    def columns(self) -> Columns:
        """All that was taken in."""
        return Columns(
            briefs=tuple(self.briefs),
            kinds=tuple(ScoreKey(**dict(zip(ScoreKey.__dataclass_fields__, key, strict=True))) for key in self._kinds),  # type: ignore[arg-type]  # checked by _kind
            count=np.array(self.count, np.int64),
            kind=np.array(self.kind, np.int64),
            value=np.array(self.value, np.float64),
            low=np.array(self.low, np.float64),
            high=np.array(self.high, np.float64),
            n=np.array(self.n, np.int64),
        )

    def _new_kind(self, key: tuple[Any, ...]) -> int:
        _texts(key[:5])
        if {type(flag) for flag in key[5:]} != {bool}:
            raise TypeError(f"headline and higher_is_better of {key[4]} are true or false")
        return self._kinds.setdefault(key, len(self._kinds))

    def _brief(self, record: Record, folder: str) -> RecordSummary:
        fields = _common(record)
        key = json.dumps(fields, sort_keys=True)
        if key not in self._commons:
            _texts(fields[name] for name in ("method", "encoder", "dataset"))
            self._commons[key] = SharedMetadata(**fields)
        seed = record.cell["seed"]
        _texts((record.id, record.state))
        if seed is not None and type(seed) is not int:
            raise TypeError(f"the seed {seed!r} is no whole number")
        return RecordSummary(
            folder=folder,
            id=record.id,
            state=record.state,
            seed=seed,
            common=self._commons[key],
            **{name: _number_or_none(record.cost.get(name)) for name in COST},
            dull=record.checks.get("learned") is False,
            trained=record.trained,
            failure=str(record.failure.get("reason", "")) if record.failure else None,
            refused=tuple(tuple(each[key] for key in REFUSAL) for each in record.checks.get("not_applicable", ())),
            marks=caveats_of(record.checks),
        )


def _common(record: Record) -> dict[str, Any]:
    cell, provenance = record.cell, record.provenance
    versions, recipe = provenance.get("versions", {}), cell.get("recipe", {})
    on_gpu = provenance.get("device") == "cuda"
    return {
        "method": cell["method"]["label"],
        "encoder": cell["encoder"]["label"],
        "dataset": cell["dataset"]["label"],
        "epochs": _number_or_none(recipe.get("epochs")),
        "shown_epochs": str(recipe.get("epochs", 0)),
        "grouping_key": hashlib.sha256(grouping_key(record).encode(errors="surrogatepass")).hexdigest(),
        "method_params": json.dumps(cell["method"]["params"], sort_keys=True),
        "versions": ".".join(str(versions.get(kind, "")) for kind in ("method", "encoder", "dataset")),
        "fingerprint": str(cell["dataset"].get("fingerprint", ""))[:16],
        "device": provenance.get("device_name") if on_gpu else provenance.get("device"),
        "device_kind": provenance.get("device"),
        "batch": _number_or_none(recipe.get("batch")),
        "precision": _text_or_none(provenance.get("precision")),
        "repbench_version": provenance.get("repbench"),
        "commit": _commit(provenance),
        "spec_versions": versions,
        "providers": {kind: cell[kind].get("provider") for kind in ("method", "encoder", "dataset")},
    }


def _commit(provenance: Json) -> str:
    commit = str(provenance.get("commit") or "")[:10]
    return f"{commit}+" if commit and provenance.get("dirty") else commit


def _texts(words: Iterable[object]) -> None:
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"{word!r} stands where a text should")


def _text_or_none(word: object) -> str | None:
    if word is not None:
        _texts([word])
    return None if word is None else str(word)


def _number(value: object) -> Any:
    """A number as it is; NaN and infinity were never written by us."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"{value!r} stands where a number should")
    return value


def _number_or_none(value: object) -> Any:
    return None if value is None else _number(value)


def _numbers(scores: Sequence[Score], name: str) -> list[float]:
    """A number of each score, NaN where there is none."""
    values: list[float] = list(map(attrgetter(name), scores))
    kinds = set(map(type, values))
    if NoneType in kinds:
        values = [math.nan if value is None else value for value in values]
    if not kinds <= {int, float, NoneType} or not all(isfinite(v) for v in values if v is not math.nan):
        raise TypeError(f"the {name} of a score is no number")
    return values
