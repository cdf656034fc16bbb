"""A command of `bench`: its exit code, its messages, and what happens to errors.

No command ends with a code that it did not choose: 1 means that `bench check` or `bench verify` found a difference, so the
code of a plugin's `sys.exit`, of click's own errors and of a traceback never becomes the code of `bench`.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from click.exceptions import Exit

from benchmark.cli.output import print_message, print_text
from benchmark.errors import BenchError, ExitCode, UsageError
from benchmark.plain_text import message_text, one_line, shortened
from benchmark.working_directory import working_directory

VERBOSE = f"{__name__}.verbose"
"""Key of `-v` in the context's `meta`."""
MAX_LINE = 300
"""Length of the text of an unexpected error."""
WITH_TORCH = {"run", "verify", "features", "neighbors", "map", "speed", "compare"}
"""Commands that may import torch, whose libraries end the process if the working directory does not exist."""
OF_ERRORS = {ExitCode.USAGE, ExitCode.FAILED_CELLS, ExitCode.NOT_COMPARABLE, ExitCode.INTERNAL}
"""Exit codes that an error may choose, also one that a plugin defines."""
INTERRUPTED = "interrupted; finished cells are kept. Run the same command again to resume."


class Finished(Exit):
    """Ends a command with an exit code."""


def finish(code: ExitCode) -> NoReturn:
    """Ends the command with an exit code."""
    raise Finished(code)


class PrintedHelp(click.Command):
    """A command whose help is printed like a report: an error of standard output is no bug."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Click's option, with another way to print."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _print_help
        return option


def _print_help(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        print_text(ctx.get_help())
        ctx.exit()


class BenchCommand(PrintedHelp):
    """A command whose body may raise anything, and which ends with one of the documented exit codes."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        if all(option.name != "verbose" for option in self.params):
            self.params.append(_verbose_option())

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command's function.

        Raises:
            Finished: the function has ended with an exit code or with any exception.
        """
        verbose = bool(ctx.params.get("verbose") or ctx.meta.get(VERBOSE))
        try:
            if self.name in WITH_TORCH and working_directory() is None:
                raise UsageError("the working directory was deleted; change to another folder")
            return super().invoke(ctx)
        except Finished:
            raise
        except BaseException as error:  # plugin code may raise anything, such as SystemExit(0) or GeneratorExit
            raise Finished(exit_code_of(error, verbose)) from error


def command(name: str) -> Callable[[Callable[..., Any]], BenchCommand]:
    """Decorator of a command's function."""
    return click.command(name=name, cls=BenchCommand)


def exit_code_of(error: BaseException, verbose: bool = False) -> ExitCode:
    """Prints what an exception means, and returns the exit code."""
    if isinstance(error, BenchError):
        if verbose:
            print_message(_traceback_of(error))
        print_message(f"bench: {message_text(str(error))}")
        return error.exit_code if error.exit_code in OF_ERRORS else ExitCode.INTERNAL
    if isinstance(error, KeyboardInterrupt):
        print_message(f"bench: {INTERRUPTED}")
        return ExitCode.INTERRUPTED
    trace = _traceback_of(error)
    text = one_line(shortened("".join(traceback.format_exception_only(error)), MAX_LINE))
    print_message(f"bench: internal error: {text}{_origin(error)}; {_kept(trace)}. Please report it.")
    if verbose:
        print_message(trace)
    return ExitCode.INTERNAL


def _verbose_option() -> click.Option:
    def remember(ctx: click.Context, option: click.Parameter, value: bool) -> None:
        ctx.meta[VERBOSE] = value

    return click.Option(
        ["-v", "--verbose"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Print the traceback of an error.",
    )


def _traceback_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _origin(error: BaseException) -> str:
    """` in FILE, line N` of the innermost call, which shows whose code failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f" in {one_line('/'.join(Path(frames[-1].filename).parts[-2:]))}, line {frames[-1].lineno}" if frames else ""


def _kept(trace: str) -> str:
    """Writes a traceback to a file. Returns where it is, for the message."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="bench-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(trace)
    except OSError:
        return "-v prints the traceback"
    return f"traceback in {file.name}"
