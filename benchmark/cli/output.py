"""Prints reports in every output format, and messages. Text that is not ours is printed as visible characters."""

from __future__ import annotations

import contextlib
import errno
import gc
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

import click

from benchmark.errors import OutputError
from benchmark.plain_text import one_line, visible
from benchmark.records.atomic import reason
from benchmark.reports.render import Format, report_parts

if TYPE_CHECKING:
    from benchmark.reports.table import Report


LOG = logging.getLogger("benchmark")


def escape_unencodable() -> None:
    """Lets standard output and error write what their encoding lacks as escapes, such as `\\xb1`, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_text(text: str) -> None:
    """Prints a report to standard output.

    Raises:
        OutputError: standard output cannot be written, for example because the disk is full.
    """
    with _written(sys.stdout):
        click.echo(text, nl=not text.endswith("\n"))


def print_line(text: str) -> None:
    """Prints a line to standard output, for example the name of a file that was written.

    Raises:
        OutputError: as of `print_text`.
    """
    print_text(visible(text))


def print_message(text: str) -> None:
    """Prints a message to standard error. If nobody can read it, it is dropped."""
    with contextlib.suppress(OutputError), _written(sys.stderr):
        click.echo(visible(text, keep="\n\t"), err=True)


def print_report(report: Report, form: Format) -> None:
    """Prints a report to standard output; tables take the width and colors of the terminal, if it is one."""
    if form == "table" and sys.stdout.isatty():
        from rich.console import Console

        from benchmark.reports.terminal import print_tables

        with _written(sys.stdout):
            print_tables(report.tables(), Console())
    else:
        with _written(sys.stdout):
            for part in _with_end_of_line(report_parts(report, form)):
                click.echo(part, nl=False)


def _with_end_of_line(parts: Iterable[str]) -> Iterator[str]:
    last = ""
    for last in parts:
        yield last
    if not last.endswith("\n"):
        yield "\n"


def print_left_out(problems: Iterable[str]) -> None:
    """Prints a line to standard error for each record that could not be read, if a reader did not print it before."""
    for problem in problems:
        LOG.warning("left out: %s", problem)


class _MessageHandler(logging.Handler):
    """Prints each warning once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(record.getMessage())
        if text not in self._printed:
            self._printed.add(text)
            print_message(f"bench: {text}")


@contextlib.contextmanager
def printed_warnings() -> Iterator[None]:
    """Prints what repbench logs, such as a record that cannot be read, as lines on standard error."""
    handler = _MessageHandler()
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)


@contextlib.contextmanager
def _written(stream: IO[str] | None) -> Iterator[None]:
    """Ignores that the reader of a pipe has gone, as in `bench table | head`: the exit code stays that of the command.

    Raises:
        OutputError: the stream cannot be written for another reason.
    """
    try:
        yield
        if stream is not None:
            stream.flush()
    except BrokenPipeError:
        _discard(stream)
    except OSError as error:
        _discard(stream)
        problem = "standard output is closed" if error.errno == errno.EBADF else reason(error)
        raise OutputError(f"cannot print the report: {problem}; records and files are complete") from error


def _discard(stream: IO[str] | None) -> None:
    """Sends what is still buffered, and what follows, to the null device. Python would fail to flush it at exit."""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
