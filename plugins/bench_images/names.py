"""Names of files and classes in messages, and names that look the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

MAX_SHOWN = 10
"""Largest number of names that a message lists."""


def count_names(names: Sequence[str], noun: str) -> str:
    """`12 files (a, b, c, ... and 2 more)`, with at most `MAX_SHOWN` names."""
    plural = noun if len(names) == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{len(names)} {plural} ({listed(names, len(names))})"


def listed(names: Sequence[str], total: int) -> str:
    """`a, b, c, ... and 2 more`: the first of `total` names."""
    rest = f", ... and {total - MAX_SHOWN} more" if total > MAX_SHOWN else ""
    return f"{', '.join(names[:MAX_SHOWN])}{rest}"


def printable(name: str) -> str:
    """The name with escapes for line breaks, control characters and bytes that are no text."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in name
    )


def suffix_of(name: str) -> str:
    """The suffix in lower case with its dot, empty if there is none."""
    return name[name.rfind(".") :].lower() if "." in name else ""


def exact_name(name: str) -> str:
    """The name in quotes with escapes for everything that is not ASCII, so that two equal-looking names differ."""
    return ascii(name)


def same_when_normalized(a: str, b: str) -> bool:
    """Whether two names differ in nothing but case, the encoding of accents, or spaces at the ends."""
    return _normalized(a) == _normalized(b)


def equal_looking(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names for which `same_when_normalized` holds."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_normalized(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _normalized(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
