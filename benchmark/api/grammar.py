"""The grammar of items on the command line: `aet[transform=affine|projective],dim` and `'0,3'`.

    item   = name-or-glob [ "[" key=value { "," key=value } "]" ]
    value  = integer, number, true, false, none, text or 'quoted text'; a|b makes several items

Commas and white space separate items, except inside brackets and quotes. Names, keys and values are plain text: control
characters and characters that reverse the direction of text are refused.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.errors import UsageError
from benchmark.plain_text import hidden_character, one_line, shortened

SEPARATORS = ", \t\r\n"
MAX_ITEMS = 10_000
"""Items that one text may stand for; alternatives multiply."""
MAX_SEEDS = 10_000
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, kw_only=True)
class Selection:
    """One item as typed: a name or glob with its parameters. Alternatives (`a|b`) are separate selections."""

    name: str
    """May contain the wildcards * and ?."""
    params: tuple[tuple[str, object], ...] = ()
    """(key, value) in the typed order."""


def parse_items(texts: Iterable[str]) -> list[Selection]:
    """The items of a repeatable option.

    Raises:
        UsageError: a bracket or quote is not closed, a parameter has no `=`, or a name is missing.
    """
    return [selection for text in texts for part in _split(text, SEPARATORS) for selection in _item(part)]


def parse_assignments(texts: Iterable[str]) -> dict[str, object]:
    """`lr=.05,batch=128` as a dictionary; the last value of a key counts."""
    return dict(_assignment(part) for text in texts for part in _split(text, SEPARATORS))


def parse_value(text: str) -> object:
    """A typed value: int, float, bool, None or str.

    A text that a number would not reproduce stays text: `007`, `1_000`, `nan`.
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
    """`5` means seeds 0 to 4; `0,3` and `7,` mean exactly these seeds.

    Raises:
        UsageError: a seed is not an integer of 0 or more, or there is no seed.
    """
    parts = [part.strip() for part in text.split(",")]
    shown = one_line(shortened(text, 60)) or "''"
    if not text.isascii() or not all(part.isdecimal() for part in parts if part) or not any(parts):
        raise UsageError(
            f"--seeds {shown}: seeds are integers of 0 or more; write 5 for seeds 0 to 4, or 0,3 for seeds 0 and 3"
        )
    if any(len(part) > len(str(MAX_SEED)) or int(part) > MAX_SEED for part in parts if part):
        raise UsageError(f"--seeds {shown}: a seed is at most {MAX_SEED}")
    if len(parts) > MAX_SEEDS or (len(parts) == 1 and int(parts[0]) > MAX_SEEDS):
        raise UsageError(f"--seeds {shown}: at most {MAX_SEEDS} seeds are possible; write 5 for seeds 0 to 4")
    if len(parts) == 1:
        count = int(parts[0])
        if count == 0:
            raise UsageError("--seeds 0 selects no seed; write 1, or 0, (with a comma) for seed 0")
        return tuple(range(count))
    return tuple(dict.fromkeys(int(part) for part in parts if part))


def _item(text: str) -> list[Selection]:
    name, bracket, rest = text.partition("[")
    _check_plain(name)
    if not name:
        raise UsageError(f"'{text}': no name before the bracket; write name[key=value]")
    if not bracket:
        return [Selection(name=name)]
    if not rest.endswith("]"):
        raise UsageError(f"'{text}': the bracket is not closed; write {name}[key=value]")
    alternatives = [_alternatives(part) for part in _split(rest[:-1], ",")]
    count = math.prod(map(len, alternatives))
    if count > MAX_ITEMS:
        raise UsageError(f"'{shortened(text, 60)}' stands for {count} items; at most {MAX_ITEMS} are possible")
    return [Selection(name=name, params=tuple(choice)) for choice in itertools.product(*alternatives)]


def _alternatives(text: str) -> list[tuple[str, object]]:
    key, value = _key_and_value(text)
    return [(key, parse_value(part)) for part in _split(value, "|")] or [(key, "")]


def _assignment(text: str) -> tuple[str, object]:
    key, value = _key_and_value(text)
    return key, parse_value(value)


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"'{text}' is not a parameter; write key=value")
    _check_plain(key.strip())
    _check_plain(value.strip())
    return key.strip(), value.strip()


def _check_plain(text: str) -> None:
    hidden = hidden_character(text)
    if hidden:
        raise UsageError(f"'{one_line(shortened(text, 60))}': a name or value must not contain {hidden}")


def _split(text: str, separators: Sequence[str]) -> list[str]:
    """The non-empty parts between separators outside brackets and quotes."""
    parts, current, depth, quote = [], "", 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[]":
            depth += 1 if character == "[" else -1
            if depth < 0:
                raise UsageError(f"'{text}': a closing bracket has no opening bracket")
        elif depth == 0 and character in separators:
            parts.append(current)
            current = ""
            continue
        current += character
    if depth != 0 or quote:
        raise UsageError(f"'{text}': {'a quote' if quote else 'a bracket'} is not closed")
    parts.append(current)
    return [part.strip() for part in parts if part.strip()]
