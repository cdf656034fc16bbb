"""From `key=value` to a plugin's dataclass: names and types are checked here, with errors for people."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from benchmark.errors import UnknownNameError, UsageError


def bind(params: type, given: Mapping[str, object], owner: str) -> Any:
    """An instance of the dataclass `params` with `given` over its defaults.

    Args:
        params: a frozen dataclass; its annotations say which values are right.
        given: field name -> value as parsed from the command line or a file.
        owner: whose parameters they are, for the messages: "method 'aet'".

    Raises:
        UsageError: an unknown field (with the nearest name), a value of the wrong type, or one that the dataclass
            itself refuses.
    """
    hints = _hints(params)
    values: dict[str, object] = {}
    for key, value in given.items():
        if key not in hints:
            raise UnknownNameError(f"parameter of {owner}", key, hints)
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
        return "one of " + ", ".join(shown(value) for value in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(expected(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list of {expected(get_args(hint)[0])}s, written 1;2;3"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", types.NoneType: "none"}
    return words.get(hint, str(hint))


@functools.cache
def _hints(params: type) -> dict[str, Any]:
    if not dataclasses.is_dataclass(params):
        raise UsageError(f"{params.__name__} is no dataclass; a spec's params must be a frozen dataclass with defaults")
    hints = get_type_hints(params)
    return {field.name: hints[field.name] for field in dataclasses.fields(params) if field.init}


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
    if hint in (int, float, bool, str, types.NoneType) and type(value) is hint:
        return value
    raise ValueError


def _choice(value: object, choices: tuple[object, ...]) -> object:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
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
        from benchmark.grammar import parse_value

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
    text = str(value)
    return f"'{text}'" if isinstance(value, str) and any(mark in text for mark in ",[]|= ") else text


def _example(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return shown(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return _example(get_args(hint)[0])
    if get_origin(hint) is tuple:
        return "1;2"
    return {int: "3", float: "0.5", bool: "true", str: "text"}.get(hint, "none")
