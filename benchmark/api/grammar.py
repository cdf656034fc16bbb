"""The little language of the command line: `aet[transform=affine|projective],dim` and `'0,3'`.

    item   = name-or-glob [ "[" key=value { "," key=value } "]" ]
    value  = whole number, number, true, false, none, text or 'quoted text'; a|b makes several items

Items are separated by commas or spaces. Commas and spaces inside brackets or quotes do not separate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One item as typed: a name or glob, with its parameters; alternatives are already multiplied out."""

    name: str
    """May hold * and ?."""
    params: tuple[tuple[str, object], ...] = ()
    """(key, value) as typed, in that order."""


def parse_items(texts: Iterable[str]) -> list[Selection]:
    """All items of an option that may be repeated.

    Raises:
        UsageError: brackets or quotes that do not close, a parameter without `=`, a name that is missing.
    """
    return [selection for text in texts for part in _split(text, ", ") for selection in _item(part)]


def parse_assignments(texts: Iterable[str]) -> dict[str, object]:
    """`lr=.05,batch=128` as a dictionary; a later one replaces an earlier."""
    return dict(_assignment(part) for text in texts for part in _split(text, ", "))


def parse_value(text: str) -> object:
    """A value as typed: int, float, bool, None or str.

    What would not come back as it was typed stays text: `007`, `1_000`, `nan`.
    """
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    words: dict[str, object] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> int | float | None:
    digits = text.lstrip("+-")
    if "_" in text or (digits.isdecimal() and digits != "0" and digits.startswith("0")):
        return None
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if isinstance(number, int) or math.isfinite(number) else None
    return None


def parse_seeds(text: str) -> tuple[int, ...]:
    """`5` means seeds 0 to 4; `0,3` and `7,` mean just those.

    Raises:
        UsageError: not whole numbers of 0 or more, or none at all.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts if part) or not any(parts):
        raise UsageError(f"--seeds {text}: seeds are whole numbers; write 5 for seeds 0 to 4, or 0,3 for these two")
    if len(parts) == 1:
        count = int(parts[0])
        if count == 0:
            raise UsageError("--seeds 0: no seed at all; write 1 for seed 0 alone, or 0, (with a comma) for the seed 0")
        return tuple(range(count))
    return tuple(dict.fromkeys(int(part) for part in parts if part))


def _item(text: str) -> list[Selection]:
    name, bracket, rest = text.partition("[")
    if not name:
        raise UsageError(f"'{text}': a name is missing before the bracket; write name[key=value]")
    if not bracket:
        return [Selection(name=name)]
    if not rest.endswith("]"):
        raise UsageError(f"'{text}': the bracket does not close; write {name}[key=value]")
    alternatives = [_alternatives(part) for part in _split(rest[:-1], ",")]
    return [Selection(name=name, params=tuple(choice)) for choice in itertools.product(*alternatives)]


def _alternatives(text: str) -> list[tuple[str, object]]:
    key, value = _halves(text)
    return [(key, parse_value(part)) for part in _split(value, "|")] or [(key, "")]


def _assignment(text: str) -> tuple[str, object]:
    key, value = _halves(text)
    return key, parse_value(value)


def _halves(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"'{text}' is no parameter; write key=value")
    return key.strip(), value.strip()


def _split(text: str, separators: Sequence[str]) -> list[str]:
    """The parts between separators that stand outside brackets and quotes, without the empty ones."""
    parts, current, depth, quote = [], "", 0, ""
    for mark in text:
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "'\"":
            quote = mark
        elif mark in "[]":
            depth += 1 if mark == "[" else -1
            if depth < 0:
                raise UsageError(f"'{text}': a bracket closes that was not open")
        elif depth == 0 and mark in separators:
            parts.append(current)
            current = ""
            continue
        current += mark
    if depth != 0 or quote:
        raise UsageError(f"'{text}': {'a quote' if quote else 'a bracket'} does not close")
    parts.append(current)
    return [part.strip() for part in parts if part.strip()]
