"""Reports and tables as text in each output format."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from benchmark.reports.table import Report, Table

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["table", "md", "csv", "json", "latex"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""Every output format; the choices of `--format`."""
BOLD, NOT_BOLD = "\ue000", "\ue001"
"""Private-use characters that mark bold text while tabulate escapes LaTeX's braces."""


def render_report(report: Report, form: Format, width: int | None = None) -> str:
    """A report as text in one of `FORMATS`.

    Args:
        report: what a command reports.
        form: `table`, `md`, `latex` for people; `csv`, `json` for machines: raw values, one row per result.
        width: columns of the terminal, for `table`; None: 200.
    """
    if form == "csv":
        from benchmark.records.dataframe import frame_csv  # numpy is slow to import, and --help needs FORMATS

        return frame_csv(report.frame())
    if form == "json":
        rows = _json_rows(report.frame())
        return json.dumps({**report.facts, "rows": rows} if report.facts else rows, indent=1) + "\n"
    return render_tables(report.tables(), form, width)


def render_tables(tables: Sequence[Table], form: Format, width: int | None = None) -> str:
    """Tables as text: `table` for a terminal, `md`, or `latex` (booktabs)."""
    if form == "table":
        from benchmark.reports.terminal import terminal_text  # rich is slow to import

        return terminal_text(tables, width)
    write = _markdown if form == "md" else _latex
    return "\n\n".join(map(write, tables)) + "\n"


def _json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One object per row. Floats of a float column have 15 decimals, those of an object column every digit."""
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    for name in [name for name in frame.columns if frame[name].dtype == object]:
        for row, value in zip(rows, frame[name], strict=True):
            if isinstance(value, float) and math.isfinite(value):
                row[name] = value
    return rows


def _markdown(table: Table) -> str:
    rows = [
        [f"**{text}**" if (i, j) in table.best else text for j, text in enumerate(_one_line(row))]
        for i, row in enumerate([[text.replace("|", "\\|") for text in row] for row in table.rows])
    ]
    notes = "".join(f"\n\n{note}" for note in _one_line(table.notes))
    return f"### {_one_line([table.title])[0]}\n\n{_grid(table, rows, 'github')}{notes}"


def _latex(table: Table) -> str:
    rows = [
        [f"{BOLD}{text}{NOT_BOLD}" if (i, j) in table.best else text for j, text in enumerate(_one_line(row))]
        for i, row in enumerate(table.rows)
    ]
    body = _grid(table, rows, "latex_booktabs").replace(BOLD, "\\textbf{").replace(NOT_BOLD, "}")
    notes = "".join(f"\n% {note}" for note in _one_line(table.notes))
    return f"% {_one_line([table.title])[0]}\n{body}{notes}"


def _grid(table: Table, rows: Sequence[Sequence[str]], form: str) -> str:
    import tabulate  # slow to import, and a terminal does not need it

    return tabulate.tabulate(rows, headers=table.columns, tablefmt=form, disable_numparse=True)


def _one_line(texts: Sequence[str]) -> list[str]:
    """Texts without line breaks, which would end a table row or a LaTeX comment."""
    return [" ".join(text.split()) for text in texts]
