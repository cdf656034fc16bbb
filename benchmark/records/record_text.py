"""The JSON text of a record, with a checksum: written, and read with all checks.

A record holds numbers and text, never an object: nothing is unpickled. Schema version 1 is upgraded in memory. A record of an
earlier version has no checksum; its id is compared with its settings instead.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from benchmark.api.cells import Json
from benchmark.api.identity import id_of_settings
from benchmark.errors import RecordError
from benchmark.records.missing_checksums import missing_checksums
from benchmark.records.record import RECORD, SCHEMA_VERSION, Record, Score
from benchmark.records.upgrade import upgrade
from benchmark.records.validation import (
    MAX_DEPTH,
    cell_problem,
    depth_of,
    is_nested_deeply,
    is_outside_interval,
    problem_of,
)

LOG = logging.getLogger("benchmark")
RERUN = "run the cell again with bench run"
CHECKSUM = "record_sha256"
"""Key among a record's checks: SHA-256 of the record's text, with zeros in place of the checksum."""
ALTERED = "altered"
"""Key among a record's checks: whether its text did not match its checksum when it was read."""
UNVERIFIED = "unverified"
"""Key among a record's checks: what it held no checksum of when it was read, although it held others."""
BLANK = "0" * 64
_START = f'"{CHECKSUM}": "'.encode()


class SchemaError(RecordError):
    """A record of another schema version."""


class LaterSchemaError(SchemaError):
    """A record that a later repbench wrote. It is never overwritten."""


# --- writing ----------------------------------------------------------------------------------------------------------


def as_json(record: Record) -> Json:
    """The contents of record.json, without its checksum. The values are those of the record, not copies."""
    body = {name: getattr(record, name) for name in _RECORD_FIELDS}
    body["scores"] = [
        {name: getattr(score, name) for name in _SCORE_FIELDS if name != "unit" or score.unit}
        for score in record.scores
    ]
    return body


_RECORD_FIELDS = tuple(name for name in Record.__dataclass_fields__ if name not in ("folder", "stored_id"))
_SCORE_FIELDS = tuple(Score.__dataclass_fields__)


def record_text(body: Json, *, indent: int | None = None, sort_keys: bool = False) -> bytes:
    """The text of a record with its checksum.

    Args:
        body: from `as_json`.
        indent: spaces of indentation; None: one line.
        sort_keys: whether keys are sorted.

    Raises:
        TypeError, ValueError: the record holds NaN, infinity or an object.
    """
    body = {**body, "checks": {**body["checks"], CHECKSUM: BLANK}}
    text = json.dumps(body, indent=indent, sort_keys=sort_keys, allow_nan=False, default=_plain).encode()
    start = text.rindex(_START) + len(_START)
    return text[:start] + hashlib.sha256(text).hexdigest().encode() + text[start + len(BLANK) :]


def _plain(value: Any) -> Any:
    """A scalar of numpy as a Python number."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a record cannot hold a {type(value).__name__}")


# --- reading ----------------------------------------------------------------------------------------------------------

_DECODER = msgspec.json.Decoder(Record)


def parse_record(text: bytes, path: Path, remedy: str = RERUN) -> Record:
    """A record from the bytes of a JSON object. One that was changed after it was written is marked, and logged.

    Args:
        text: a record.json, or one line of a leaderboard.
        path: the file, for messages; its folder becomes the record's.
        remedy: what to do if it is damaged, for messages.

    Raises:
        RecordError: the text is no JSON, a key is missing, or a value has the wrong type or is out of its range.
        SchemaError: the record has another schema version.
    """
    record = _decode(text, path, remedy)
    problem = cell_problem(record)
    if problem:
        raise _incomplete(path, problem, remedy)
    problem = problem_of(record)
    if problem:
        raise RecordError(f"{path} is not valid: {problem}; {remedy}")
    if _is_altered(record, text, path, remedy) or any(map(is_outside_interval, record.scores)):
        record.checks[ALTERED] = True
    missing = [] if _START in text else missing_checksums(record, in_folder=path.name == RECORD)
    if missing:
        record.checks[UNVERIFIED] = missing
    record.checks.pop(CHECKSUM, None)
    if record.checks.get(ALTERED):
        log_altered(path if path.name == RECORD else f"{path}, {record.name} ({record.short_id})")
    return dataclasses.replace(record, folder=str(path.parent))


def log_altered(name: object) -> None:
    """Logs that a record was changed after it was written. The command line prints it to standard error."""
    LOG.warning(
        "altered: %s was edited or damaged after it was written: it does not match its checksum, its id or its intervals; %s",
        name,
        RERUN,
    )


def _decode(text: bytes, path: Path, remedy: str) -> Record:
    if is_nested_deeply(text):
        _check_depth(text, path, remedy)
    try:
        record = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(text, path, remedy)
    return record if record.schema_version == SCHEMA_VERSION else _decode_slowly(text, path, remedy)


def _check_depth(text: bytes, path: Path, remedy: str) -> None:
    try:
        depth = depth_of(json.loads(text))
    except RecursionError:
        depth = MAX_DEPTH + 1
    except ValueError:
        return  # no JSON, which the decoder reports
    if depth > MAX_DEPTH:
        raise RecordError(f"{path} is damaged (nested more than {MAX_DEPTH} levels deep); {remedy}")


def _decode_slowly(text: bytes, path: Path, remedy: str) -> Record:
    """Reads text that the decoder rejects: version 1, or lone surrogates. Other text raises an error that says what is
    wrong.
    """
    try:
        body = json.loads(text.decode("utf-8-sig"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is damaged ({error}); {remedy}") from error
    if not isinstance(body, dict) or "schema_version" not in body:
        raise RecordError(f"{path} is not a record: it has no schema_version")
    version = body["schema_version"]
    try:
        if version == 1 and version is not True:
            body = {**upgrade(body), "stored_id": body["id"]}
        elif version != SCHEMA_VERSION:
            later = isinstance(version, int) and version > SCHEMA_VERSION
            raise (LaterSchemaError if later else SchemaError)(
                f"{path} has schema version {str(version)[:20]}; this repbench reads 1 and {SCHEMA_VERSION}. "
                "Use the repbench that wrote it, or another --out"
            )
        record = msgspec.convert(body, Record)
        _check_encodable(record)
        return record
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise _incomplete(path, error, remedy) from error


def _check_encodable(record: Record) -> None:
    """Raises a ValueError if a text that tables show cannot be written. A traceback may hold any text."""
    shown = [record.cell, record.cost, record.provenance, [score.key() for score in record.scores]]
    json.dumps(shown, ensure_ascii=False).encode()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    """A number; `1e999` would be read as infinity."""
    return float(text) if isfinite(float(text)) else _refuse_constant(text)


def _incomplete(path: Path, reason: object, remedy: str) -> RecordError:
    missing = f"no {reason}" if isinstance(reason, KeyError) else reason
    return RecordError(f"{path} is incomplete: {missing}; {remedy}")


# --- changes after writing --------------------------------------------------------------------------------------------


def _is_altered(record: Record, text: bytes, path: Path, remedy: str) -> bool:
    """Whether a record is not as it was written.

    Raises:
        RecordError: a key occurs twice, so that its value is unknown.
    """
    if _START in text:
        return not has_own_checksum(text)
    _check_keys(record, text, path, remedy)
    return not record.stored_id and not _has_own_id(record)


def has_own_checksum(text: bytes) -> bool:
    """Whether the text of a record holds its checksum: it is as it was written."""
    start = text.rfind(_START) + len(_START)
    if start < len(_START):
        return False
    content = text.rstrip()
    digest = hashlib.sha256(content[:start])
    digest.update(BLANK.encode())
    digest.update(content[start + len(BLANK) :])
    return digest.hexdigest().encode() == content[start : start + len(BLANK)]


def _has_own_id(record: Record) -> bool:
    """Whether the id is that of the settings, or cannot be computed."""
    try:
        return record.id in (id_of_settings(record.cell, smoke=smoke) for smoke in (record.state == "smoke", True))
    except (KeyError, TypeError, AttributeError, ValueError):
        return True


_OPTIONAL_OF_SCORES = ("details", "higher_is_better", "headline", "unit")


def _check_keys(record: Record, text: bytes, path: Path, remedy: str) -> None:
    """Raises a RecordError if an object has a key twice. If the number of keys is that of the record, no key does."""
    absent = sum(len(record.scores) for name in _OPTIONAL_OF_SCORES if f'"{name}":'.encode() not in text)
    if _count_keys(text) == _count_keys(msgspec.json.encode(record)) - absent:
        return

    def unique(pairs: Sequence[tuple[str, Any]]) -> Json:
        keys = dict(pairs)
        if len(keys) < len(pairs):
            names = [name for name, _ in pairs]
            raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' occurs twice")
        return keys

    try:
        json.loads(text, object_pairs_hook=unique)
    except ValueError as error:
        raise RecordError(f"{path} is damaged ({error}); {remedy}") from error


def _count_keys(text: bytes) -> int:
    return text.count(b'":') - text.count(b'\\":')
