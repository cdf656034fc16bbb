"""Printing of tables, reports and problems."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from benchmark.reports.table import Report, Table


def print_report(report: Report, form: str) -> None:
    """Prints a report to standard output in one of the output formats."""
    from benchmark.reports import render

    if form == "table":
        print_tables(report.tables(), form)
    else:
        click.echo(render.render_report(report, form), nl=False)  # type: ignore[arg-type]  # a choice of FORMATS


def print_tables(tables: Sequence[Table], form: str) -> None:
    """Prints tables to standard output: with the width and colors of the terminal if it is one."""
    if form == "table" and sys.stdout.isatty():
        from rich.console import Console

        from benchmark.reports import terminal

        terminal.print_tables(tables, Console())
    else:
        from benchmark.reports import render

        click.echo(render.render_tables(tables, form), nl=False)  # type: ignore[arg-type]  # a choice of FORMATS


def print_left_out(problems: Iterable[str]) -> None:
    """Prints a line to standard error for each record that could not be read."""
    for problem in problems:
        click.echo(f"bench: left out: {problem}", err=True)


@contextlib.contextmanager
def without_cycle_search() -> Iterator[None]:
    """Pauses the search for reference cycles: with a million values that all stay alive it takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
