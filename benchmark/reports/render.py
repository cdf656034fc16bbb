"""Reports and tables as text in each output format."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from benchmark.plain_text import one_line
from benchmark.reports.table import Report, Table

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["table", "md", "csv", "json", "latex"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""Every output format; the choices of `--format`."""
MARKDOWN = re.compile(r"[\\`*~|]|(?<![^\W_])_|_(?![^\W_])|(?<=\])[(\[]")
"""Characters that Markdown reads: escapes, code, emphasis, cells, the address of a link. `_` within a word is not one."""
MARKDOWN_START = re.compile(
    r"^(?:#|[-+](?= |$)|\[(?=[^\]]*\S[^\]]*\]:)|=+$|-+$)|(?<=^\d)[.)](?= |$)|(?<=^\d\d)[.)](?= |$)"
)
"""Starts of a line that make it a heading, a list, a rule or the definition of a link."""
BOLD, NOT_BOLD = "\ue000", "\ue001"
"""Private-use characters that mark bold text while tabulate escapes LaTeX's braces."""


def render_report(report: Report, form: Format, width: int | None = None) -> str:
    """A report as text in one of `FORMATS`.

    Args:
        report: what a command reports.
        form: `table`, `md`, `latex` for people; `csv`, `json` for machines: raw values, one row per result.
        width: columns of the terminal, for `table`; None: 200.
    """
    return "".join(report_parts(report, form, width))


def report_parts(report: Report, form: Format, width: int | None = None) -> Iterator[str]:
    """The text of `render_report` in parts, so that a report of 10,000 records is never in memory at once."""
    if form == "csv" and report.csv is not None:
        yield from report.csv()
    elif form == "csv":
        from benchmark.records.dataframe import frame_csv  # numpy is slow to import, and --help needs FORMATS

        yield frame_csv(report.frame())
    elif form == "json" and report.frames is not None:
        yield from _json_parts(report.frames())
    elif form == "json":
        rows = _json_rows(report.frame())
        yield _json_text({**report.facts, "rows": rows} if report.facts else rows) + "\n"
    else:
        yield render_tables(report.tables(), form, width)


def render_tables(tables: Sequence[Table], form: Format, width: int | None = None) -> str:
    """Tables as text: `table` for a terminal, `md`, or `latex` (booktabs)."""
    if form == "table":
        from benchmark.reports.terminal import terminal_text  # rich is slow to import

        return terminal_text(tables, width)
    write = _markdown if form == "md" else _latex
    return "\n\n".join(map(write, tables)) + "\n"


def _json_parts(frames: Iterable[pd.DataFrame]) -> Iterator[str]:
    """The text of one list with the rows of all frames."""
    start = "["
    for rows in map(_json_rows, frames):
        if rows:
            yield start + _json_text(rows)[1:-2]  # without brackets and the last end of line
            start = ","
    yield "[]\n" if start == "[" else "\n]\n"


def _json_text(value: Any) -> str:
    """JSON without `##[`, which CI servers run as a command; the texts in it are the same."""
    return json.dumps(value, indent=1).replace("##[", "\\u0023#[")


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
        [f"**{text}**" if (i, j) in table.best else text for j, text in enumerate(map(markdown_text, row))]
        for i, row in enumerate(table.rows)
    ]
    notes = "".join(f"\n\n{markdown_text(note)}" for note in table.notes)
    return f"### {markdown_text(table.title)}\n\n{_grid(map(markdown_text, table.columns), rows, 'github')}{notes}"


def markdown_text(text: str) -> str:
    """A text that Markdown shows as it is, on one line: no HTML, no link, no emphasis, no new cell of a table."""
    text = html.escape(one_line(text), quote=False)
    return MARKDOWN_START.sub(r"\\\g<0>", MARKDOWN.sub(r"\\\g<0>", text))


def _latex(table: Table) -> str:
    rows = [
        [f"{BOLD}{text}{NOT_BOLD}" if (i, j) in table.best else text for j, text in enumerate(_one_line(row))]
        for i, row in enumerate(table.rows)
    ]
    body = _grid(table.columns, rows, "latex_booktabs").replace(BOLD, "\\textbf{").replace(NOT_BOLD, "}")
    notes = "".join(f"\n% {note}" for note in _one_line(table.notes))
    return f"% {_one_line([table.title])[0]}\n{body}{notes}"


def _grid(columns: Iterable[str], rows: Sequence[Sequence[str]], form: str) -> str:
    import tabulate  # slow to import, and a terminal does not need it

    return tabulate.tabulate(rows, headers=list(columns), tablefmt=form, disable_numparse=True)


def _one_line(texts: Sequence[str]) -> list[str]:
    """Texts with single spaces."""
    return [" ".join(text.split()) for text in texts]
