"""Commands that plan, run and watch cells: run, plan, status."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from benchmark.cli.options import format_option, read_config
from benchmark.cli.output import print_left_out, print_tables, without_cycle_search
from benchmark.cli.results import print_records
from benchmark.errors import ExitCode

if TYPE_CHECKING:
    from benchmark.execution.request import Request

Command = TypeVar("Command", bound=Callable[..., Any])


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
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


def run_options(command: Command) -> Command:
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
            callback=read_config,
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


@click.command(name="run")
@run_options
@click.option("--dry-run", is_flag=True, help="List the cells with state and expected time, and stop.")
@format_option
@click.option("-q", "--quiet", is_flag=True, help="No progress, only the tables.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks of failed cells.")
def run_command(dry_run: bool, form: str, quiet: bool, verbose: bool, **options: Any) -> None:
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
    with _sigterm_interrupts():
        result = session.run(_request(options), session.RunOptions(**_where(options)), quiet=quiet)
    _print_result(result, form, verbose)
    sys.exit(ExitCode.FAILED_CELLS if result.failed or result.problem else 0)


@click.command(name="plan")
@run_options
def plan_command(**options: Any) -> None:
    """List the cells that `run` would do, with state and expected time (the same as run --dry-run)."""
    _print_plan(options)


@click.command(name="status")
@click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path("runs"))
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
@without_cycle_search()
def status_command(out: Path, form: str) -> None:
    """Show what is running, waiting, done and failed in an output folder, from any terminal."""
    from benchmark.execution import status

    found = status.read_status(out)
    print_left_out(found.problems)
    if form == "json":
        click.echo(status.as_json(found), nl=False)
    else:
        print_tables(status.status_tables(found), form)


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


@without_cycle_search()
def _print_plan(options: dict[str, Any]) -> None:
    from benchmark.cli import listing
    from benchmark.execution import session

    click.echo(listing.list_plan(session.forecast(_request(options), session.RunOptions(**_where(options)))), nl=False)


def _print_result(result: Any, form: str, verbose: bool) -> None:
    if verbose:
        for outcome in result.failed:
            click.echo(outcome.traceback or outcome.reason, err=True)
    if result.records or result.missing:
        print_records(result.records, result.missing, form, "auto")
    for line in (*result.summary, *([f"bench: {result.problem}"] if result.problem else [])):
        click.echo(line, err=True)
