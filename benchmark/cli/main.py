"""The command line: parse, call, print. What a command means is in other rooms; exit codes are in `errors` and here.

Exit codes: 0 fine, 2 usage, 3 some cells failed (the rest are kept), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from benchmark import __version__
from benchmark.errors import BenchError, ExitCode, UnknownNameError, UsageError

if TYPE_CHECKING:
    from benchmark.analysis.frozen_cell import FrozenCell
    from benchmark.execution.request import Request
    from benchmark.records.columns import Columns
    from benchmark.records.record import Record
    from benchmark.reports.table import Table

Command = TypeVar("Command", bound=Callable[..., Any])


@contextlib.contextmanager
def _all_stays() -> Iterator[None]:
    """Looks for no cycles among values: where a million of them stay until the end, that takes a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextlib.contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Takes SIGTERM, which schedulers and service managers send, as Ctrl-C: running cells write down where they are."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        was = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, which alone hears signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, was)


class _Group(click.Group):
    """Prints our errors as a sentence and gives their exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except BenchError as error:
            click.echo(f"bench: {error}", err=True)
            sys.exit(error.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("bench: interrupted; what is finished is kept, the same command goes on from there", err=True)
            sys.exit(ExitCode.INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has gone (bench table | head): that is no error of ours. Caught here, before click
            # makes a 1 of it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="repbench")
def main() -> None:
    """Benchmark unsupervised image representations: train, freeze, score, compare.

    \b
    bench run --methods dim,aet --encoders resnet18,blocknet
    bench list methods
    bench table runs/
    """


def _read_config(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Makes a file's keys the defaults of the command's options. `plan` takes a file that was written for `run`."""
    if value is None:
        return
    try:
        settings = tomllib.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--config {value}: {error}") from error
    options = {
        word.removeprefix("--"): option
        for option in main.commands["run"].params
        for word in option.opts
        if word.startswith("--") and option.name != "config"
    }
    found: dict[str, Any] = {}
    for key, setting in settings.items():
        option = options.get(key.replace("_", "-"))
        if option is None:
            raise UnknownNameError("key", key, options, f"it stands in {value}")
        try:
            found[str(option.name)] = _as_option(str(option.name), setting, bool(getattr(option, "multiple", False)))
        except ValueError:
            raise UsageError(f"--config {value}: {key} = {setting!r} cannot be; write it as for --{key}") from None
    ctx.default_map = {**(ctx.default_map or {}), **found}


def _as_option(name: str, setting: Any, multiple: bool) -> Any:
    """A TOML value as the option takes it from a command line; ValueError where it cannot be."""
    if name == "settings" and isinstance(setting, dict):
        return [f"{key}={_as_word(value)}" for key, value in setting.items()]
    if multiple:
        return [_as_word(each) for each in (setting if isinstance(setting, list) else [setting])]
    if name == "seeds" and isinstance(setting, list):
        return ",".join(_as_word(seed) for seed in setting) + ","
    if name == "taps" and isinstance(setting, list):
        return ",".join(_as_word(tap) for tap in setting)
    if isinstance(setting, list | dict):
        raise ValueError
    return setting


def _as_word(value: Any) -> str:
    if isinstance(value, dict):
        raise ValueError
    if isinstance(value, list):
        return ";".join(_as_word(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _run_options(command: Command) -> Command:
    """The options that say what to run and where: shared by `run` and `plan`."""
    items: dict[str, Any] = {"multiple": True, "metavar": "ITEMS"}
    options = [
        click.option("--methods", **items, required=True, help="e.g. dim,'aet[transform=affine]'; globs are fine."),
        click.option("--encoders", **items, default=("resnet18",), show_default=True),
        click.option("--datasets", "--dataset", **items, default=("digits",), show_default=True),
        click.option("--evaluators", **items, default=("linear,knn,retrieval",), show_default=True),
        click.option("--taps", default="default", show_default=True, help="default, all, or names of taps."),
        click.option("--seeds", default="1", help="5 for seeds 0 to 4; 0,3 for these two.  [default: seed 0]"),
        click.option("--budget", type=click.Choice(["quick", "paper"]), default="quick", show_default=True),
        click.option("--epochs", type=click.IntRange(min=1), help="Instead of the budget's number; schedules stretch."),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Recipe keys: lr=.05,batch=128."),
        click.option("--no-floors", is_flag=True, help="Leave out the pixels and untrained floors."),
        click.option("--smoke", is_flag=True, help="A few steps only, to see that all runs; never a result."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or cuda:0,1."),
        click.option("--executor", default="local", show_default=True, metavar="ITEM"),
        click.option("--threads-per-cell", type=click.IntRange(min=1), default=1, show_default=True),
        click.option(
            "--per-device",
            default="auto",
            show_default=True,
            metavar="N|auto",
            help="Cells at once on each device; auto: a GPU takes one, the CPU as many as its cores have threads for.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="End a cell after so long a silence: no step, no stage.  [default: never]",
        ),
        click.option(
            "--checkpoint-minutes",
            type=click.FloatRange(min=0),
            default=1.0,
            show_default=True,
            help="Least time between two checkpoints of a cell.",
        ),
        click.option("--checkpoint-epochs", type=click.IntRange(min=1), help="Also after every so many epochs."),
        click.option(
            "--accelerate",
            type=click.Choice(["auto", "off", "compile"]),
            default="auto",
            show_default=True,
            help="Of training steps: what pays here, nothing, or compile in any case. Recorded.",
        ),
        click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True),
        click.option(
            "--data-dir",
            type=click.Path(path_type=Path),
            envvar="BENCH_DATA",
            default=Path("data"),
            show_default=True,
            help="Where datasets are downloaded and cached (also BENCH_DATA).",
        ),
        click.option(
            "--rerun",
            type=click.Choice(["none", "failed", "stale", "all"]),
            default="failed",
            show_default=True,
            help="Which cells with a record to do again.",
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False),
            callback=_read_config,
            is_eager=True,
            expose_value=False,
            help="A TOML file with these options as keys; the command line wins.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _request(options: dict[str, Any]) -> Request:
    from benchmark.api import grammar
    from benchmark.execution.request import Request

    taps = options["taps"]
    names = tuple(name.strip() for name in taps.split(",") if name.strip())
    return Request(
        methods=grammar.parse_items(options["methods"]),
        encoders=grammar.parse_items(options["encoders"]),
        datasets=grammar.parse_items(options["datasets"]),
        evaluators=grammar.parse_items(options["evaluators"]),
        taps=taps if taps in ("default", "all") else names,
        seeds=grammar.parse_seeds(options["seeds"]),
        budget=options["budget"],
        epochs=options["epochs"],
        overrides=grammar.parse_assignments(options["settings"]),
        floors=not options["no_floors"],
        smoke=options["smoke"],
        data_dir=options["data_dir"].expanduser(),
    )


@main.command()
@_run_options
@click.option("--dry-run", is_flag=True, help="List the cells with state and expected time, and stop.")
@click.option("--format", "form", type=click.Choice(["table", "md", "csv", "json", "latex"]), default="table")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only the tables.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks of failed cells.")
def run(dry_run: bool, form: str, quiet: bool, verbose: bool, **options: Any) -> None:
    """Train, freeze and score every method x encoder x dataset x seed.

    Finished cells are skipped, failed ones tried again. Results go to --out; the tables are printed at the end.

    \b
    bench run --methods dim,aet --encoders resnet18,blocknet
    bench run --methods '*' --seeds 3 --dataset 'folder[path=photos]'
    bench run --methods 'aet[transform=affine|projective]' --set lr=.05 --epochs 40
    """
    from benchmark.execution import session

    if dry_run:
        _print_plan(options)
        return
    with _ended_as_by_ctrl_c():
        result = session.run(_request(options), session.RunOptions(**_where(options)), quiet=quiet)
    _print_result(result, form, verbose)
    sys.exit(ExitCode.FAILED_CELLS if result.failed or result.problem else 0)


@main.command()
@_run_options
def plan(**options: Any) -> None:
    """List the cells that `run` would do, with state and expected time (the same as run --dry-run)."""
    _print_plan(options)


@main.command(name="list")
@click.argument(
    "kind", required=False, type=click.Choice(["methods", "encoders", "datasets", "evaluators", "executors", "plugins"])
)
@click.option("-v", "--verbose", is_flag=True, help="Parameters with their defaults; tracebacks of broken plugins.")
def list_command(kind: str | None, verbose: bool) -> None:
    """Show what is installed, who provides it, and what is broken."""
    from benchmark.api.catalog import load_catalog
    from benchmark.cli import listing

    click.echo(listing.list_plugins(load_catalog(), kind, verbose), nl=False)


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@click.option("--format", "form", type=click.Choice(["table", "md", "csv", "json", "latex"]), default="table")
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
@_all_stays()
def table(out: Path, form: str, expected: bool, by: str, sort: str, ties: Any) -> None:
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
    for problem in problems:
        click.echo(f"bench: left out: {problem}", err=True)
    if not records and not columns:
        raise UsageError(f"no record under {out}; bench run --out {out} makes some")
    if expected:
        _print_expected(records, form)
    elif (by, sort) != ("method", "score"):
        _print_view(columns or records, by, out, form)
    elif columns is not None:
        _print_records(columns, [], form, ties, out)
    else:
        _print_records(records, [], form, ties, out)


@main.command(name="correlate")
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@click.option("--min-cells", type=click.IntRange(min=2), default=10, show_default=True, help="Of a row with numbers.")
@click.option("--format", "form", type=click.Choice(["table", "md", "csv", "json", "latex"]), default="table")
def correlate_command(out: Path, min_cells: int, form: str) -> None:
    """Show which scores without labels go with accuracy, over the cells and taps of a folder or a leaderboard's .jsonl."""
    from benchmark.analysis import correlate
    from benchmark.api.catalog import load_catalog

    columns, problems = correlate.correlate(out)
    for problem in problems:
        click.echo(f"bench: left out: {problem}", err=True)
    found = correlate.correlations(columns, load_catalog(), min_cells)
    if form in ("csv", "json"):
        click.echo(correlate.as_csv(found) if form == "csv" else correlate.as_json(found), nl=False)
    else:
        _print_tables(correlate.correlation_tables(found), form)


@main.command(name="status")
@click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path("runs"))
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@_all_stays()
def status_command(out: Path, form: str) -> None:
    """Show what is running, waiting, done and failed in an output folder, from any terminal."""
    from benchmark.execution import status

    found = status.read_status(out)
    for problem in found.problems:
        click.echo(f"bench: left out: {problem}", err=True)
    if form == "json":
        click.echo(status.as_json(found), nl=False)
    else:
        _print_tables(status.status_tables(found), form)


@main.command(name="explain")
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
        _print_tables([explain.table(a, b)], form)


@main.command(name="compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Or a .jsonl.")
@click.option("--all-metrics", "every", is_flag=True, help="Not each evaluator's headline alone.")
@click.option("--cka", is_flag=True, help="Also how alike both see the test images; wants folders with weights.")
@click.option("--data-dir", type=click.Path(path_type=Path), envvar="BENCH_DATA", default=Path("data"))
@click.option("--dataset", help="Of --cka, where the record does not hold it: 'folder[path=...]'.")
@click.option("--format", "form", type=click.Choice(["table", "md", "csv", "json", "latex"]), default="table")
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
        _print_tables([*compare_report.comparison_tables(found), *([similarity.table(alike)] if cka else [])], form)


@main.command(name="check")
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@click.option("--baseline", required=True, help="A leaderboard's .csv or .jsonl, or REV:FILE from git.")
@click.option("--margin", type=float, default=0.005, show_default=True, help="What has to be lost, as a raw fraction.")
@click.option("--update", is_flag=True, help="Write the run's finished cells into the baseline's folder, and stop.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also a JUnit XML file.")
@click.option("--summary", type=click.Path(path_type=Path), help="Also Markdown, added to the end of a file.")
@click.option("--format", "form", type=click.Choice(["table", "md", "csv", "json", "latex"]), default="table")
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
        _print_tables([check_report.check_table(found)], form)
    sys.exit(found.exit_code)


@main.command()
@click.argument("out", type=click.Path(path_type=Path, exists=True), default=Path("runs"))
@click.option("--to", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option(
    "--format", "form", default="csv", show_default=True, help="Also parquet, latex, bibtex: names with commas between."
)
def export(out: Path, to: Path, form: str) -> None:
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
    for problem in problems:
        click.echo(f"bench: left out: {problem}", err=True)
    catalog = load_catalog()
    for name, count in leaderboard.export(records, to).items():
        files = leaderboard_formats.write(to, name, wanted, catalog)
        click.echo(f"{', '.join(map(str, files))}: {count} cells added or replaced")


@main.command(name="merge")
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
    for sentence in found.left_out:
        click.echo(f"bench: left out: {sentence}", err=True)
    _print_tables([environment_table(found.records)], "table")
    click.echo(f"{to}: {found.copied} cells copied, {found.kept} were there, {found.twice} stood in several folders")


@main.command(name="verify")
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
    for problem in problems:
        click.echo(f"bench: left out: {problem}", err=True)
    asked = verify.VerifyOptions(**{**options, "data_dir": options["data_dir"].expanduser()})
    findings = []
    for found in verify.verify(verify.sample(records, count, seed), asked, load_catalog()):
        click.echo(f"{found.verdict}: {found.record.id[:10]}", err=True)
        findings.append(found)
    _print_tables([verify.table(findings)], "table")
    run = [found for found in findings if found.verdict != "not run"]
    sys.exit(0 if run and all(found.holds for found in run) else 1)


def _reading_options(command: Command) -> Command:
    """The cell, and how its dataset is read through its encoder: shared by `features`, `neighbors` and `map`."""
    options = [
        click.argument("record"),
        click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True),
        click.option("--tap", help="Default: the encoder's output."),
        click.option("--pool", type=click.Choice(["average", "flat"]), default="average", show_default=True),
        click.option("--data-dir", type=click.Path(path_type=Path), envvar="BENCH_DATA", default=Path("data")),
        click.option("--dataset", help="Needed where the record does not hold it: 'folder[path=...]'."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _split_option(command: Command) -> Command:
    option: Callable[[Command], Command] = click.option(
        "--split", type=click.Choice(["test", "train"]), default="test", show_default=True
    )
    return option(command)


def _read_back(options: dict[str, Any]) -> FrozenCell:
    from benchmark.analysis.frozen_cell import read_frozen_cell
    from benchmark.records.record import find_record

    found = find_record(options["record"], options["out"].expanduser())
    return read_frozen_cell(
        found, tap=options["tap"], data_dir=options["data_dir"].expanduser(), dataset=options["dataset"]
    )


@main.command()
@_reading_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="An .npz file.")
def features(output: Path, pool: Any, **options: Any) -> None:
    """Write the frozen feature vectors of a cell: train, test and their labels.

    RECORD is a folder, a cell id or its beginning, or method/encoder/dataset/seed.
    """
    from benchmark.analysis.frozen_cell import write_features

    shapes = write_features(_read_back(options), output, pool=pool)
    click.echo(f"{output}: {', '.join(f'{name} {shape}' for name, shape in shapes.items())}")


@main.command()
@_reading_options
@_split_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("neighbors.png"), show_default=True, help="A .png."
)
@click.option("--query", "queries", type=int, multiple=True, metavar="INDEX", help="An image; may be given again.")
@click.option("--k", type=int, default=5, show_default=True, help="Neighbors of each query.")
def neighbors(output: Path, queries: tuple[int, ...], k: int, split: str, pool: Any, **options: Any) -> None:
    """Search the images most similar to some: print them and draw them, framed green where the class is the same.

    RECORD is a folder, a cell id or its beginning, or method/encoder/dataset/seed. The search is exact, by cosine of the
    frozen features, among the images of one split. Without --query: the first image of each of the first ten classes.

    \b
    bench neighbors aet/resnet18/digits/0
    bench neighbors aet/resnet18/digits/0 --query 3 --query 17 --k 8 --tap layer3 -o sevens.png
    """
    from benchmark.analysis import drawing, neighbors

    drawing.check_target(output)
    click.echo(neighbors.show(_read_back(options), queries, output, k=k, split=split, pool=pool))


@main.command(name="map")
@_reading_options
@_split_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("map.png"), show_default=True, help="A .png."
)
@click.option("--method", type=click.Choice(["umap", "pca"]), default="umap", show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=42, show_default=True)
@click.option("--sample", type=int, metavar="N", help="So many images, every class in its share.  [default: all]")
def map_command(
    output: Path, method: Any, seed: int, sample: int | None, split: str, pool: Any, **options: Any
) -> None:
    """Draw a cell's frozen features in the plane, colored by class, and write the points beside it as CSV.

    RECORD is a folder, a cell id or its beginning, or method/encoder/dataset/seed. UMAP wants pip install "repbench[map]",
    PCA nothing more. A map shows which classes part, not how far: read numbers from bench table.

    \b
    bench map aet/resnet18/digits/0
    bench map aet/resnet18/digits/0 --method pca --tap layer3 --sample 1000 -o layer3.png
    """
    from benchmark.analysis import drawing, projection

    drawing.check_target(output)
    projection.require(method)
    cell = _read_back(options)
    found = projection.chart(cell, method=method, seed=seed, split=split, pool=pool, sample=sample)
    click.echo(f"{output}, {projection.write(found, cell, output)}: {found.conditions}")


@main.command()
@click.option("--methods", multiple=True, metavar="ITEMS", default=("aet,rotation,dim",), show_default=True)
@click.option("--encoders", multiple=True, metavar="ITEMS", default=("blocknet",), show_default=True)
@click.option("--datasets", "--dataset", multiple=True, metavar="ITEMS", default=("digits",), show_default=True)
@click.option("--evaluators", multiple=True, metavar="ITEMS", default=("linear,knn,retrieval",), show_default=True)
@click.option("--parts", default="training,evaluators,start-up", show_default=True, help="What to measure.")
@click.option("--batch", type=click.IntRange(min=2), help="Instead of the recipe's.")
@click.option("--budget", type=click.Choice(["quick", "paper"]), default="quick", show_default=True)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Recipe keys: lr=.05,augment=crop.")
@click.option("--features", default="50000,10000,512", show_default=True, help="Of the evaluators: train, test, width.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda:0.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all cores]")
@click.option("--accelerate", type=click.Choice(["auto", "off", "compile"]), default="auto", show_default=True)
@click.option("--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Of the plain data loader.")
@click.option("--no-plain", is_flag=True, help="Leave the plain way out.")
@click.option("--profile", is_flag=True, help="Also: the operations that a step spends its time in.")
@click.option("--together", type=click.IntRange(min=1), default=1, help="Also: so many processes training at once.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Of turns; medians are shown.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.001, max=60),
    default=0.5,
    show_default=True,
    help="Least length of a turn.",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path), envvar="BENCH_DATA", default=Path("data"), show_default=True
)
@click.option("--to", type=click.Path(path_type=Path), default=Path("results"), show_default=True)
@click.option("--format", "form", type=click.Choice(["table", "md", "csv", "json", "latex"]), default="table")
def speed(form: str, to: Path, **options: Any) -> None:
    """Measure how fast this machine trains and scores, beside a plain way of doing the same.

    Images a second of data, of the training step and of both, by turns with per-image Pillow augmentation in a worker
    process and a plain float32 step; the device's ceilings and which part of them is reached; seconds and memory of each
    evaluator; start-up. Every number is added to speed.csv in --to with its conditions.

    \b
    bench speed
    bench speed --methods aet --datasets 'folder[path=photos]' --batch 64
    bench speed --methods '*' --encoders '*' --device cuda:0 --budget paper --together 3
    """
    from benchmark.speed import measure
    from benchmark.speed.report import add, as_csv, as_json, speed_tables

    report = measure.measure(measure.SpeedOptions(**options))
    conditions, found = report
    if form == "json":
        click.echo(as_json(found, conditions), nl=False)
    elif form == "csv":
        click.echo(as_csv(found, conditions), nl=False)
    else:
        _print_tables(speed_tables(found, conditions), form)
    click.echo(f"{add(found, conditions, to)}: {len(found)} numbers added", err=True)


def _where(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "out": options["out"].expanduser(),
        "data_dir": options["data_dir"].expanduser(),
        "device": options["device"],
        "executor": options["executor"],
        "threads": options["threads_per_cell"],
        "rerun": options["rerun"],
        "accelerate": options["accelerate"],
        "per_device": options["per_device"],
        "timeout": options["timeout"],
        "checkpoint_minutes": options["checkpoint_minutes"],
        "checkpoint_epochs": options["checkpoint_epochs"],
    }


@_all_stays()
def _print_plan(options: dict[str, Any]) -> None:
    from benchmark.cli import listing
    from benchmark.execution import session

    click.echo(listing.list_plan(session.forecast(_request(options), session.RunOptions(**_where(options)))), nl=False)


def _print_result(result: Any, form: str, verbose: bool) -> None:
    if verbose:
        for outcome in result.failed:
            click.echo(outcome.traceback or outcome.reason, err=True)
    if result.records or result.missing:
        _print_records(result.records, result.missing, form, "auto")
    for line in (*result.summary, *([f"bench: {result.problem}"] if result.problem else [])):
        click.echo(line, err=True)


def _print_expected(records: Sequence[Record], form: str) -> None:
    from benchmark.api.catalog import load_catalog
    from benchmark.reports import published_tables as expected

    catalog = load_catalog()
    if form == "csv":
        click.echo(expected.as_csv(records, catalog), nl=False)
    elif form == "json":
        click.echo(expected.as_json(records, catalog), nl=False)
    else:
        _print_tables(expected.published_tables(records, catalog), form)


def _print_records(
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

        _print_tables(score_tables.score_tables(records, missing, ranker(records, ties, source)), form)


def _print_view(records: Sequence[Record] | Columns, by: str, out: Path, form: str) -> None:
    """Prints records along the depth of their encoders, or by what they cost."""
    from benchmark.reports import by_tap, pareto

    if by == "tap":
        from benchmark.api.catalog import load_catalog

        _print_tables(by_tap.tap_tables(records, load_catalog(), out), form)
    else:
        _print_tables(pareto.pareto_tables(records), form)


def _print_tables(found: Sequence[Table], form: str) -> None:
    from benchmark.reports import render

    if form == "table" and sys.stdout.isatty():
        from rich.console import Console

        render.print_tables(found, Console())
    else:
        click.echo(render.render(found, form), nl=False)  # type: ignore[arg-type]  # a Choice
