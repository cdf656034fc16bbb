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


def terminal_text(found: Sequence[Table], width: int | None) -> str:
    """Tables as plain text of a width in columns; None: 200."""
    stream = io.StringIO()
    # With a height of its own it does not ask the terminal for its size at every line.
    console = Console(file=stream, width=width or 200, height=100, color_system=None)
    print_tables(found, console)
    return stream.getvalue()


def print_tables(found: Sequence[Table], console: Console) -> None:
    """Tables on a terminal; the best value of a column is bold where that may be said.

    On a narrow terminal the last metrics are left out, which a note says; no digit is cut off.
    """
    for table in (_fitted(each, console.width) for each in found):
        widths = _allotted(table, console.width)
        console.print(table.title, style="italic", markup=False, highlight=False)
        if _is_plain(table, widths, console.width):
            console.print(_grid(table, widths), crop=False)
        else:
            console.print(_rich(table, widths))
        for note in table.notes:
            console.print(note, markup=False, highlight=False)
        console.print()


def _rich(table: Table, widths: Sequence[int]) -> RichTable:
    """The table as rich lays it out: texts too long for their column are folded."""
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, (column, needed) in enumerate(zip(table.columns, widths, strict=True)):
        shown.add_column(
            column,
            justify="left" if _is_left(number, column) else "right",
            overflow="fold",  # rather two lines than a digit cut off
            width=needed,
        )
    for i, row in enumerate(table.rows):
        shown.add_row(
            *(f"[bold]{escape(text)}[/bold]" if (i, j) in table.best else escape(text) for j, text in enumerate(row))
        )
    return shown


def _is_left(number: int, column: str) -> bool:
    return number < 3 or column == "remarks"


def _is_plain(table: Table, widths: Sequence[int], width: int) -> bool:
    """Whether every text takes one line of its column, and as many places as it has marks."""
    if sum(widths) + 2 * len(widths) + 2 > width:
        return False
    columns = zip(table.columns, *table.rows, strict=True)
    if any(max(map(len, texts)) > needed for texts, needed in zip(columns, widths, strict=True)):
        return False
    whole = " ".join(itertools.chain(table.columns, *table.rows)).replace("±", "")
    # What rich would take for an escape or, as `:name:`, for a picture, it shall.
    return whole.isascii() and whole.isprintable() and "\\" not in whole and not re.search(r":\S+:", whole)


def _grid(table: Table, widths: Sequence[int]) -> Segments:
    """The same as `_rich`, thirty times quicker, for texts that need no folding."""
    line = "  ".join(
        f"%{'-' if _is_left(number, column) else ''}{needed}s"
        for number, (column, needed) in enumerate(zip(table.columns, widths, strict=True))
    )
    line, length = f" {line} ", sum(widths) + 2 * len(widths)
    bold = {
        row: {column for _, column in places} for row, places in itertools.groupby(sorted(table.best), lambda p: p[0])
    }
    blank = f"{' ' * length}\n"
    parts = [Segment(blank), Segment(line % table.columns, Style(bold=True)), Segment(f"\n {'─' * (length - 2)} \n")]
    plain: list[str] = []
    for number, row in enumerate(table.rows):
        if number in bold:
            parts += [Segment("".join(plain)), *_with_bold(line % row, widths, bold[number]), Segment("\n")]
            plain = []
        else:
            plain += (line % row, "\n")
    return Segments([*parts, Segment("".join(plain)), Segment(blank)])


def _with_bold(text: str, widths: Sequence[int], bold: set[int]) -> Iterator[Segment]:
    """A line in pieces, those in these columns bold."""
    start = 0
    for column, width in enumerate(widths):
        end = start + width + 2 + (column == 0) - (column == len(widths) - 1)
        yield Segment(text[start:end], Style(bold=True) if column in bold else None)
        start = end
    yield Segment(text[start:])


def _fitted(table: Table, width: int) -> Table:
    """The table without as many of its last metrics as the width has no place for; the headline stays."""
    left_out: list[str] = []
    widths = _least_widths(table)
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
    for column, (least, texts) in enumerate(zip(widths, zip(table.columns, *table.rows, strict=True), strict=True)):
        wish = max(map(len, texts)) - least
        given = max(0, min(wish, spare))
        widths[column] += given
        spare -= given
    return widths


def _least_widths(table: Table) -> list[int]:
    """What each column needs: the longest word, and names whole; 24 marks at most."""
    columns = zip(table.columns, *table.rows, strict=True)
    words = (texts if column < 2 else " ".join(texts).split() for column, texts in enumerate(columns))
    return [min(24, max(map(len, each))) for each in words]
