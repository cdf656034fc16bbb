"""Parameters: `key=value` from the command line or a file becomes an instance of a plugin's dataclass.

The rules are those of typed text, so a general converter does not fit: 2 is a valid float, 7.0 a valid integer, 2024 a
valid text, `none` a valid choice, and 1;2;3 a tuple; but `true` is never the number 1.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from benchmark.api.grammar import parse_value
from benchmark.errors import UnknownNameError, UsageError

LARGEST = 10**18
WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text", types.NoneType: "none"}
EXAMPLES = {int: "3", float: "0.5", bool: "true", str: "text"}


def bind(params: type, values: Mapping[str, object], owner: str, others: Iterable[str] = ()) -> Any:
    """An instance of the dataclass `params`: its defaults, replaced by `values`.

    Args:
        params: a frozen dataclass with a default for every field; its annotations say which values are valid.
        values: field name -> value as parsed from the command line or a file.
        owner: whose parameters they are, for messages: "method 'aet'".
        others: keys that the caller handles itself; messages about an unknown key list them as well.

    Raises:
        UsageError: a key is unknown, a value has the wrong type, or the dataclass refuses a value.
    """
    hints = _hints(params)
    fields = _float_defaults(params, hints)
    for key, value in values.items():
        if key not in hints:
            raise UnknownNameError(f"parameter of {owner}", key, {*hints, *others})
        try:
            fields[key] = _converted(value, hints[key])
        except (ValueError, OverflowError):
            raise UsageError(
                f"{owner}: {key}={as_typed(value)} is not valid; {key} is {expected(hints[key])}, "
                f"for example {key}={_example(hints[key])}"
            ) from None
    try:
        return params(**fields)
    except (ValueError, TypeError, OverflowError) as error:
        raise UsageError(f"{owner}: {error}") from error


def as_dict(params: Any) -> dict[str, object]:
    """Field -> value, in the order of the dataclass; tuples stay tuples."""
    return {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}


def label(name: str, values: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """The name with its non-default values, sorted by key: `aet[transform=affine]`."""
    changed = {key: value for key, value in values.items() if key not in defaults or defaults[key] != value}
    if not changed:
        return name
    return f"{name}[{','.join(f'{key}={as_typed(changed[key])}' for key in sorted(changed))}]"


def expected(hint: Any) -> str:
    """The valid values of an annotation, in words: "one of local, global, both", "an integer or none"."""
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        return "one of " + ", ".join(choice if isinstance(choice, str) else as_typed(choice) for choice in choices)
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(expected(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list written 1;2;3 (each entry {expected(get_args(hint)[0])})"
    return WORDS.get(hint, str(hint))


def as_typed(value: object) -> str:
    """A value as typed on the command line: true, none, 1;5;20, 'text with spaces'."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ";".join(as_typed(part) for part in value)
    if not isinstance(value, str):
        return str(value)
    if value and parse_value(value) == value and not any(mark in value for mark in ",[]|= '\""):
        return value
    return f'"{value}"' if "'" in value else f"'{value}'"


@functools.cache
def _hints(params: type) -> dict[str, Any]:
    """Field -> annotation, for the fields that are arguments."""
    if not dataclasses.is_dataclass(params):
        raise UsageError(
            f"{params.__name__} is not a dataclass; params of a spec must be a frozen dataclass with defaults"
        )
    hints = get_type_hints(params)
    return {field.name: hints[field.name] for field in dataclasses.fields(params) if field.init}


def _float_defaults(params: type, hints: Mapping[str, Any]) -> dict[str, object]:
    """Defaults of float fields that are written as integers: `gamma: float = 1` must give the same cell as gamma=1."""
    return {
        field.name: float(field.default)
        for field in dataclasses.fields(params)
        if hints.get(field.name) is float and type(field.default) is int
    }


def _converted(value: object, hint: Any) -> object:
    """The value with the type of the annotation; ValueError if it is not valid."""
    origin = get_origin(hint)
    if origin is Literal:
        return _choice(value, get_args(hint))
    if origin in (Union, types.UnionType):
        return _first_valid(value, get_args(hint))
    if origin is tuple:
        return tuple(_converted(part, get_args(hint)[0]) for part in _parts(value))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number and math.isfinite(number := float(value)):  # type: ignore[arg-type]  # a number
        return number
    if hint is int and is_number:
        return _integer(value)
    if hint is str and is_number:
        return str(value)
    if hint in (bool, str, types.NoneType) and type(value) is hint:
        return value
    raise ValueError


def _integer(value: Any) -> int:
    """A number as an integer that every reader of JSON holds exactly in 64 bits."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    if abs(value) > LARGEST:
        raise ValueError
    return int(value)


def _choice(value: object, choices: tuple[object, ...]) -> object:
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    for choice in choices:
        # The parser reads `augment=none` as None, but here `none` is one of the words to choose from.
        if isinstance(choice, str) and not isinstance(value, str) and choice == as_typed(value):
            return choice
    raise ValueError


def _first_valid(value: object, options: tuple[Any, ...]) -> object:
    # An exact type comes before a conversion: 3 stays an integer where text is valid too.
    for option in sorted(options, key=lambda hint: type(value) is not hint):
        try:
            return _converted(value, option)
        except ValueError:
            continue
    raise ValueError


def _parts(value: object) -> tuple[object, ...]:
    """The entries of a list: 1;2;3, a list from a file, or a single value."""
    if isinstance(value, str):
        return tuple(parse_value(part) for part in value.split(";") if part.strip())
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _example(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return as_typed(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return _example(get_args(hint)[0])
    return "1;2" if get_origin(hint) is tuple else EXAMPLES.get(hint, "none")
