"""The `bench` program: the command group, errors and exit codes."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any, NoReturn

import click

from benchmark import __version__
from benchmark.cli.command import PrintedHelp, exit_code_of
from benchmark.cli.output import escape_unencodable, print_line, print_message, printed_warnings
from benchmark.cli.process_end import end_threads
from benchmark.cli.streams import open_missing_streams
from benchmark.errors import ExitCode

COMMANDS = {
    "run": "benchmark.cli.run:run_command",
    "plan": "benchmark.cli.run:plan_command",
    "status": "benchmark.cli.run:status_command",
    "table": "benchmark.cli.results:table_command",
    "correlate": "benchmark.cli.results:correlate_command",
    "export": "benchmark.cli.results:export_command",
    "merge": "benchmark.cli.results:merge_command",
    "compare": "benchmark.cli.comparisons:compare_command",
    "check": "benchmark.cli.comparisons:check_command",
    "explain": "benchmark.cli.comparisons:explain_command",
    "verify": "benchmark.cli.comparisons:verify_command",
    "features": "benchmark.cli.features:features_command",
    "neighbors": "benchmark.cli.features:neighbors_command",
    "map": "benchmark.cli.features:map_command",
    "list": "benchmark.cli.catalog:list_command",
    "speed": "benchmark.cli.speed:speed_command",
}
"""Name of each command -> module and function. A module is imported when its command or `bench --help` runs."""


class _Commands(PrintedHelp, click.Group):
    """Imports commands when they are needed, and turns errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def main(self, *args: Any, **settings: Any) -> NoReturn:
        """Runs a command and ends the process with its exit code."""
        code: int = ExitCode.INTERNAL  # also if an error cannot be printed for lack of memory
        try:
            code = self._run(*args, **settings)
        finally:
            if not args and not settings:  # the program, not a test in the process of others
                end_threads(code)
            sys.exit(code)

    def _run(self, *args: Any, **settings: Any) -> int:
        open_missing_streams()
        escape_unencodable()
        try:
            with printed_warnings():
                return super().main(*args, **{**settings, "standalone_mode": False}) or ExitCode.OK
        except click.UsageError as error:
            print_message(_usage_text(error))
            return ExitCode.USAGE
        except click.Abort as error:  # Ctrl-C while the command line is read
            return exit_code_of(error.__cause__ or error)
        except SystemExit as error:  # shell completion
            return ExitCode.USAGE if error.code else ExitCode.OK
        except BaseException as error:
            return exit_code_of(error)


def _usage_text(error: click.UsageError) -> str:
    """Click's message on an invalid command line, with the usage of the command."""
    stream = io.StringIO()
    error.show(stream)
    return stream.getvalue().rstrip("\n")


def _print_version(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        print_line(f"repbench, version {__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Benchmark self-supervised image representations.

    Train an encoder, freeze it, score its features, compare the scores.

    \b
    Examples:
      bench run --methods dim,aet --encoders resnet18,blocknet
      bench list methods
      bench table runs/
    """
