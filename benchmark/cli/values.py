"""The types of options and arguments. Each refuses what it cannot mean: empty text, NaN, a file instead of a folder.

Values come from the command line as text, and from a `--config` file as numbers, texts and booleans.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmark.api.grammar import parse_assignments, parse_items
from benchmark.api.limits import Number, checked_folder, checked_path, checked_source, checked_text, shown
from benchmark.errors import UsageError


class Value(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A value that a function checks and converts."""

    def __init__(self, name: str, check: Callable[[Any], Any]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value with its type; a usage error names the option, the value and what is valid."""
        try:
            return self._check(value)
        except (ValueError, UsageError) as error:
            return self.fail(str(error), param, ctx)


def number(limit: Number) -> Value:
    """A finite number in a range."""

    def check(value: object) -> int | float:
        return limit.parse(value) if isinstance(value, str) else limit.check(value)

    return Value("integer" if limit.integer else "number", check)


def integer(minimum: int, maximum: int) -> Value:
    """An integer in a range."""
    return number(Number(minimum=minimum, maximum=maximum))


def _items(value: object) -> str:
    text = _short(value)
    if not parse_items([text]):
        raise ValueError(f"{shown(value)} is empty; write names, separated by commas")
    return text


def _item(value: object) -> str:
    text = _items(value)
    count = len(parse_items([text]))
    if count != 1:
        raise ValueError(f"{shown(value)} names {count} items; write one")
    return text


def _assignments(value: object) -> str:
    text = _short(value)
    if not parse_assignments([text]):
        raise ValueError(f"{shown(value)} is empty; write key=value, separated by commas")
    return text


def _short(value: object) -> str:
    """A text that may have line breaks between its items."""
    checked_text(value.replace("\n", " ").replace("\r", " ").replace("\t", " ") if isinstance(value, str) else value)
    return str(value)


def _plain(value: object) -> str:
    return checked_text(str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value)


def _output_file(value: object) -> Path:
    path = checked_path(value)
    if path.is_dir() or str(value).endswith(("/", os.sep)):
        raise ValueError(f"{shown(path)} is a folder; write the name of a file")
    checked_folder(path.parent)
    return path


def _regular_file(value: object) -> Path:
    path = _output_file(value)
    if path.exists() and not path.is_file():
        raise ValueError(f"{shown(path)} is a device or a pipe, which a file would replace; write the name of a file")
    return path


def _input_file(value: object) -> Path:
    path = checked_path(value)
    if not path.exists():
        raise ValueError(f"{shown(path)} does not exist")
    if path.is_dir():
        raise ValueError(f"{shown(path)} is a folder; write the name of a file")
    return path


def _existing(value: object) -> Path:
    path = checked_path(value)
    if not path.exists():
        raise ValueError(f"{shown(path)} does not exist")
    return path


def _records(value: object) -> Path:
    path = _existing(value)
    if path.is_dir():
        return path
    if path.suffix not in (".jsonl", ".csv"):
        raise ValueError(f"{shown(path)} is neither a folder of records nor a leaderboard's .jsonl")
    return _leaderboard(path)


def _leaderboard(path: Path) -> Path:
    """The records of a leaderboard whose .jsonl or .csv is named."""
    records = path.with_suffix(".jsonl")
    if path.suffix == ".csv" and not records.exists():
        raise ValueError(f"{shown(path)} holds no records; they are in {records.name}, which is not beside it")
    return records


def _source(value: object) -> Path:
    path = checked_path(value)
    is_file = path.suffix == ".jsonl" or (path.suffix == ".csv" and not path.is_dir())
    return _leaderboard(path) if is_file else checked_folder(path)


def _existing_folder(value: object) -> Path:
    return checked_folder(_existing(value))


def _safe(check: Callable[[object], Path]) -> Callable[[object], Path]:
    """Turns what the system refuses, such as a name that is too long, into a ValueError."""

    def checked(value: object) -> Path:
        try:
            return check(value)
        except OSError as error:
            raise ValueError(f"{shown(value)} is not valid: {error.strerror}") from None

    return checked


TEXT = Value("text", _plain)
SOURCE_NAME = Value("source", checked_source)
"""What names a record, a leaderboard or a baseline."""
ITEMS = Value("items", _items)
ITEM = Value("item", _item)
ASSIGNMENTS = Value("settings", _assignments)
FOLDER = Value("folder", _safe(checked_folder))
"""A folder that may not exist yet."""
EXISTING_FOLDER = Value("folder", _safe(_existing_folder))
RECORDS = Value("path", _safe(_records))
"""An existing folder of records, or a leaderboard."""
SOURCE = Value("path", _safe(_source))
"""A folder of records that may not exist, or a leaderboard."""
INPUT_FILE = Value("file", _safe(_input_file))
OUTPUT_FILE = Value("file", _safe(_regular_file))
"""A file to write; its folder may not exist yet."""
OUTPUT_STREAM = Value("file", _safe(_output_file))
"""A file, a device or a pipe to write to."""
