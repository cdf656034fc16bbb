"""The `bench` program: the command group, errors and exit codes."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import click

from benchmark import __version__
from benchmark.errors import BenchError, ExitCode

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


class _Commands(click.Group):
    """Imports commands when they are needed, and turns errors into messages and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except BenchError as error:
            click.echo(f"bench: {error}", err=True)
            sys.exit(error.exit_code)
        except Exception as error:  # a bug in repbench
            traceback.print_exc()
            click.echo(f"bench: internal error: {type(error).__name__}: {error}", err=True)
            click.echo("This is a bug in repbench. Please report it with the traceback above.", err=True)
            sys.exit(ExitCode.INTERNAL)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("bench: interrupted; finished cells are kept. Run the same command again to resume.", err=True)
            sys.exit(ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # The reader closed the pipe (bench table | head). This is not an error, but click would exit with 1.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ExitCode.OK)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="repbench")
def main() -> None:
    """Benchmark self-supervised image representations.

    Train an encoder, freeze it, score its features, compare the scores.

    \b
    Examples:
      bench run --methods dim,aet --encoders resnet18,blocknet
      bench list methods
      bench table runs/
    """
