"""Tables as HTML, for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence

from benchmark.reports.table import Table


def html_text(tables: Sequence[Table]) -> str:
    """Tables as an HTML fragment: every text is escaped, the best values are bold, notes stand below their table."""
    return "\n".join(map(_table, tables))


def _table(table: Table) -> str:
    header = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{_cells(table, index)}</tr>\n" for index in range(len(table.rows)))
    notes = "".join(f"<p><small>{html.escape(note)}</small></p>\n" for note in table.notes)
    caption = f"<caption>{html.escape(table.title)}</caption>"
    return f"<table>\n{caption}\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n{notes}"


def _cells(table: Table, row: int) -> str:
    texts = [html.escape(text) for text in table.rows[row]]
    return "".join(
        f"<td><b>{text}</b></td>" if (row, column) in table.best else f"<td>{text}</td>"
        for column, text in enumerate(texts)
    )
