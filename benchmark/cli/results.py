"""Commands that read records and write tables or leaderboards: table, correlate, export, merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.options import format_option
from benchmark.cli.output import print_left_out, print_tables, without_cycle_search
from benchmark.errors import UsageError

if TYPE_CHECKING:
    from benchmark.records.columns import Columns
    from benchmark.records.record import Record


@click.command(name="table")
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@format_option
@click.option("--expected", is_flag=True, help="Ours beside published figures, with every condition that differs.")
@click.option(
    "--by", type=click.Choice(["method", "tap"]), default="method", help="tap: scores along an encoder's depth."
)
@click.option(
    "--sort", type=click.Choice(["score", "cost"]), default="score", help="cost: score against training cost."
)
@click.option(
    "--ties",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Which places a row may have, from the outcomes of single images; auto: where that takes a second or two.",
)
@without_cycle_search()
def table_command(out: Path, form: str, expected: bool, by: str, sort: str, ties: Any) -> None:
    """Print the tables of a folder of records, or of a leaderboard's .jsonl.

    \b
    bench table runs/
    bench table runs/ --by tap
    bench table results/digits.jsonl --sort cost
    """
    from benchmark.records import index, leaderboard
    from benchmark.records.record import read_records

    if (by, sort) != ("method", "score") and (expected or form in ("csv", "json") or (by == "tap" and sort == "cost")):
        raise UsageError("--by tap and --sort cost are views of their own, as tables: choose one, without csv or json")
    problems: list[str] = []
    records: Sequence[Record] = []
    columns: Columns | None = None
    if out.is_file():
        records = leaderboard.read_board(out)
    elif expected:
        records, problems = read_records(out)
    else:
        columns, problems = index.read(out)
    print_left_out(problems)
    if not records and not columns:
        raise UsageError(f"no record under {out}; bench run --out {out} makes some")
    if expected:
        _print_expected(records, form)
    elif (by, sort) != ("method", "score"):
        _print_view(columns or records, by, out, form)
    elif columns is not None:
        print_records(columns, [], form, ties, out)
    else:
        print_records(records, [], form, ties, out)


@click.command(name="correlate")
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@click.option("--min-cells", type=click.IntRange(min=2), default=10, show_default=True, help="Of a row with numbers.")
@format_option
def correlate_command(out: Path, min_cells: int, form: str) -> None:
    """Show which scores without labels go with accuracy, over the cells and taps of a folder or a leaderboard's .jsonl."""
    from benchmark.analysis import correlate
    from benchmark.api.catalog import load_catalog

    columns, problems = correlate.correlate(out)
    print_left_out(problems)
    found = correlate.correlations(columns, load_catalog(), min_cells)
    if form in ("csv", "json"):
        click.echo(correlate.as_csv(found) if form == "csv" else correlate.as_json(found), nl=False)
    else:
        print_tables(correlate.correlation_tables(found), form)


@click.command(name="export")
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@click.option("--to", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option(
    "--format", "form", default="csv", show_default=True, help="Also parquet, latex, bibtex: names with commas between."
)
def export_command(out: Path, to: Path, form: str) -> None:
    """Add finished records to the leaderboards of a folder that lives in git.

    The CSV, the records and the outcomes of single images are always written.

    \b
    bench export runs/ --to results/
    bench export runs/ --to paper/ --format latex,bibtex
    """
    from benchmark.api.catalog import load_catalog
    from benchmark.records import leaderboard
    from benchmark.records.record import read_records
    from benchmark.reports import leaderboard_formats

    wanted = leaderboard_formats.parse_formats(form)
    records, problems = read_records(out)
    print_left_out(problems)
    catalog = load_catalog()
    for name, count in leaderboard.export(records, to).items():
        files = leaderboard_formats.write(to, name, wanted, catalog)
        click.echo(f"{', '.join(map(str, files))}: {count} cells added or replaced")


@click.command(name="merge")
@click.argument("sources", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="Another folder; it may hold cells already.")
@click.option("--prefer", metavar="FOLDER|newest", help="Whose record to take where numbers of a cell differ.")
def merge_command(sources: tuple[Path, ...], to: Path, prefer: str | None) -> None:
    """Join the output folders of several machines in a new one; all is checked before the first cell is copied.

    \b
    bench merge from-a/runs from-b/runs --to runs
    """
    from benchmark.records import merge
    from benchmark.reports.environments import environment_table

    found = merge.merge(sources, to, prefer)
    print_left_out(found.left_out)
    print_tables([environment_table(found.records)], "table")
    click.echo(f"{to}: {found.copied} cells copied, {found.kept} were there, {found.twice} stood in several folders")


def _print_expected(records: Sequence[Record], form: str) -> None:
    from benchmark.api.catalog import load_catalog
    from benchmark.reports import published_tables as expected

    catalog = load_catalog()
    if form == "csv":
        click.echo(expected.as_csv(records, catalog), nl=False)
    elif form == "json":
        click.echo(expected.as_json(records, catalog), nl=False)
    else:
        print_tables(expected.published_tables(records, catalog), form)


def print_records(
    records: Sequence[Record] | Columns, missing: Sequence[Any], form: str, ties: Any, source: Path | None = None
) -> None:
    """Prints records; `source` is the folder or leaderboard that they were read from, if they do not know it."""
    from benchmark.records import dataframe
    from benchmark.reports import score_tables

    if form == "csv":
        click.echo(dataframe.write_csv(records), nl=False)
    elif form == "json":
        click.echo(dataframe.records_as_json(records), nl=False)
    else:
        from benchmark.reports.ranks import ranker

        print_tables(score_tables.score_tables(records, missing, ranker(records, ties, source)), form)


def _print_view(records: Sequence[Record] | Columns, by: str, out: Path, form: str) -> None:
    """Prints records along the depth of their encoders, or by what they cost."""
    from benchmark.reports import by_tap, pareto

    if by == "tap":
        from benchmark.api.catalog import load_catalog

        print_tables(by_tap.tap_tables(records, load_catalog(), out), form)
    else:
        print_tables(pareto.pareto_tables(records), form)
