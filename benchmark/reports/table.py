"""A table for people, and a report that can be rendered in every output format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark.plain_text import visible

if TYPE_CHECKING:
    import pandas as pd

BREAKS = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]+")
"""White space that ends a line or moves to a column."""
DIGITS = 4
"""Decimals of a fraction in a table for people."""
HEADLINE = 5
"""Index of the first metric among the columns of a score table."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table for people: text, already rounded, on one line each and without hidden characters.

    Texts come from plugins, files and records. They are made harmless here; each format escapes only its own characters.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    """(row, column) of the values to be marked as best."""
    notes: tuple[str, ...] = ()
    """Sentences printed under the table."""
    kept: int = HEADLINE + 1
    """Number of columns from the left that are kept on a narrow terminal."""
    evaluator: str = ""
    """Label of the evaluator, in score tables."""
    dataset: str = ""
    """Label of the dataset, in score tables."""

    def __post_init__(self) -> None:
        texts = {
            "title": _plain(self.title),
            "columns": tuple(map(_plain, self.columns)),
            "rows": tuple(tuple(map(_plain, row)) for row in self.rows),
            "notes": tuple(map(_plain, self.notes)),
        }
        for name, value in texts.items():
            object.__setattr__(self, name, value)

    def __str__(self) -> str:
        from benchmark.reports.terminal import terminal_text

        return terminal_text([self], None).rstrip("\n")

    def _repr_html_(self) -> str:
        from benchmark.reports.html import html_text

        return html_text([self])


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report of a command, for `benchmark.reports.render.render_report`. Parts are computed when a format needs them."""

    tables: Callable[[], Sequence[Table]]
    """Tables for people: formats `table`, `md` and `latex`."""
    frame: Callable[[], pd.DataFrame]
    """Rows for machines: formats `csv` and `json`. One row per result, raw values, no index.

    Floats of a float column are rounded: 6 significant digits in csv, 15 decimals in json. Those of an object column keep every
    digit."""
    csv: Callable[[], Iterator[str]] | None = None
    """The text of `csv` in parts, if it is known without the frame."""
    frames: Callable[[], Iterator[pd.DataFrame]] | None = None
    """The rows of the frame in several, for reports whose frame is large and that have no facts."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Facts that `json` states beside the rows, such as a verdict. Empty: `json` is the list of rows."""

    def __str__(self) -> str:
        from benchmark.reports.terminal import terminal_text

        return terminal_text(self.tables(), None).rstrip("\n")

    def _repr_html_(self) -> str:
        from benchmark.reports.html import html_text

        return html_text(self.tables())


@dataclass(frozen=True, kw_only=True)
class MissingCell:
    """A requested cell without scores."""

    method: str
    encoder: str
    dataset: str
    seed: int | None
    reason: str


def _plain(text: str) -> str:
    """A text on one line, with escapes instead of hidden characters."""
    return visible(text if text.isprintable() else BREAKS.sub(" ", text))
