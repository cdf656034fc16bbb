"""Which values an argument may have: of `benchmark.run`, and of an option on the command line.

A check returns the value with its type, or raises a ValueError that says what is valid. The callers name the argument.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmark.errors import UsageError
from benchmark.plain_text import hidden_character, shortened, visible

T = TypeVar("T")
MAX_TEXT = 100_000
"""Characters of a text."""
MAX_PATH = 4096
"""Bytes of a path."""
MAX_PART = 255
"""Bytes of one part of a path."""
SHOWN = 60
"""Characters of an invalid value that a message shows."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A range of numbers."""

    minimum: float
    """The smallest valid number."""
    maximum: float
    """The largest valid number."""
    integer: bool = True
    """Whether only integers are valid."""
    above: bool = False
    """Whether the minimum itself is not valid."""

    @property
    def valid(self) -> str:
        """The range in words."""
        kind = "an integer" if self.integer else "a number"
        low = f"above {self.minimum:.15g} and up to" if self.above else f"from {self.minimum:.15g} to"
        return f"{kind} {low} {self.maximum:.15g}"

    def check(self, value: object) -> int | float:
        """The number, as given.

        Raises:
            ValueError: the value is no number, not a whole one where it must be, not finite, or out of range.
        """
        if isinstance(value, int | float) and self._holds(value):
            return value
        raise ValueError(f"{shown(value)} is not valid; write {self.valid}")

    def parse(self, text: str) -> int | float:
        """The number that a text stands for.

        Raises:
            ValueError: as of `check`.
        """
        try:
            return self.check(int(text) if self.integer else float(text))
        except ValueError:
            raise ValueError(f"{shown(text)} is not valid; write {self.valid}") from None

    def _holds(self, number: int | float) -> bool:
        """Whether a number has the type and is in the range; NaN is in none, and a truth value is no number."""
        if isinstance(number, bool) or (self.integer and isinstance(number, float)):
            return False
        return self.minimum <= number <= self.maximum and not (self.above and number == self.minimum)


MILLION = 1_000_000
LIMITS: Mapping[str, Number] = {
    "epochs": Number(minimum=1, maximum=MILLION),
    "threads_per_cell": Number(minimum=1, maximum=1024),
    "batch": Number(minimum=2, maximum=MILLION),
    "checkpoint_epochs": Number(minimum=1, maximum=MILLION),
    "timeout": Number(minimum=0, maximum=MILLION, integer=False, above=True),  # the kernel waits for 24 days at most
    "checkpoint_minutes": Number(minimum=0, maximum=MILLION, integer=False),
    "margin": Number(minimum=0, maximum=1, integer=False),
}
"""Argument of the Python API -> its range. The options of the command line have the same ranges."""


def checked_text(value: object) -> str:
    """A text that holds something to read.

    Raises:
        ValueError: it is no text, empty, too long, or has hidden characters such as line breaks.
    """
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not valid; write a text")
    if not value.strip():
        raise ValueError(f"{shown(value)} is empty; write a value, or leave it out for the default")
    if len(value) > MAX_TEXT:
        raise ValueError(f"a text of {len(value)} characters is not valid; write at most {MAX_TEXT}")
    hidden = hidden_character(value)
    if hidden:
        raise ValueError(f"{shown(value)} is not valid; it must not contain {hidden}")
    return value


def checked_name(value: object) -> str:
    """A name that can be typed between others: of a tap or a metric.

    Raises:
        ValueError: it is no text, empty, or has spaces, commas or hidden characters.
    """
    if not isinstance(value, str) or not value or hidden_character(value) or any(each in " ," for each in value):
        raise ValueError(f"{shown(value)} is not a valid name; write text without spaces and commas")
    return value


def checked_path(value: object) -> Path:
    """A path with `~` expanded; nothing needs to exist there.

    Raises:
        ValueError: it is no path, empty, too long, has a control character, or names the home of an unknown user.
    """
    try:
        text = os.fsdecode(value)  # type: ignore[arg-type]  # a TypeError says that it is no path
    except TypeError:
        raise ValueError(f"{shown(value)} is not valid; write a path") from None
    if not text.strip():
        raise ValueError(f"{shown(text)} is empty; write a path, or leave it out for the default")
    if _is_long(text):
        raise ValueError(
            f"a path of {len(text)} characters is not valid; write at most {MAX_PATH}, {MAX_PART} in each part"
        )
    hidden = hidden_character(_without_bytes(text))
    if hidden:
        raise ValueError(f"{shown(text)} is not valid; a path must not contain {hidden}")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{shown(text)} is not valid; no user of this name has a home folder") from None


def checked_source(value: object) -> str:
    """A text that names a record, a leaderboard or a file in a git revision, and that may be a path.

    Raises:
        ValueError: as of `checked_text`, or it is longer than any path.
    """
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{shown(value)} is not valid; write a text")
    text = os.fsdecode(value)
    checked_text(_without_bytes(text))
    if _is_long(text):
        raise ValueError(
            f"a name of {len(text)} characters is not valid; write at most {MAX_PATH}, {MAX_PART} in each part"
        )
    return text


def _without_bytes(path: str) -> str:
    """A path without its bytes that are not UTF-8, which are valid in paths."""
    return path.encode("utf-8", "ignore").decode("utf-8")


def _is_long(text: str) -> bool:
    """Whether no file can have this path."""
    parts = text.replace(os.sep, "/").split("/")
    return len(os.fsencode(text)) > MAX_PATH or any(len(os.fsencode(part)) > MAX_PART for part in parts)


def checked_folder(value: object) -> Path:
    """A path that is a folder or does not exist.

    Raises:
        ValueError: it is not a valid path, or something other than a folder.
    """
    path = checked_path(value)
    try:
        other = path.exists() and not path.is_dir()
        blocked = next((each for each in path.parents if each.exists() and not each.is_dir()), None)
    except OSError as error:
        raise ValueError(f"{shown(path)} is not valid: {error.strerror}") from None
    if other or blocked is not None:
        raise ValueError(
            f"{shown(path)} is not valid; {shown(blocked or path)} is a file, not a folder; write another path"
        )
    return path


def shown(value: object) -> str:
    """A value as messages show it: on one line, visible and not too long."""
    return visible(shortened(f"'{value}'" if isinstance(value, str | os.PathLike) else repr(value), SHOWN))


def checked_argument(name: str, check: Callable[[object], T], value: object) -> T:
    """The checked value of an argument of the Python API.

    Args:
        name: of the argument, for messages.
        check: a function of this module.
        value: as passed.

    Raises:
        UsageError: the value is not valid.
    """
    try:
        return check(value)
    except ValueError as error:
        raise UsageError(f"{name}={error}") from None
