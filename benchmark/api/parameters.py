"""From `key=value` to a plugin's dataclass: names and types are checked here, with errors for people."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from benchmark.api.grammar import parse_value
from benchmark.errors import UnknownNameError, UsageError


def bind(params: type, given: Mapping[str, object], owner: str, others: Iterable[str] = ()) -> Any:
    """An instance of the dataclass `params` with `given` over its defaults.

    Args:
        params: a frozen dataclass; its annotations say which values are right.
        given: field name -> value as parsed from the command line or a file.
        owner: whose parameters they are, for the messages: "method 'aet'".
        others: keys that the caller takes itself, named where a key is unknown.

    Raises:
        UsageError: an unknown field (with the nearest name), a value of the wrong type, or one that the dataclass
            itself refuses.
    """
    hints = _hints(params)
    values = _defaults(params, hints)
    for key, value in given.items():
        if key not in hints:
            raise UnknownNameError(f"parameter of {owner}", key, {*hints, *others})
        try:
            values[key] = _converted(value, hints[key])
        except ValueError:
            raise UsageError(
                f"{owner}: {key}={shown(value)} cannot be; {key} is {expected(hints[key])}. "
                f"Write {key}={_example(hints[key])}, for instance"
            ) from None
    try:
        return params(**values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{owner}: {error}") from error


def as_dict(params: Any) -> dict[str, object]:
    """Every field with its value, in the order of the dataclass; tuples stay tuples."""
    return {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}


def label(name: str, values: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """The name with its non-default values, sorted by key: `aet[transform=affine]`."""
    changed = {key: value for key, value in values.items() if key not in defaults or defaults[key] != value}
    if not changed:
        return name
    return f"{name}[{','.join(f'{key}={shown(changed[key])}' for key in sorted(changed))}]"


def expected(hint: Any) -> str:
    """What a field takes, in words: "one of local, global, both", "a whole number or none"."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return "one of " + ", ".join(choice if isinstance(choice, str) else shown(choice) for choice in choices)
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(expected(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list of {expected(get_args(hint)[0]).removeprefix('a ')}s, written 1;2;3"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", types.NoneType: "none"}
    return words.get(hint, str(hint))


@functools.cache
def _hints(params: type) -> dict[str, Any]:
    if not dataclasses.is_dataclass(params):
        raise UsageError(f"{params.__name__} is no dataclass; a spec's params must be a frozen dataclass with defaults")
    hints = get_type_hints(params)
    return {field.name: hints[field.name] for field in dataclasses.fields(params) if field.init}


def _defaults(params: type, hints: Mapping[str, Any]) -> dict[str, object]:
    """Integers numbers that stand as the default of a number, as numbers: `gamma: float = 1` and gamma=1 are one cell."""
    return {
        field.name: float(field.default)
        for field in dataclasses.fields(params)
        if hints.get(field.name) is float and type(field.default) is int
    }


def _converted(value: object, hint: Any) -> object:
    """The value as the annotation wants it; ValueError where it cannot be."""
    origin = get_origin(hint)
    if origin is Literal:
        return _choice(value, get_args(hint))
    if origin in (Union, types.UnionType):
        return _first_that_fits(value, get_args(hint))
    if origin is tuple:
        return _sequence(value, get_args(hint)[0])
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    if hint in (int, float, bool, str, types.NoneType) and type(value) is hint:
        return value
    raise ValueError


def _choice(value: object, choices: tuple[object, ...]) -> object:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    for choice in choices:
        # `augment=none` was read as no value at all, but the choice is a word of that spelling.
        if isinstance(choice, str) and not isinstance(value, str) and choice == shown(value):
            return choice
    raise ValueError


def _first_that_fits(value: object, options: tuple[Any, ...]) -> object:
    # An exact type wins over a conversion: 3 stays a number where a text would do as well.
    for option in sorted(options, key=lambda hint: type(value) is not hint):
        try:
            return _converted(value, option)
        except ValueError:
            continue
    raise ValueError


def _sequence(value: object, hint: Any) -> tuple[object, ...]:
    if isinstance(value, str):
        parts: tuple[object, ...] = tuple(parse_value(part) for part in value.split(";") if part.strip())
    elif isinstance(value, list | tuple):
        parts = tuple(value)
    else:
        parts = (value,)
    return tuple(_converted(part, hint) for part in parts)


def shown(value: object) -> str:
    """A value as it would be typed: true, none, 1;5;20, 'text with spaces'."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ";".join(shown(part) for part in value)
    if not isinstance(value, str):
        return str(value)
    if value and parse_value(value) == value and not any(mark in value for mark in ",[]|= '\""):
        return value
    return f'"{value}"' if "'" in value else f"'{value}'"


def _example(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return shown(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return _example(get_args(hint)[0])
    if get_origin(hint) is tuple:
        return "1;2"
    return {int: "3", float: "0.5", bool: "true", str: "text"}.get(hint, "none")
