"""One folder for each cell, with a record.json that is whole or not there: written, read and checked here.

A record holds numbers and words, never an object: nothing is unpickled. Files beside it: `model.safetensors` (weights),
`curve.csv` (losses by epoch), `predictions.npz` (outcomes of each test image), `log.txt` (what was caught).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from benchmark.api.cells import Json, ScoreRequest, State
from benchmark.api.encoders import Pool
from benchmark.errors import RecordError
from benchmark.records.atomic import replaced
from benchmark.records.upgrade import upgraded

SCHEMA_VERSION = 2
RECORD = "record.json"
MODEL = "model.safetensors"
CHECKPOINT = "checkpoint.pt"
CURVE = "curve.csv"
PREDICTIONS = "predictions.npz"
LOG = "log.txt"
OUTPUT = "output.txt"
"""What a cell's process printed, while it runs and where it failed."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number with its conditions."""

    tap: str
    pool: Pool
    evaluator: str
    """As shown: the name with its non-default parameters."""
    protocol: str
    """`knn@1`: numbers of another protocol are not comparable."""
    metric: str
    """`accuracy`, `accuracy@k=20`, `map`."""
    params: Json
    """The evaluator's parameters, all of them."""
    value: float
    """Raw, never a percentage."""
    ci_low: float | None
    """95 % interval over test images; None where there is no calibrated one."""
    ci_high: float | None
    n: int
    """Test images (queries) behind the value."""
    outcomes: str | None
    """Name of the array in predictions.npz; None where the value is no mean over images."""
    details: Json = field(default_factory=dict)
    """What the evaluator chose on the way: an L2 strength, a number of iterations."""
    higher_is_better: bool = True
    headline: bool = False
    """Whether this is the evaluator's one number where there is room for one."""

    def key(self) -> tuple[str, str, str, str, str]:
        """What may stand only once in a record."""
        return (self.tap, self.pool, self.evaluator, self.protocol, self.metric)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one cell leaves behind."""

    id: str
    state: State
    cell: Json
    """method, encoder, dataset (name, label, params, version), seed, recipe."""
    scores: tuple[Score, ...] = ()
    cost: Json = field(default_factory=dict)
    """train_seconds, images_seen, images_per_second, peak_memory_bytes."""
    provenance: Json = field(default_factory=dict)
    checks: Json = field(default_factory=dict)
    """frozen, learned, trained."""
    failure: Json | None = None
    """stage, reason, traceback; None unless failed or interrupted."""
    schema_version: int = SCHEMA_VERSION
    folder: str = ""
    """Where it was read from; not part of the file."""

    @property
    def trained(self) -> bool:
        """Whether the folder holds finished weights, whatever became of the scores."""
        return bool(self.checks.get("trained"))

    def is_whole(self, wanted: Sequence[ScoreRequest]) -> bool:
        """Whether the cell is finished, nothing of it failed, and no score that is wanted is missing."""
        return self.state == "done" and self.failure is None and not self.missing(wanted)

    def missing(self, wanted: Sequence[ScoreRequest]) -> list[ScoreRequest]:
        """Those requests that have no score yet under their protocol, and of which it is not known that none makes sense."""
        have = {(score.tap, score.pool, score.evaluator, score.protocol) for score in self.scores}
        keys = ("tap", "pool", "evaluator", "protocol")
        have |= {(r["tap"], r["pool"], r["evaluator"], r["protocol"]) for r in self.checks.get("not_applicable", ())}
        return [request for request in wanted if tuple(request.key()[key] for key in keys) not in have]


def write_record(folder: Path, record: Record) -> None:
    """Puts record.json into the folder, atomically.

    Raises:
        RecordError: the folder cannot be written, or the record holds what JSON cannot: NaN, infinity, an object.
    """
    body = dataclasses.asdict(record)
    del body["folder"]
    try:
        text = json.dumps(body, indent=1, allow_nan=False, default=_plain) + "\n"
    except (TypeError, ValueError) as error:
        wrong = [f"{s.metric} of {s.evaluator} at {s.tap} is {s.value}" for s in record.scores if not isfinite(s.value)]
        raise RecordError(f"{folder / RECORD} cannot be written: {'; '.join(wrong) or error}") from error
    with replaced(folder / RECORD) as file:
        file.write(text.encode())


def read_record(folder: Path) -> Record:
    """The record of a cell's folder.

    Raises:
        RecordError: there is none, it is not whole, or another version of repbench wrote it.
    """
    path = folder / RECORD
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecordError(
            f"{folder} holds no {RECORD}; a cell's folder looks like aet-resnet18-digits-s0-1a2b3c4d5e"
        ) from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is not readable or not whole ({error}); bench run makes it again") from error
    return from_json(body, path)


def from_json(body: object, path: Path) -> Record:
    """A record from its parsed file.

    Raises:
        RecordError: a key is missing, of another kind, or the schema version is another.
    """
    if not isinstance(body, dict) or "schema_version" not in body:
        raise RecordError(f"{path} is no record: it has no schema_version")
    if body["schema_version"] == 1 and isinstance(body.get("cell"), dict):
        body = upgraded(body)
    if body["schema_version"] != SCHEMA_VERSION:
        raise SchemaError(
            f"{path} has schema version {body['schema_version']}, this repbench reads {SCHEMA_VERSION}; "
            "use the version that wrote it, or another --out"
        )
    try:
        fields = {f.name for f in dataclasses.fields(Record)} - {"folder", "scores"}
        known = {key: value for key, value in body.items() if key in fields}
        scores = tuple(_score(score) for score in body.get("scores", ()))
        record = Record(**known, scores=scores, folder=str(path.parent))
        _labels(record)
    except (TypeError, KeyError) as error:
        raise RecordError(f"{path} is not whole: {error}; bench run makes it again") from error
    return record


def _score(body: Json) -> Score:
    """A score from its part of the file; TypeError where a key is missing or unknown."""
    if not isinstance(body, dict) or body.keys() != Score.__dataclass_fields__.keys():
        return Score(**body)
    # All keys are there, as we write them. A frozen dataclass sets each of its fields by a call, which for 60 scores takes
    # as long as to parse them.
    score = object.__new__(Score)
    vars(score).update(body)
    return score


class SchemaError(RecordError):
    """A record of another schema version: never touched."""


def read_records(out: Path) -> tuple[list[Record], list[str]]:
    """Every record below a folder, sorted by folder name, and a sentence for each that could not be read."""
    records: list[Record] = []
    problems: list[str] = []
    for path in sorted(out.glob(f"*/{RECORD}")):
        try:
            records.append(read_record(path.parent))
        except RecordError as error:
            problems.append(str(error))
    return records, problems


def set_aside(folder: Path) -> Path:
    """Renames a record that cannot be read, so that the cell can be done again and nothing is lost."""
    for number in range(1, 1000):
        target = folder / f"{RECORD}.unreadable-{number}"
        if not target.exists():
            (folder / RECORD).replace(target)
            return target
    raise RecordError(f"{folder} holds a thousand unreadable records; look into it")


def find_record(argument: str, out: Path) -> Record:
    """The record that a command line names: a folder, a cell id or its unique prefix, or method/encoder/dataset/seed.

    Raises:
        RecordError: none or several fit.
    """
    if (Path(argument) / RECORD).is_file():
        return read_record(Path(argument))
    records, _ = read_records(out)
    found = [r for r in records if _answers_to(r, argument)]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(Path(r.folder).name for r in (found or records)[:8]) or "none"
    wrong = f"{len(found)} records fit" if found else "no record fits"
    raise RecordError(
        f"'{argument}': {wrong} under {out}; write a folder, a cell id or its beginning, "
        f"or method/encoder/dataset/seed. {'They are' if found else 'There is'}: {shown}"
    )


def _answers_to(record: Record, argument: str) -> bool:
    named = argument in ("/".join(_labels(record)), Path(record.folder).name)
    return named or (len(argument) >= 4 and record.id.startswith(argument))


def _labels(record: Record) -> list[str]:
    """Method, encoder, dataset, seed (`-` for none): what every record has."""
    cell = record.cell
    seed = "-" if cell["seed"] is None else str(cell["seed"])
    return [*(cell[kind]["label"] for kind in ("method", "encoder", "dataset")), seed]


def grouping_key(record: Record) -> str:
    """All but the seed: only records that agree in it may be averaged. Labels do not tell a changed folder or version."""
    cell = {key: value for key, value in record.cell.items() if key != "seed"}
    return json.dumps([cell, record.provenance.get("versions"), record.state == "smoke"], sort_keys=True)


def by_score_key(scores: Sequence[Score]) -> Mapping[tuple[str, str, str, str, str], Score]:
    """Scores by their key; a later one replaces an earlier."""
    return {score.key(): score for score in scores}


def _plain(value: Any) -> Any:
    """Scalars of numpy as Python numbers."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written into a record")
