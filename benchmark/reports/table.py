"""A table for people, and a cell that is missing from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass
DIGITS = 4
"""Decimals of a fraction in a table for people."""
HEADLINE = 5
"""Place of the first metric among the columns of a table for people."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for people: words, already rounded."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of the values to be marked."""
    notes: tuple[str, ...] = ()
    kept: int = HEADLINE + 1
    """Columns from the left that stay however narrow the terminal is."""


@dataclass(frozen=True, kw_only=True)
class MissingCell:
    """A cell that was asked for and has no scores."""

    method: str
    encoder: str
    dataset: str
    seed: int | None
    reason: str
