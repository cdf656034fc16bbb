"""Prints reports in every output format, and the records that are left out."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from benchmark.reports.render import Format, render_report

if TYPE_CHECKING:
    from benchmark.reports.table import Report


def print_report(report: Report, form: Format) -> None:
    """Prints a report to standard output; tables take the width and colors of the terminal, if it is one."""
    if form == "table" and sys.stdout.isatty():
        from rich.console import Console

        from benchmark.reports.terminal import print_tables

        print_tables(report.tables(), Console())
    else:
        click.echo(render_report(report, form), nl=False)


def print_left_out(problems: Iterable[str]) -> None:
    """Prints a line to standard error for each record that could not be read."""
    for problem in problems:
        click.echo(f"bench: left out: {problem}", err=True)


@contextlib.contextmanager
def without_cycle_search() -> Iterator[None]:
    """Pauses garbage collection: with a million live values, it takes a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
