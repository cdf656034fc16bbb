"""Jobs and outcomes as JSON text, to run a cell on a machine that shares no memory with this one.

JSON has one kind of sequence, so a tuple in an item's parameters comes back as a list. The cell binds parameters to their
dataclass again, which makes tuples of them: the cell that runs is the same.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

import msgspec

from benchmark.api.cells import Job, Outcome
from benchmark.errors import PluginError, UsageError

Value = TypeVar("Value", Job, Outcome)
ADVICE = "every machine needs the same version of repbench"


def to_json(job: Job) -> str:
    """A job as text: one line of JSON.

    Raises:
        PluginError: a parameter is not text, a number, a truth value, none, or a list or dictionary of these.
    """
    cell = job.cell
    for item in (cell.method, cell.encoder, cell.dataset, *(score.evaluator for score in job.scores)):
        _check_plain(item.params, f"parameters of '{item.name}'")
        _check_plain(item.identity, f"parameters of '{item.name}'")
    return json.dumps(msgspec.to_builtins(job))


def from_json(text: str) -> Job:
    """The job that `to_json` wrote.

    Raises:
        UsageError: the text is not a job, or another version of repbench wrote it.
    """
    return _read(text, Job)


def outcome_to_json(outcome: Outcome) -> str:
    """An outcome as text: one line of JSON."""
    return json.dumps(msgspec.to_builtins(outcome))


def outcome_from_json(text: str) -> Outcome:
    """The outcome that `outcome_to_json` wrote.

    Raises:
        UsageError: the text is not an outcome, or another version of repbench wrote it.
    """
    return _read(text, Outcome)


def _check_plain(value: object, where: str) -> None:
    if isinstance(value, dict) and all(type(key) is str for key in value):
        for key, part in value.items():
            _check_plain(part, f"{where}: '{key}'")
    elif isinstance(value, list | tuple):
        for part in value:
            _check_plain(part, where)
    elif type(value) not in (str, int, float, bool, type(None)):
        raise PluginError(
            f"{where} is a {type(value).__name__}, which cannot be sent to another machine; parameters are text, numbers, "
            "true or false, none, or lists and dictionaries of these"
        )


def _read(text: str, kind: type[Value]) -> Value:
    name = kind.__name__.lower()
    try:
        body: Any = json.loads(text)
        value = msgspec.convert(body, kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise UsageError(f"the text is not a valid {name}: {error}; {ADVICE}") from error
    # msgspec ignores unknown fields and fills in missing ones. Either means that another version wrote the text.
    if json.loads(json.dumps(dataclasses.asdict(value))) != body:
        raise UsageError(f"the {name} has other fields than this version of repbench writes; {ADVICE}")
    return value
