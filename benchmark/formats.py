"""Tables become text: for a terminal, for markdown, for LaTeX."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Literal

import tabulate
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from benchmark.tables import Table

Format = Literal["table", "md", "csv", "json", "latex"]


def rendered(found: Sequence[Table], form: Format, width: int | None = None) -> str:
    """Tables for people as text: `table` for a terminal, `md`, or `latex` (booktabs)."""
    if form == "table":
        return _terminal(found, width)
    kind, heading = ("github", "### {}\n\n") if form == "md" else ("latex_booktabs", "% {}\n")
    parts = []
    for table in found:
        rows = [
            [_marked(text, (i, j) in table.best, form) for j, text in enumerate(row)]
            for i, row in enumerate(table.rows)
        ]
        body = tabulate.tabulate(rows, headers=table.columns, tablefmt=kind, disable_numparse=True)
        body = body.replace(_BOLD, "\\textbf{").replace(_NOT_BOLD, "}")
        notes = "".join(f"\n\n{note}" if form == "md" else f"\n% {note}" for note in table.notes)
        parts.append(heading.format(table.title) + body + notes)
    return "\n\n".join(parts) + "\n"


_BOLD, _NOT_BOLD = "\ue000", "\ue001"
"""Stand for LaTeX's \\textbf{...} until the table is made, which escapes braces; of Unicode's private use."""


def _marked(text: str, best: bool, form: Format) -> str:
    text = " ".join(text.split())
    if form == "md":
        text = text.replace("|", "\\|")
        return f"**{text}**" if best else text
    return f"{_BOLD}{text}{_NOT_BOLD}" if best else text


def _terminal(found: Sequence[Table], width: int | None) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width or 200, color_system=None)
    print_tables(found, console)
    return stream.getvalue()


def print_tables(found: Sequence[Table], console: Console) -> None:
    """Tables on a terminal; the best value of a column is bold where that may be said.

    On a narrow terminal the last metrics are left out, which a note says; no digit is cut off.
    """
    for table in (_fitted(each, console.width) for each in found):
        shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for number, (column, needed) in enumerate(zip(table.columns, _allotted(table, console.width), strict=True)):
            shown.add_column(
                column,
                justify="left" if number < 3 or column == "remarks" else "right",
                overflow="fold",  # rather two lines than a digit cut off
                width=needed,
            )
        for i, row in enumerate(table.rows):
            shown.add_row(
                *(
                    f"[bold]{escape(text)}[/bold]" if (i, j) in table.best else escape(text)
                    for j, text in enumerate(row)
                )
            )
        console.print(table.title, style="italic", markup=False, highlight=False)
        console.print(shown)
        for note in table.notes:
            console.print(note, markup=False, highlight=False)
        console.print()


def _fitted(table: Table, width: int) -> Table:
    """The table without as many of its last metrics as the width has no place for; the headline stays."""
    left_out: list[str] = []
    while sum(_least_widths(table)) + 2 * len(table.columns) + 2 > width:
        last = len(table.columns) - 1 - (table.columns[-1] == "remarks")
        if last < table.kept:
            break
        left_out.insert(0, table.columns[last])
        table = dataclasses.replace(
            table,
            columns=table.columns[:last] + table.columns[last + 1 :],
            rows=tuple(row[:last] + row[last + 1 :] for row in table.rows),
            best=frozenset(place for place in table.best if place[1] != last),
        )
    if not left_out:
        return table
    note = f"Left out for lack of width: {', '.join(left_out)}; --format csv has everything."
    return dataclasses.replace(table, notes=(*table.notes, note))


def _allotted(table: Table, width: int) -> list[int]:
    """The width of each column: what it needs, and from the left what it would like of the rest."""
    widths = _least_widths(table)
    spare = width - 2 * len(table.columns) - 2 - sum(widths)
    for column, least in enumerate(widths):
        wish = max(len(line[column]) for line in (table.columns, *table.rows)) - least
        given = max(0, min(wish, spare))
        widths[column] += given
        spare -= given
    return widths


def _least_widths(table: Table) -> list[int]:
    """What each column needs: the longest word, and names whole; 24 marks at most."""
    lines = (table.columns, *table.rows)
    return [
        max(min(len(word), 24) for line in lines for word in ([line[column]] if column < 2 else line[column].split()))
        for column in range(len(table.columns))
    ]
