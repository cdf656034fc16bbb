"""Commands that plan, run and watch cells: run, plan, status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.api.limits import LIMITS
from benchmark.cli import values
from benchmark.cli.command import command, finish
from benchmark.cli.interrupts import interruptible
from benchmark.cli.options import ITEMS, combined, data_dir_option, format_option, path_option, read_config
from benchmark.cli.output import print_left_out, print_message, print_report, without_cycle_search
from benchmark.errors import ExitCode

if TYPE_CHECKING:
    from benchmark.reports.render import Format
    from benchmark.results import Results

what_options = combined(
    click.option("--methods", **{**ITEMS, "required": True}, help="Methods to train: names, globs, name[key=value]."),
    click.option("--encoders", **ITEMS, default=("resnet18",), help="Encoders to train."),
    click.option("--datasets", "--dataset", **ITEMS, default=("digits",), help="Datasets to train and score on."),
    click.option(
        "--evaluators", **ITEMS, default=("linear,knn,retrieval",), help="Evaluators that score the frozen features."
    ),
    click.option(
        "--taps",
        type=values.TEXT,
        default="default",
        show_default=True,
        metavar="NAMES",
        help="Layers to score: default, all, or names.",
    ),
    click.option(
        "--seeds", type=values.TEXT, default="1", show_default=True, help="N for seeds 0 to N-1, or a list such as 0,3."
    ),
    click.option(
        "--budget",
        type=click.Choice(["quick", "paper"]),
        default="quick",
        show_default=True,
        help="Training schedule. quick: minutes; paper: the method's paper.",
    ),
    click.option(
        "--epochs", type=values.number(LIMITS["epochs"]), help="Epochs instead of the budget's; schedules are scaled."
    ),
    click.option(
        "--set",
        "settings",
        type=values.ASSIGNMENTS,
        multiple=True,
        metavar="KEY=VALUE",
        help="Recipe settings, such as lr=.05,batch=128.",
    ),
    click.option("--no-floors", is_flag=True, help="Do not add the floors: raw pixels and an untrained encoder."),
    click.option("--smoke", is_flag=True, help="Run a few steps of each cell as a test. The scores are not results."),
)

where_options = combined(
    click.option("--device", type=values.TEXT, default="auto", show_default=True, help="auto, cpu, cuda, or cuda:0,1."),
    click.option(
        "--executor",
        type=values.ITEMS,
        default="local",
        show_default=True,
        metavar="ITEM",
        help="Where cells run: `bench list executors`.",
    ),
    click.option(
        "--threads-per-cell",
        type=values.number(LIMITS["threads_per_cell"]),
        default=1,
        show_default=True,
        help="CPU threads of each cell.",
    ),
    click.option(
        "--per-device",
        type=values.TEXT,
        default="auto",
        show_default=True,
        metavar="N|auto",
        help="Cells at once on each device. auto: one on a GPU, cores / threads on a CPU.",
    ),
    click.option(
        "--timeout",
        type=values.number(LIMITS["timeout"]),
        metavar="SECONDS",
        help="Stop a cell that makes no progress for this long.  [default: never]",
    ),
    click.option(
        "--checkpoint-minutes",
        type=values.number(LIMITS["checkpoint_minutes"]),
        default=1.0,
        show_default=True,
        help="Least time between two checkpoints of a cell.",
    ),
    click.option(
        "--checkpoint-epochs",
        type=values.number(LIMITS["checkpoint_epochs"]),
        help="Also write a checkpoint every N epochs.",
    ),
    click.option(
        "--accelerate",
        type=click.Choice(["auto", "off", "compile"]),
        default="auto",
        show_default=True,
        help="Acceleration of training steps. auto: what is faster on the device.",
    ),
    path_option("--out", default="runs", kind=values.FOLDER, help="Folder of the records."),
    data_dir_option,
    click.option(
        "--rerun",
        type=click.Choice(["none", "failed", "stale", "all"]),
        default="failed",
        show_default=True,
        help="Which cells that have a record run again.",
    ),
    click.option(
        "--config",
        type=values.INPUT_FILE,
        callback=read_config,
        is_eager=True,
        expose_value=False,
        help="TOML file with these options as keys. The command line wins.",
    ),
)
run_options = combined(what_options, where_options)


@command("run")
@run_options
@click.option("--dry-run", is_flag=True, help="List the cells with state and expected time, and stop.")
@format_option
@click.option("-q", "--quiet", is_flag=True, help="Show no progress, only the tables.")
@click.option("-v", "--verbose", is_flag=True, help="Print the tracebacks of failed cells.")
def run_command(dry_run: bool, form: Format, quiet: bool, verbose: bool, no_floors: bool, **arguments: Any) -> None:
    """Train, freeze and score methods on encoders and datasets.

    Runs every method x encoder x dataset x seed. Finished cells are skipped, failed cells are tried again: after an
    interruption, run the same command again. Tables are printed at the end.

    \b
    Examples:
      bench run --methods dim,aet --encoders resnet18,blocknet
      bench run --methods '*' --seeds 3 --dataset 'folder[path=photos]'
      bench run --methods 'aet[transform=affine|projective]' --set lr=.05

    Exit codes: 0 all cells are finished, 2 invalid request, 3 some cells failed, 130 interrupted.
    """
    import benchmark

    if dry_run:
        _print_plan(form, floors=not no_floors, **arguments)
        return
    with interruptible():
        results = benchmark.run(**arguments, floors=not no_floors, quiet=quiet)
    _print_run(results, form, verbose)
    finish(ExitCode.FAILED_CELLS if results.failed or results.problems else ExitCode.OK)


@command("plan")
@run_options
@format_option
def plan_command(form: Format, no_floors: bool, **arguments: Any) -> None:
    """List the cells that `bench run` would run.

    Shows state and expected time of each cell. The options are those of `bench run`; it does the same with --dry-run.

    \b
    Examples:
      bench plan --methods dim,aet --encoders resnet18,blocknet --seeds 5
    """
    _print_plan(form, floors=not no_floors, **arguments)


@command("status")
@click.argument("out", type=values.EXISTING_FOLDER, default=Path("runs"))
@format_option
@without_cycle_search()
def status_command(out: Path, form: Format) -> None:
    """Show running, waiting, finished and failed cells.

    OUT is a folder of records. Works from any terminal, also on another machine that sees the folder.

    \b
    Examples:
      bench status runs/
    """
    from benchmark.execution.status import read_status
    from benchmark.execution.status_report import status_report

    status = read_status(out)
    print_left_out(status.problems)
    print_report(status_report(status), form)


@without_cycle_search()
def _print_plan(form: Format, **arguments: Any) -> None:
    from benchmark.execution import session
    from benchmark.execution.arguments import RunArguments
    from benchmark.execution.plan_report import plan_report

    typed = RunArguments(**arguments)
    print_report(plan_report(session.forecast(typed.request(), typed.options())), form)


def _print_run(results: Results, form: Format, verbose: bool) -> None:
    if verbose:
        for outcome in results.failed:
            print_message(outcome.traceback or outcome.reason)
    try:
        if results.scores or results.missing:
            print_report(results.report(), form)
    finally:  # also if the report cannot be printed
        for line in (*results.summary, *(f"bench: {problem}" for problem in results.problems)):
            print_message(line)
