"""Tables for a terminal, laid out with rich."""

from __future__ import annotations

import dataclasses
import io
import itertools
import sys
from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table as RichTable
from rich.text import Text

from benchmark.reports.table import Table

MAX_WORD = 24
"""Longer words are broken on a narrow terminal."""


def terminal_text(tables: Sequence[Table], width: int | None) -> str:
    """Tables as plain text of a width in columns; None: 200."""
    stream = io.StringIO()
    # Without a height, rich asks the terminal for its size at every line.
    console = Console(file=stream, width=width or 200, height=100, color_system=None, force_jupyter=False)
    print_tables(tables, console)
    return stream.getvalue()


def print_tables(tables: Sequence[Table], console: Console) -> None:
    """Print tables to a terminal, with the best values in bold.

    On a narrow terminal the last metrics are left out, with a note. Digits are never cut off.
    """
    for table in tables:
        widths = [max(map(len, texts)) for texts in zip(table.columns, *table.rows, strict=True)]
        layout: RichTable | Segments
        if sum(widths) + 2 * len(widths) + 2 <= console.width and _is_plain(table):
            layout, notes = _grid(table, widths), table.notes
        else:
            layout, notes = _fitted(table, console)
        console.print(table.title, style="italic", markup=False, emoji=False, highlight=False)
        console.print(layout)
        for note in notes:
            console.print(note, markup=False, emoji=False, highlight=False)
        console.print()


def _fitted(table: Table, console: Console) -> tuple[RichTable, tuple[str, ...]]:
    """The layout without the last metrics that do not fit, and the notes; the first `kept` columns stay."""
    left_out: list[str] = []
    widest = _widest_rows(table)
    whole_words = True
    while whole_words and _least_width(_layout(widest), console) > console.width:
        last = len(table.columns) - 1 - (table.columns[-1] == "remarks")
        if last < table.kept:
            whole_words = False
        else:
            left_out.insert(0, table.columns[last])
            table, widest = _without_column(table, last), _without_column(widest, last)
    layout = _layout(table, whole_words=whole_words)
    if left_out:
        return layout, (*table.notes, f"Too narrow for: {', '.join(left_out)}. --format csv has all columns.")
    return layout, table.notes


def _widest_rows(table: Table) -> Table:
    """The rows that determine the widths of the columns; rich would measure all cells of thousands of rows again and again."""
    rows = {
        max(table.rows, key=lambda row: measure(row[column]))
        for column in range(len(table.columns))
        for measure in (len, cell_len, _longest_word, _widest_word)
        if table.rows
    }
    return dataclasses.replace(table, rows=tuple(rows), best=frozenset())


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _widest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _least_width(layout: RichTable, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=sys.maxsize), layout).minimum


def _without_column(table: Table, column: int) -> Table:
    return dataclasses.replace(
        table,
        columns=table.columns[:column] + table.columns[column + 1 :],
        rows=tuple(row[:column] + row[column + 1 :] for row in table.rows),
        best=frozenset(cell for cell in table.best if cell[1] != column),
    )


def _layout(table: Table, whole_words: bool = True) -> RichTable:
    """The table for rich: texts that are too long for their column are folded, so that no digit is cut off."""
    layout = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, (column, *texts) in enumerate(zip(table.columns, *table.rows, strict=True)):
        words = texts if index < 2 else " ".join(texts).split()
        layout.add_column(
            Text(column),
            justify="left" if _is_left_aligned(index, column) else "right",
            overflow="fold",
            min_width=min(MAX_WORD, max(map(len, [*column.split(), *words]))) if whole_words else None,
        )
    for i, row in enumerate(table.rows):
        layout.add_row(*(Text(text, style="bold" if (i, j) in table.best else "") for j, text in enumerate(row)))
    return layout


def _is_left_aligned(index: int, column: str) -> bool:
    return index < 3 or column == "remarks"


def _is_plain(table: Table) -> bool:
    """Whether the width of every text is its number of characters."""
    text = " ".join(itertools.chain(table.columns, *table.rows)).replace("±", "")
    return text.isascii() and text.isprintable()


def _grid(table: Table, widths: Sequence[int]) -> Segments:
    """The output of `_layout` for texts that need no folding, many times faster: tables may have thousands of rows."""
    line = "  ".join(
        f"%{'-' if _is_left_aligned(index, column) else ''}{width}s"
        for index, (column, width) in enumerate(zip(table.columns, widths, strict=True))
    )
    line, length = f" {line} ", sum(widths) + 2 * len(widths)
    bold = {
        row: {column for _, column in cells}
        for row, cells in itertools.groupby(sorted(table.best), lambda cell: cell[0])
    }
    blank = f"{' ' * length}\n"
    parts = [Segment(blank), Segment(line % table.columns, Style(bold=True)), Segment(f"\n {'─' * (length - 2)} \n")]
    plain: list[str] = []
    for index, row in enumerate(table.rows):
        if index in bold:
            parts += [Segment("".join(plain)), *_with_bold(line % row, widths, bold[index]), Segment("\n")]
            plain = []
        else:
            plain += (line % row, "\n")
    return Segments([*parts, Segment("".join(plain)), Segment(blank)])


def _with_bold(text: str, widths: Sequence[int], bold: set[int]) -> Iterator[Segment]:
    """A line in segments, with some columns in bold."""
    start = 0
    for column, width in enumerate(widths):
        end = start + width + 2 + (column == 0) - (column == len(widths) - 1)
        yield Segment(text[start:end], Style(bold=True) if column in bold else None)
        start = end
    yield Segment(text[start:])
