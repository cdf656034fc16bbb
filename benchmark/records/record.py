"""The record of one cell: its data, and how record.json is written, read and found.

A record holds numbers and text, never an object: nothing is unpickled. The other files of a cell folder are named below.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from benchmark.api.cells import Json, ScoreRequest, State
from benchmark.api.encoders import Pool
from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.upgrade import upgrade

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
RERUN = "run the cell again with bench run"
ScoreId = tuple[str, str, str, str, str]
"""tap, pool, evaluator, protocol, metric: unique within a record."""


@dataclass(frozen=True, kw_only=True)
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

    def key(self) -> ScoreId:
        """Identifies the score within its record."""
        return (self.tap, self.pool, self.evaluator, self.protocol, self.metric)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one finished or failed cell leaves on disk."""

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
        return f"{'/'.join(self.labels)}/{'-' if self.seed is None else self.seed}"

    @property
    def short_id(self) -> str:
        """The first 10 digits of the id."""
        return self.id[:10]

    def outcomes_key(self, score: Score) -> str:
        """Name of a score's array in the .outcomes.npz of a leaderboard."""
        return f"{(self.stored_id or self.id)[:16]}|{score.outcomes}"

    @property
    def trained(self) -> bool:
        """Whether the folder holds finished weights, with or without scores."""
        return bool(self.checks.get("trained"))

    @property
    def failed_to_learn(self) -> bool:
        """Whether the loss ended no lower than that of a predictor that ignores the image."""
        return self.checks.get("failed_to_learn") is True

    def grouping_key(self) -> str:
        """Everything but the seed. Only records with equal keys may be averaged: labels hide data and versions."""
        cell = {key: value for key, value in self.cell.items() if key != "seed"}
        return json.dumps([cell, self.provenance.get("versions"), self.state == "smoke"], sort_keys=True)

    def matches(self, argument: str) -> bool:
        """Whether a command-line argument names this record: its name, its folder, or 4 or more first digits of its id."""
        if argument in (self.name, Path(self.folder).name or None):
            return True
        return len(argument) >= 4 and self.id.startswith(argument)

    def is_complete(self, requests: Sequence[ScoreRequest]) -> bool:
        """Whether the cell is finished without a failure and has every requested score."""
        return self.state == "done" and self.failure is None and not self.missing(requests)

    def missing(self, requests: Sequence[ScoreRequest]) -> list[ScoreRequest]:
        """Requests that are neither scored under their protocol nor recorded as not applicable."""
        keys = ("tap", "pool", "evaluator", "protocol")
        settled = {score.key()[:4] for score in self.scores}
        settled |= {tuple(each[key] for key in keys) for each in self.checks.get("not_applicable", ())}
        return [request for request in requests if tuple(request.key()[key] for key in keys) not in settled]


class SchemaError(RecordError):
    """A record of another schema version. It is never overwritten."""


# --- writing ----------------------------------------------------------------------------------------------------------


def as_json(record: Record) -> Json:
    """The contents of record.json."""
    body = dataclasses.asdict(record)
    del body["folder"], body["stored_id"]
    return body


def write_record(folder: Path, record: Record) -> None:
    """Write record.json into a folder, atomically.

    Raises:
        RecordError: the folder cannot be written, or the record holds NaN, infinity or an object.
    """
    try:
        text = json.dumps(as_json(record), indent=1, allow_nan=False, default=_plain) + "\n"
    except (TypeError, ValueError) as error:
        bad = [f"{s.metric} of {s.evaluator} at {s.tap} is {s.value}" for s in record.scores if not isfinite(s.value)]
        raise RecordError(f"{folder / RECORD} cannot be written: {'; '.join(bad) or error}") from error
    with replaced(folder / RECORD) as file:
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
    """What the decoder does not take: version 1, text with lone surrogates; else an error that says what is wrong."""
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


# --- many records -----------------------------------------------------------------------------------------------------


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
