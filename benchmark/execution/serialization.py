"""Jobs and outcomes as JSON text, so that a cell can be carried out on a machine that shares no memory with this one.

What comes back is equal to what was sent: a tuple is written as a JSON list, a list of a plugin's parameters as
`{"list": [...]}`, and a dictionary that could be taken for one of the two marks as `{"map": {...}}`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from benchmark.api.cells import Job, Outcome
from benchmark.errors import PluginError, UsageError

Value = TypeVar("Value", Job, Outcome)
MARKS = ("list", "map")
ADVICE = "every machine needs the same version of repbench"


def to_json(job: Job) -> str:
    """A job as text: one line of JSON.

    Raises:
        PluginError: a parameter is neither text, number, truth value, none nor made of these.
    """
    return _text(job, "job")


def from_json(text: str) -> Job:
    """The job that `to_json` wrote.

    Raises:
        UsageError: it is no job, or one of another version of repbench.
    """
    return _read(text, Job)


def outcome_to_json(outcome: Outcome) -> str:
    """An outcome as text: one line of JSON."""
    return _text(outcome, "outcome")


def outcome_from_json(text: str) -> Outcome:
    """The outcome that `outcome_to_json` wrote.

    Raises:
        UsageError: it is no outcome, or one of another version of repbench.
    """
    return _read(text, Outcome)


def _text(value: object, name: str) -> str:
    return json.dumps(_plain(value, name), ensure_ascii=False)


def _read(text: str, kind: type[Value]) -> Value:
    name = kind.__name__.lower()
    try:
        body = json.loads(text)
    except ValueError as error:
        raise UsageError(f"what was sent is no {name}: it is not JSON ({error}); {ADVICE}") from error
    found: Value = _typed(body, kind, name)
    return found


def _plain(value: object, where: str) -> Any:
    """What JSON can hold of a value; `where` it stands is told if that is nothing."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: _plain(getattr(value, name), f"{where}.{name}") for name in names}
    if type(value) in (str, int, float, bool, types.NoneType):
        return value
    if isinstance(value, tuple):
        return [_plain(part, where) for part in value]
    if isinstance(value, list):
        return {"list": [_plain(part, where) for part in value]}
    if isinstance(value, Mapping) and all(type(key) is str for key in value):
        body = {key: _plain(part, f"{where}.{key}") for key, part in value.items()}
        return {"map": body} if len(body) == 1 and next(iter(body)) in MARKS else body
    raise PluginError(
        f"{where} is a {type(value).__name__}, which cannot be sent to another machine; parameters are texts, numbers, "
        "true or false, none, or lists and dictionaries of these"
    )


def _free(body: Any) -> Any:
    """The value behind `_plain`'s, where no annotation says what it is."""
    if isinstance(body, list):
        return tuple(_free(part) for part in body)
    if not isinstance(body, dict):
        return body
    if body.keys() == {"list"}:
        return [_free(part) for part in body["list"]]
    inner = body["map"] if body.keys() == {"map"} else body
    return {key: _free(part) for key, part in inner.items()}


def _typed(body: Any, hint: Any, where: str) -> Any:
    """The value behind `_plain`'s, as its annotation has it.

    Raises:
        UsageError: it is something else.
    """
    if dataclasses.is_dataclass(hint):
        return _instance(body, hint, where)
    if get_origin(hint) in (Union, types.UnionType):
        for option in get_args(hint):
            with contextlib.suppress(UsageError):
                return _typed(body, option, where)
    elif get_origin(hint) is tuple and isinstance(body, list):
        return tuple(_typed(part, get_args(hint)[0], f"{where}[{index}]") for index, part in enumerate(body))
    elif get_origin(hint) is Mapping and isinstance(body, dict):
        return _free(body)
    elif body in get_args(hint) if get_origin(hint) is Literal else type(body) is hint:
        return body
    raise UsageError(f"{where} cannot be {json.dumps(body)[:80]}; {ADVICE}")


def _instance(body: Any, kind: Any, where: str) -> Any:
    hints = _hints(kind)
    if not isinstance(body, dict) or body.keys() != hints.keys():
        found = body.keys() if isinstance(body, dict) else set()
        wrong = [f"'{key}' is missing" for key in sorted(hints.keys() - found)]
        wrong += [f"'{key}' is unknown" for key in sorted(found - hints.keys())]
        raise UsageError(f"{where} is no {kind.__name__}: {', '.join(wrong)}; {ADVICE}")
    return kind(**{key: _typed(body[key], hint, f"{where}.{key}") for key, hint in hints.items()})


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Field -> annotation. Outcomes and jobs name nothing that is imported for types alone."""
    return get_type_hints(kind)
