"""Commands that compare records: explain, compare, check, verify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from benchmark.cli.options import format_option
from benchmark.cli.output import print_left_out, print_tables


@click.command(name="explain")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def explain_command(first: str, second: str, out: Path, form: str) -> None:
    """Show which fields make two cells different, and what follows from each.

    A and B are each a folder, a cell id or its beginning, or method/encoder/dataset/seed.

    \b
    bench explain aet/resnet18/digits/0 aet/resnet18/digits/1
    """
    from benchmark.analysis import explain
    from benchmark.records.record import find_record

    a, b = (find_record(argument, out) for argument in (first, second))
    if form == "json":
        click.echo(explain.as_json(a, b), nl=False)
    else:
        print_tables([explain.table(a, b)], form)


@click.command(name="compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Or a .jsonl.")
@click.option("--all-metrics", "every", is_flag=True, help="Not each evaluator's headline alone.")
@click.option("--cka", is_flag=True, help="Also how alike both see the test images; wants folders with weights.")
@click.option("--data-dir", type=click.Path(path_type=Path), envvar="BENCH_DATA", default=Path("data"))
@click.option("--dataset", help="Of --cka, where the record does not hold it: 'folder[path=...]'.")
@format_option
def compare_command(first: str, second: str, out: Path, every: bool, cka: bool, form: str, **options: Any) -> None:
    """Say whether two sides differ: as these checkpoints, and as methods trained again.

    A and B are each a record (folder, cell id or its beginning, method/encoder/dataset/seed), all seeds of a method
    (method/encoder/dataset), a leaderboard (FILE.jsonl, or REV:FILE.jsonl from git), or one cell of it after a #.

    \b
    bench compare aet/resnet18/digits dim/resnet18/digits
    bench compare HEAD~1:results/digits.jsonl results/digits.jsonl
    bench compare results/digits.jsonl#aet/blocknet/digits results/digits.jsonl#untrained/blocknet/digits
    """
    from benchmark.analysis import compare, compare_report
    from benchmark.analysis.sources import read

    a, b = (read(argument, out.expanduser()) for argument in (first, second))
    found, alike = compare.compare_groups(a, b, (first, second), every), []
    if cka:
        from benchmark.analysis import cka as similarity

        alike = similarity.alike(compare.only(a), compare.only(b), **options)
    if form in ("csv", "json"):
        click.echo(compare_report.as_csv(found) if form == "csv" else compare_report.as_json(found, alike), nl=False)
    else:
        print_tables([*compare_report.comparison_tables(found), *([similarity.table(alike)] if cka else [])], form)


@click.command(name="check")
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@click.option("--baseline", required=True, help="A leaderboard's .csv or .jsonl, or REV:FILE from git.")
@click.option("--margin", type=float, default=0.005, show_default=True, help="What has to be lost, as a raw fraction.")
@click.option("--update", is_flag=True, help="Write the run's finished cells into the baseline's folder, and stop.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also a JUnit XML file.")
@click.option("--summary", type=click.Path(path_type=Path), help="Also Markdown, added to the end of a file.")
@format_option
def check_command(out: Path, baseline: str, margin: float, update: bool, form: str, **files: Path | None) -> None:
    """Say whether a run is worse than a baseline, as methods trained again: the gate of a CI.

    Exit codes: 0 passed; 1 something regressed; 4 no baseline, or not comparable; 3 cells failed. 1 before 4 before 3.

    \b
    bench check runs/ --baseline results/digits.csv --junit check.xml --summary "$GITHUB_STEP_SUMMARY"
    bench check runs/ --baseline results/digits.csv --update
    """
    from benchmark.analysis import check, check_report

    if update:
        click.echo(check.update(out, Path(baseline)))
        return
    found = check.check_records(out, baseline, margin)
    check_report.write(found, **files)
    if form in ("csv", "json"):
        click.echo(check_report.as_csv(found) if form == "csv" else check_report.as_json(found), nl=False)
    else:
        print_tables([check_report.check_table(found)], form)
    sys.exit(found.exit_code)


@click.command(name="verify")
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@click.option("--sample", "count", type=click.IntRange(min=1), default=3, show_default=True, help="Cells to do again.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw of cells.")
@click.option("--device", help="Default: of the kind that each record names.")
@click.option("--dataset", help="Needed where records do not hold it: 'folder[path=...]'.")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), envvar="BENCH_DATA", default=Path("data"), show_default=True
)
def verify_command(out: Path, count: int, seed: int, **options: Any) -> None:
    """Do a few finished cells again, from their records alone, and say whether the stored numbers hold.

    OUT is an output folder or a leaderboard's .jsonl; nothing of it is changed. Exit code 0: they hold; 1: they do not, or
    no cell could be done again.

    \b
    bench verify runs/ --sample 3
    bench verify results/digits.jsonl --sample 1 --seed 7
    """
    from benchmark.api.catalog import load_catalog
    from benchmark.execution import verify
    from benchmark.records import leaderboard
    from benchmark.records.record import read_records

    records, problems = (leaderboard.read_board(out), []) if out.is_file() else read_records(out)
    print_left_out(problems)
    asked = verify.VerifyOptions(**{**options, "data_dir": options["data_dir"].expanduser()})
    findings = []
    for found in verify.verify(verify.sample(records, count, seed), asked, load_catalog()):
        click.echo(f"{found.verdict}: {found.record.id[:10]}", err=True)
        findings.append(found)
    print_tables([verify.table(findings)], "table")
    run = [found for found in findings if found.verdict != "not run"]
    sys.exit(0 if run and all(found.holds for found in run) else 1)
