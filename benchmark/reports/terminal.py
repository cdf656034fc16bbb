"""Tables for a terminal, laid out with rich."""

from __future__ import annotations

import dataclasses
import io
import itertools
import re
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table as RichTable

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
    for table in (_without_excess_columns(each, console.width) for each in tables):
        widths = _column_widths(table, console.width)
        console.print(table.title, style="italic", markup=False, highlight=False)
        if _fits_plainly(table, widths, console.width):
            console.print(_grid(table, widths), crop=False)
        else:
            console.print(_rich(table, widths))
        for note in table.notes:
            console.print(note, markup=False, highlight=False)
        console.print()


def _rich(table: Table, widths: Sequence[int]) -> RichTable:
    """The table as rich lays it out: texts that are too long for their column are folded."""
    rich_table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, (column, width) in enumerate(zip(table.columns, widths, strict=True)):
        justify = "left" if _is_left_aligned(index, column) else "right"
        # Folding keeps every digit; rich's default cuts words off.
        rich_table.add_column(column, justify=justify, overflow="fold", width=width)  # type: ignore[arg-type]  # a literal
    for i, row in enumerate(table.rows):
        rich_table.add_row(
            *(f"[bold]{escape(text)}[/bold]" if (i, j) in table.best else escape(text) for j, text in enumerate(row))
        )
    return rich_table


def _is_left_aligned(index: int, column: str) -> bool:
    return index < 3 or column == "remarks"


def _fits_plainly(table: Table, widths: Sequence[int], width: int) -> bool:
    """Whether every text fits on one line of its column and its width is its length."""
    if sum(widths) + 2 * len(widths) + 2 > width:
        return False
    columns = zip(table.columns, *table.rows, strict=True)
    if any(max(map(len, texts)) > available for texts, available in zip(columns, widths, strict=True)):
        return False
    text = " ".join(itertools.chain(table.columns, *table.rows)).replace("±", "")
    # rich interprets backslashes and `:name:` (emoji).
    return text.isascii() and text.isprintable() and "\\" not in text and not re.search(r":\S+:", text)


def _grid(table: Table, widths: Sequence[int]) -> Segments:
    """The output of `_rich` for texts without folding, thirty times faster: tables may have thousands of rows."""
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


def _without_excess_columns(table: Table, width: int) -> Table:
    """The table without the last metrics that do not fit; its first `kept` columns stay."""
    left_out: list[str] = []
    widths = _min_widths(table)
    while sum(widths) + 2 * len(widths) + 2 > width:
        last = len(widths) - 1 - (table.columns[-1] == "remarks")
        if last < table.kept:
            break
        left_out.insert(0, table.columns[last])
        del widths[last]
        table = dataclasses.replace(
            table,
            columns=table.columns[:last] + table.columns[last + 1 :],
            rows=tuple(row[:last] + row[last + 1 :] for row in table.rows),
            best=frozenset(cell for cell in table.best if cell[1] != last),
        )
    if not left_out:
        return table
    note = f"Too narrow for: {', '.join(left_out)}. --format csv has all columns."
    return dataclasses.replace(table, notes=(*table.notes, note))


def _column_widths(table: Table, width: int) -> list[int]:
    """Minimum widths; the remaining space goes to the columns from the left, up to their longest text."""
    widths = _min_widths(table)
    spare = width - 2 * len(table.columns) - 2 - sum(widths)
    for index, texts in enumerate(zip(table.columns, *table.rows, strict=True)):
        extra = max(0, min(max(map(len, texts)) - widths[index], spare))
        widths[index] += extra
        spare -= extra
    return widths


def _min_widths(table: Table) -> list[int]:
    """The longest word of each column, in the first two columns the longest text; at most `MAX_WORD`."""
    columns = zip(table.columns, *table.rows, strict=True)
    words = (texts if index < 2 else " ".join(texts).split() for index, texts in enumerate(columns))
    return [min(MAX_WORD, max(map(len, each))) for each in words]
