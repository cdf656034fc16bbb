"""Commands that read records and write tables or leaderboards: table, correlate, export, merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli import values
from benchmark.cli.command import command
from benchmark.cli.options import format_option, path_option, records_argument
from benchmark.cli.output import print_left_out, print_line, print_message, print_report, without_cycle_search
from benchmark.errors import UsageError

if TYPE_CHECKING:
    from benchmark.reports.render import Format
    from benchmark.reports.table import Report
    from benchmark.results import Results


@command("table")
@records_argument
@format_option
@click.option(
    "--published",
    "--expected",
    "published",
    is_flag=True,
    help="Compare with published results; lists all differing settings.",
)
@click.option(
    "--by",
    type=click.Choice(["method", "tap"]),
    default="method",
    show_default=True,
    help="tap: scores along the layers of an encoder.",
)
@click.option(
    "--sort",
    type=click.Choice(["score", "cost"]),
    default="score",
    show_default=True,
    help="cost: scores against training cost.",
)
@click.option(
    "--ties",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Column of rank intervals. auto: if they take less than about two seconds.",
)
@without_cycle_search()
def table_command(out: Path, form: Format, published: bool, by: str, sort: str, ties: Any) -> None:
    """Print score tables of a run or a leaderboard.

    OUT is a folder of records or a leaderboard's .jsonl.

    \b
    Examples:
      bench table runs/
      bench table runs/ --by tap
      bench table results/digits.jsonl --sort cost
    """
    import benchmark

    if [by == "tap", sort == "cost", published].count(True) > 1:
        raise UsageError("--by tap, --sort cost and --published are different tables; choose one")
    results = benchmark.read_results(out)
    print_left_out(results.problems)
    print_report(_report(results, "published" if published else by if by == "tap" else sort, ties), form)


def _report(results: Results, view: str, ties: Any) -> Report:
    from benchmark.api.catalog import load_catalog

    if view == "published":
        from benchmark.records.output_folder import OutputFolder
        from benchmark.reports.published import records_with_figures
        from benchmark.reports.published_tables import published_report

        catalog = load_catalog()
        return published_report(records_with_figures(results.store or OutputFolder(results.source), catalog), catalog)
    if view == "tap":
        from benchmark.reports.by_tap import tap_report

        return tap_report(results.columns, load_catalog(), results.store or results.source)
    if view == "cost":
        from benchmark.reports.pareto import cost_report

        return cost_report(results.columns)
    return results.report(ties)


@command("correlate")
@records_argument
@click.option(
    "--min-cells",
    type=values.integer(2, 10**9),
    default=10,
    show_default=True,
    help="Fewest cells for which a correlation is computed.",
)
@format_option
def correlate_command(out: Path, min_cells: int, form: Format) -> None:
    """Correlate label-free scores with accuracy.

    OUT is a folder of records or a leaderboard's .jsonl. A correlation runs over its cells and layers.

    \b
    Examples:
      bench correlate runs/
      bench correlate results/digits.jsonl --min-cells 20
    """
    from benchmark.analysis import correlate
    from benchmark.api.catalog import load_catalog

    columns, problems = correlate.read_scores(out)
    print_left_out(problems)
    print_report(correlate.correlation_report(correlate.correlations(columns, load_catalog(), min_cells)), form)


@command("export")
@click.argument("out", type=values.EXISTING_FOLDER, default=Path("runs"))
@path_option("--to", default="results", kind=values.FOLDER, help="Folder of the leaderboards.")
@click.option(
    "--format",
    "form",
    type=values.TEXT,
    default="csv",
    show_default=True,
    help="Extra files, separated by commas: parquet, latex, bibtex.",
)
@without_cycle_search()
def export_command(out: Path, to: Path, form: str) -> None:
    """Add finished cells to leaderboards.

    Writes one leaderboard per dataset into a folder, for example one in git: scores as .csv, records as .jsonl, and the
    outcomes of single images as .outcomes.npz. Cells that are already there are replaced.

    \b
    Examples:
      bench export runs/ --to results/
      bench export runs/ --to paper/ --format latex,bibtex
    """
    from benchmark.api.catalog import load_catalog
    from benchmark.records.export import export
    from benchmark.records.output_folder import OutputFolder
    from benchmark.reports import leaderboard_formats

    formats = leaderboard_formats.parse_formats(form)
    folder = OutputFolder(out)
    print_left_out(folder.problems)
    catalog = load_catalog()
    left_out: list[str] = []
    exported = export(folder, to, left_out)
    print_left_out(left_out)
    if not exported:
        raise UsageError(f"no finished cell in {out}; `bench run --out {out}` trains and scores cells")
    files = {name: leaderboard_formats.write(to, name, formats, catalog) for name in exported}
    for name, count in exported.items():
        print_line(f"{', '.join(map(str, files[name]))}: {count} cells added or replaced")


@command("merge")
@click.argument("sources", metavar="FOLDER...", nargs=-1, required=True, type=values.EXISTING_FOLDER)
@click.option(
    "--to",
    type=values.FOLDER,
    required=True,
    help="Folder to copy to. It may already hold cells.",
)
@click.option(
    "--prefer",
    type=values.TEXT,
    metavar="FOLDER|newest",
    help="Record to keep if two folders hold a cell with different scores: that of a folder, or newest.",
)
@format_option
@without_cycle_search()
def merge_command(sources: tuple[Path, ...], to: Path, prefer: str | None, form: Format) -> None:
    """Merge run folders of several machines.

    All records are checked before the first cell is copied. Prints the environments in which the cells ran.

    \b
    Examples:
      bench merge from-a/runs from-b/runs --to runs
    """
    from benchmark.records import merge
    from benchmark.reports.environments import environment_report

    merged = merge.merge(sources, to, prefer)
    print_left_out(merged.left_out)
    print_report(environment_report(merged.records), form)
    counts = f"{merged.copied} cells copied, {merged.kept} already there, {merged.duplicates} in several folders"
    print_message(f"{to}: {counts}")
