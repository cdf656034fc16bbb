"""Commands that compare records: compare, check, explain, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.api.limits import LIMITS
from benchmark.cli import values
from benchmark.cli.command import command, finish
from benchmark.cli.interrupts import interruptible
from benchmark.cli.options import (
    combined,
    data_dir_option,
    dataset_option,
    format_option,
    path_option,
    records_argument,
)
from benchmark.cli.output import print_left_out, print_line, print_message, print_report, without_cycle_search
from benchmark.errors import ExitCode

if TYPE_CHECKING:
    from benchmark.reports.render import Format

two_sides = combined(
    click.argument("first", metavar="A", type=values.SOURCE_NAME),
    click.argument("second", metavar="B", type=values.SOURCE_NAME),
)


@command("compare")
@two_sides
@path_option("--out", default="runs", kind=values.SOURCE, help="Folder or leaderboard in which A and B are searched.")
@click.option("--all-metrics", is_flag=True, help="Compare all metrics, not only each evaluator's headline.")
@click.option("--cka", is_flag=True, help="Also compare the features of the test images (linear CKA). Needs weights.")
@data_dir_option
@dataset_option
@format_option
@without_cycle_search()
def compare_command(first: str, second: str, out: Path, form: Format, **options: Any) -> None:
    """Compare two cells, methods or leaderboards.

    Answers two questions: whether these checkpoints differ, and whether the methods differ across seeds. Intervals and
    p-values are adjusted for the number of scores (Holm).

    A and B are each a record (folder, cell id or a prefix of it, method/encoder/dataset/seed), all seeds of a method
    (method/encoder/dataset), a leaderboard (FILE.jsonl, or REV:FILE.jsonl from git), or FILE.jsonl#CELL.

    \b
    Examples:
      bench compare aet/resnet18/digits dim/resnet18/digits
      bench compare HEAD~1:results/digits.jsonl results/digits.jsonl
      bench compare 'results/digits.jsonl#aet/blocknet/digits' dim/blocknet/digits
    """
    from benchmark.results import Results

    print_report(Results(source=out.expanduser()).compare(first, second, **options), form)


@command("check")
@records_argument
@click.option(
    "--baseline", type=values.SOURCE_NAME, required=True, help="Leaderboard, .csv or .jsonl, or REV:FILE from git."
)
@click.option(
    "--margin",
    type=values.number(LIMITS["margin"]),
    default=0.005,
    show_default=True,
    help="Smallest drop that counts as a regression, as a fraction.",
)
@click.option("--update", is_flag=True, help="Write the finished cells of OUT into the baseline, and stop.")
@click.option("--junit", type=values.OUTPUT_STREAM, help="Also write a JUnit XML file.")
@click.option("--summary", type=values.OUTPUT_STREAM, help="Also append Markdown to a file.")
@format_option
@without_cycle_search()
def check_command(out: Path, baseline: str, margin: float, update: bool, form: Format, **files: Path | None) -> None:
    """Check a run against a baseline, for CI.

    Compares the methods across seeds. OUT is a folder of records or a leaderboard's .jsonl.

    \b
    Examples:
      bench check runs/ --baseline results/digits.csv
      bench check runs/ --baseline results/digits.csv --junit check.xml
      bench check runs/ --baseline results/digits.csv --update

    Exit codes: 0 passed, 1 a score regressed, 4 no baseline or not comparable, 3 cells failed. If several apply, the
    first of 1, 4, 3.
    """
    from benchmark.analysis import baselines, check_report
    from benchmark.results import Results

    if update:
        for line in baselines.update_baseline(out, Path(baseline)).splitlines():
            print_line(line)
        return
    check = Results(source=out).check(baseline, margin)
    check_report.write_files(check, **files)
    print_report(check_report.check_report(check), form)
    finish(check.exit_code)


@command("explain")
@two_sides
@path_option("--out", default="runs", kind=values.FOLDER, help="Folder in which A and B are searched.")
@format_option
def explain_command(first: str, second: str, out: Path, form: Format) -> None:
    """Show the settings in which two cells differ.

    Also shows what each difference means for a comparison of their scores. A and B are each a folder, a cell id or a
    prefix of it, or method/encoder/dataset/seed.

    \b
    Examples:
      bench explain aet/resnet18/digits/0 aet/resnet18/digits/1
    """
    from benchmark.analysis.explain import explanation_report
    from benchmark.records.output_folder import OutputFolder

    folder = OutputFolder(out)
    records = [folder.find(argument) for argument in (first, second)]
    print_left_out(folder.problems)
    print_report(explanation_report(*records), form)


@command("verify")
@records_argument
@click.option(
    "--sample",
    "count",
    type=values.integer(1, 1_000_000),
    default=3,
    show_default=True,
    help="Number of cells to repeat.",
)
@click.option(
    "--seed", type=values.integer(0, 2**32 - 1), default=0, show_default=True, help="Random seed of the sample."
)
@click.option("--files", is_flag=True, help="Compare the files of all cells with their checksums; run no cell.")
@click.option("--device", type=values.TEXT, help="Device.  [default: the kind that each record names]")
@dataset_option
@data_dir_option
@format_option
def verify_command(out: Path, count: int, seed: int, files: bool, form: Format, **options: Any) -> None:
    """Re-run a few finished cells and compare the scores.

    Cells are trained again from their records. OUT is a folder of records or a leaderboard's .jsonl; it is not changed.

    \b
    Examples:
      bench verify runs/ --sample 3
      bench verify results/digits.jsonl --sample 1 --seed 7
      bench verify runs/ --files

    Exit codes: 0 all scores were reproduced, 1 a score differs or a file is damaged, 3 a cell failed, 4 no cell could run.
    """
    import benchmark
    from benchmark.api.catalog import load_catalog
    from benchmark.execution import verify
    from benchmark.execution.verify_report import verify_report
    from benchmark.records.output_folder import OutputFolder

    results = benchmark.read_results(out)
    print_left_out(results.problems)
    if files:
        cells = list(verify.verify_files(results.records, out))
        print_report(verify_report(cells, "whose files were compared"), form)
        damaged = any(cell.verdict == "damaged files" for cell in cells)
        finish(ExitCode.REGRESSED if damaged else ExitCode.OK)
    verify_options = verify.VerifyOptions(**{**options, "data_dir": options["data_dir"].expanduser()})
    cells = []
    sample = verify.sample(results.store or OutputFolder(results.source), count, seed)
    with interruptible():
        for cell in verify.verify(sample, verify_options, load_catalog()):
            print_message(f"{cell.verdict}: {cell.record.short_id}")
            cells.append(cell)
    print_report(verify_report(cells), form)
    run = [cell for cell in cells if cell.verdict != "not run"]
    if not run:
        finish(ExitCode.NOT_COMPARABLE)
    if all(cell.holds or cell.verdict == "failed" for cell in run):
        finish(ExitCode.OK if all(cell.holds for cell in run) else ExitCode.FAILED_CELLS)
    finish(ExitCode.REGRESSED)
