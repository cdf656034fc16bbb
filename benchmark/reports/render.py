"""Reports and tables as text in each output format."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, get_args

from benchmark.reports.table import Report, Table

Format = Literal["table", "md", "csv", "json", "latex"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""Every output format; the choices of `--format`."""


def render_report(report: Report, form: Format, width: int | None = None) -> str:
    """A report as text in one of `FORMATS`.

    Args:
        report: what a command reports.
        form: `table`, `md`, `latex` for people; `csv`, `json` for machines: raw values, one row per result.
        width: columns of the terminal, for `table`; None: 200.
    """
    if form == "csv":
        return report.frame().to_csv(index=False, lineterminator="\n", float_format="%.6g")
    if form == "json":
        rows = json.loads(report.frame().to_json(orient="records", double_precision=15))
        return json.dumps({**report.facts, "rows": rows} if report.facts else rows, indent=1) + "\n"
    return render(report.tables(), form, width)


def render(found: Sequence[Table], form: Format, width: int | None = None) -> str:
    """Tables for people as text: `table` for a terminal, `md`, or `latex` (booktabs)."""
    if form == "table":
        from benchmark.reports.terminal import terminal_text  # here, because rich takes long to import

        return terminal_text(found, width)
    kind, heading = ("github", "### {}\n\n") if form == "md" else ("latex_booktabs", "% {}\n")
    import tabulate  # here, because it is slow to come and the terminal does without

    parts = []
    for table in found:
        rows = [
            [_marked(text, (i, j) in table.best, form) for j, text in enumerate(row)]
            for i, row in enumerate(table.rows)
        ]
        body = tabulate.tabulate(rows, headers=table.columns, tablefmt=kind, disable_numparse=True)
        body = body.replace(_BOLD, "\\textbf{").replace(_NOT_BOLD, "}")
        lines = [" ".join(note.split()) for note in table.notes]  # a line break would end LaTeX's comment
        notes = "".join(f"\n\n{note}" if form == "md" else f"\n% {note}" for note in lines)
        parts.append(heading.format(" ".join(table.title.split())) + body + notes)
    return "\n\n".join(parts) + "\n"


_BOLD, _NOT_BOLD = "\ue000", "\ue001"
"""Stand for LaTeX's \\textbf{...} until the table is made, which escapes braces; of Unicode's private use."""


def _marked(text: str, best: bool, form: Format) -> str:
    text = " ".join(text.split())
    if form == "md":
        text = text.replace("|", "\\|")
        return f"**{text}**" if best else text
    return f"{_BOLD}{text}{_NOT_BOLD}" if best else text
