"""Reads, writes and finds record.json of cells.

A record holds numbers and text, never an object: nothing is unpickled. Schema version 1 is upgraded in memory.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from benchmark.api.cells import Json
from benchmark.errors import RecordError
from benchmark.records.atomic import Replace, replaced
from benchmark.records.record import KINDS, RECORD, SCHEMA_VERSION, Record
from benchmark.records.upgrade import upgrade

RERUN = "run the cell again with bench run"


class SchemaError(RecordError):
    """A record of another schema version. It is never overwritten."""


# --- writing ----------------------------------------------------------------------------------------------------------


def as_json(record: Record) -> Json:
    """The contents of record.json."""
    body = dataclasses.asdict(record)
    del body["folder"], body["stored_id"]
    return body


def write_record(folder: Path, record: Record, replace: Replace = replaced) -> None:
    """Write record.json into a folder, atomically.

    Args:
        folder: the cell's.
        record: its record.
        replace: how the file is opened.

    Raises:
        RecordError: the folder cannot be written, or the record holds NaN, infinity or an object.
    """
    try:
        text = json.dumps(as_json(record), indent=1, allow_nan=False, default=_plain) + "\n"
    except (TypeError, ValueError) as error:
        bad = [f"{s.metric} of {s.evaluator} at {s.tap} is {s.value}" for s in record.scores if not isfinite(s.value)]
        raise RecordError(f"{folder / RECORD} cannot be written: {'; '.join(bad) or error}") from error
    with replace(folder / RECORD) as file:
        file.write(text.encode())


def _plain(value: Any) -> Any:
    """A scalar of numpy as a Python number."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a record cannot hold a {type(value).__name__}")


# --- reading ----------------------------------------------------------------------------------------------------------

_DECODER = msgspec.json.Decoder(Record)


def read_record(folder: Path) -> Record:
    """Read the record of a cell folder. Schema version 1 is upgraded in memory.

    Raises:
        RecordError: the record is missing or damaged.
        SchemaError: the record has a later schema version.
    """
    path = folder / RECORD
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise RecordError(
            f"no {RECORD} in {folder}; the folder of a cell is named like aet-resnet18-digits-s0-1a2b3c4d5e"
        ) from None
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_record(text, path)


def parse_record(text: bytes, path: Path, remedy: str = RERUN) -> Record:
    """A record from the bytes of a JSON object.

    Args:
        text: a record.json, or one line of a leaderboard.
        path: the file, for messages; its folder becomes the record's.
        remedy: what to do if it is damaged, for messages.

    Raises:
        RecordError: the text is no JSON, a key is missing, or a value has the wrong type.
        SchemaError: the record has a later schema version.
    """
    try:
        record = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        record = _parse_slowly(text, path, remedy)
    if record.schema_version != SCHEMA_VERSION:
        record = _parse_slowly(text, path, remedy)
    _check_cell(record, path, remedy)
    return dataclasses.replace(record, folder=str(path.parent))


def _parse_slowly(text: bytes, path: Path, remedy: str) -> Record:
    """Reads text that the decoder rejects: version 1, or lone surrogates. Other text raises an error that says what is
    wrong.
    """
    try:
        body = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except ValueError as error:
        raise RecordError(f"{path} is damaged ({error}); {remedy}") from error
    if not isinstance(body, dict) or "schema_version" not in body:
        raise RecordError(f"{path} is not a record: it has no schema_version")
    version = body["schema_version"]
    try:
        if version == 1:
            body = {**upgrade(body), "stored_id": body["id"]}
        elif version != SCHEMA_VERSION:
            raise SchemaError(
                f"{path} has schema version {version}; this repbench reads 1 and {SCHEMA_VERSION}. "
                "Use the repbench that wrote it, or another --out"
            )
        return msgspec.convert(body, Record)
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
        raise _incomplete(path, error, remedy) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    """A number; `1e999` would be read as infinity."""
    return float(text) if isfinite(float(text)) else _refuse_constant(text)


def _check_cell(record: Record, path: Path, remedy: str) -> None:
    try:
        texts = [record.cell[kind]["label"] for kind in KINDS]
        seed = record.cell["seed"]
    except (KeyError, TypeError) as error:
        raise _incomplete(path, error, remedy) from error
    if not all(isinstance(text, str) for text in texts) or not (seed is None or type(seed) is int):
        raise _incomplete(path, f"labels are {texts}, seed is {seed!r}", remedy)


def _incomplete(path: Path, reason: object, remedy: str) -> RecordError:
    missing = f"no {reason}" if isinstance(reason, KeyError) else reason
    return RecordError(f"{path} is incomplete: {missing}; {remedy}")


def read_records(out: Path) -> tuple[list[Record], list[str]]:
    """All records of an output folder, sorted by folder name, and one message for each that cannot be read."""
    records: list[Record] = []
    problems: list[str] = []
    for path in sorted(out.glob(f"*/{RECORD}")):
        try:
            records.append(read_record(path.parent))
        except RecordError as error:
            problems.append(str(error))
    return records, problems


def set_aside(folder: Path) -> Path:
    """Rename a record that cannot be read, so that the cell can run again and nothing is lost."""
    for number in range(1, 1000):
        target = folder / f"{RECORD}.unreadable-{number}"
        if not target.exists():
            (folder / RECORD).replace(target)
            return target
    raise RecordError(f"{folder} holds 999 unreadable records; inspect and delete them")


# --- finding ----------------------------------------------------------------------------------------------------------


def find_record(argument: str, out: Path) -> Record:
    """The record that a command-line argument names.

    Args:
        argument: a cell folder, a cell id or its unique prefix, or method/encoder/dataset/seed.
        out: output folder.

    Raises:
        RecordError: no record or several match.
    """
    if (Path(argument) / RECORD).is_file():
        return read_record(Path(argument))
    records, _ = read_records(out)
    matching = [record for record in records if record.matches(argument)]
    if len(matching) == 1:
        return matching[0]
    raise RecordError(ambiguous(argument, matching, [Path(r.folder).name for r in matching or records], str(out)))


def ambiguous(argument: str, matching: Sequence[Record], names: Iterable[str], where: str) -> str:
    """The message for an argument that matches no record or several; `names` are listed as the choices."""
    choices = list(dict.fromkeys(names))
    shown = ", ".join(choices[:8]) or "none"
    more = f" and {len(choices) - 8} more" if len(choices) > 8 else ""
    problem = f"'{argument}' matches {len(matching)} records" if matching else f"no record matches '{argument}'"
    return (
        f"{problem} in {where}; pass a cell folder, a cell id or its prefix, or method/encoder/dataset/seed. "
        f"{'Matching' if matching else 'Available'}: {shown}{more}"
    )
