"""Checks a record on reading: types, ranges, and what must hold between its fields. Every reader of records passes here.

Types of the fields of `Record` and `Score` are checked by the JSON decoder. Here are the contents of the JSON objects that
commands use, and the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf
from typing import Annotated, Any

import msgspec

from benchmark.api.cells import Json
from benchmark.records.metric_ranges import ROUNDING, range_of, range_text
from benchmark.records.record import Record, Score

MAX_DEPTH = 32
"""Deepest nesting of JSON that is read. A record has 8 levels, of which plugins choose some."""
MAX_IMAGES = 2**53
ID = re.compile(r"[0-9a-f]{64}")
Quantity = Annotated[float, msgspec.Meta(ge=0, le=1e18)] | None
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Texts = list[str] | None


class _Item(msgspec.Struct):
    """A method or an encoder. Unknown keys are ignored, here and below."""

    label: str
    name: str = ""
    params: Json = {}
    provider: str | None = None
    version: int = 1


class _Method(_Item, kw_only=True):
    params: Json


class _Dataset(_Item):
    fingerprint: str = ""
    subset: Count | None = None


class _Recipe(msgspec.Struct):
    epochs: Quantity = None
    batch: Quantity = None


class _Cell(msgspec.Struct):
    method: _Method
    encoder: _Item
    dataset: _Dataset
    seed: Count | None
    recipe: _Recipe = msgspec.field(default_factory=_Recipe)
    image_shape: list[Count] | None = None


class _Cost(msgspec.Struct):
    train_seconds: Quantity = None
    evaluate_seconds: Quantity = None
    images_seen: Quantity = None
    images_per_second: Quantity = None
    peak_memory_bytes: Quantity = None


class _PluginSource(msgspec.Struct):
    plugin: str
    source: str


class _EvaluatorSource(msgspec.Struct):
    plugin: str
    sources: list[str]


class _Sources(msgspec.Struct):
    benchmark: str | None = None
    method: _PluginSource | None = None
    encoder: _PluginSource | None = None
    dataset: _PluginSource | None = None
    evaluators: dict[str, _EvaluatorSource] = {}


class _Provenance(msgspec.Struct):
    sources: _Sources | None = None
    versions: dict[str, int] = {}
    device: str | None = None
    device_name: str | None = None
    repbench: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    precision: str | None = None
    time: str | None = None


class _Request(msgspec.Struct):
    tap: str
    pool: str
    evaluator: str
    protocol: str


class _Overlap(msgspec.Struct):
    exact: Count = 0
    near: Count = 0


class _File(msgspec.Struct):
    bytes: Count
    sha256: str


class _Checks(msgspec.Struct):
    model_file: _File | None = None
    predictions_file: _File | None = None
    trained: bool | None = None
    failed_to_learn: bool | None = None
    frozen: bool | None = None
    labels_unseen: bool | None = None
    altered: bool | None = None
    unverified: Texts = None
    curve_file: _File | None = None
    overlap: _Overlap | None = None
    not_applicable: list[_Request] | None = None
    chosen_on_test: Texts = None
    augmented: Texts = None
    arrays_sha256: dict[str, str] | None = None


def cell_problem(record: Record) -> str:
    """Which setting of a record's cell is missing or invalid; empty if none is."""
    return _type_problem("cell", record.cell, _Cell)


def problem_of(record: Record) -> str:
    """Why the other fields of a record cannot be used; empty if they can."""
    if not ID.fullmatch(record.id):
        return f"the id {record.id[:80]!r} is not 64 hexadecimal digits"
    problem = (
        _type_problem("cost", record.cost, _Cost)
        or _type_problem("provenance", record.provenance, _Provenance)
        or _type_problem("checks", record.checks, _Checks)
    )
    return problem or next(_score_problems(record.scores), "")


def _type_problem(name: str, value: Json, kind: type[msgspec.Struct]) -> str:
    try:
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        return f"{name}: {error}"
    return ""


def _score_problems(scores: tuple[Score, ...]) -> Iterator[str]:
    for score in scores:
        value = score.value
        low, high = range_of(score.protocol, score.metric, score.unit)
        if not low <= value <= high or not -inf < value < inf:
            yield f"{_name(score)} is {value!r}, but must be {range_text(score.protocol, score.metric, score.unit)}"
        if not 0 <= score.n <= MAX_IMAGES:
            yield f"{_name(score)} is of {score.n} images"
    if len({score.key() for score in scores}) < len(scores):
        yield "it holds a score twice"


def is_outside_interval(score: Score) -> bool:
    """Whether a value is not in its interval, by more than rounding: one of them was edited."""
    value, low, high = score.value, score.ci_low, score.ci_high
    margin = ROUNDING * (1 + abs(value))
    return (low is not None and low > value + margin) or (high is not None and high < value - margin)


def _name(score: Score) -> str:
    return f"{score.metric} of {score.evaluator} at {score.tap}"


def is_nested_deeply(text: bytes) -> bool:
    """Whether JSON text may be nested more than `MAX_DEPTH` levels deep, so that a recursive function could fail.

    The innermost brackets are removed again and again. Brackets within strings can only add levels.
    """
    brackets = text.translate(None, _OTHER)
    for _ in range(MAX_DEPTH):
        inner = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(inner) == len(brackets):
            break
        brackets = inner
    return bool(brackets)


_OTHER = bytes(byte for byte in range(256) if byte not in b"[]{}")


def depth_of(value: Any) -> int:
    """Levels of nesting in JSON, counted without recursion."""
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH + 1:
        level = [
            item
            for each in level
            if isinstance(each, dict | list | tuple)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        depth += 1
    return depth
