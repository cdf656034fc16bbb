"""The command that lists plugins: list."""

from __future__ import annotations

import click


@click.command(name="list")
@click.argument(
    "kind", required=False, type=click.Choice(["methods", "encoders", "datasets", "evaluators", "executors", "plugins"])
)
@click.option("-v", "--verbose", is_flag=True, help="Parameters with their defaults; tracebacks of broken plugins.")
def list_command(kind: str | None, verbose: bool) -> None:
    """Show what is installed, who provides it, and what is broken."""
    from benchmark.api.catalog import load_catalog
    from benchmark.cli import listing

    click.echo(listing.list_plugins(load_catalog(), kind, verbose), nl=False)
