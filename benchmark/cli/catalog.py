"""The command that lists plugins: list."""

from __future__ import annotations

import click

from benchmark.cli.command import command
from benchmark.cli.output import print_text
from benchmark.plain_text import visible


@command("list")
@click.argument(
    "kind", required=False, type=click.Choice(["methods", "encoders", "datasets", "evaluators", "executors", "plugins"])
)
@click.option("-v", "--verbose", is_flag=True, help="Show parameters, published results and tracebacks.")
def list_command(kind: str | None, verbose: bool) -> None:
    """List methods, encoders and other plugins.

    Shows the distribution that provides each, and plugins that cannot be loaded.

    \b
    Examples:
      bench list
      bench list methods -v
    """
    from benchmark.api.catalog import load_catalog
    from benchmark.cli import listing

    print_text(visible(listing.list_plugins(load_catalog(), kind, verbose), keep="\n"))
