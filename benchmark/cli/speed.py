"""The command that measures speed: speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.api.limits import Number
from benchmark.cli import values
from benchmark.cli.command import command
from benchmark.cli.interrupts import interruptible
from benchmark.cli.options import ITEMS, combined, data_dir_option, format_option, path_option
from benchmark.cli.output import print_message, print_report

if TYPE_CHECKING:
    from benchmark.reports.render import Format

what_options = combined(
    click.option("--methods", **ITEMS, default=("aet,rotation,dim",), help="Methods whose training is measured."),
    click.option("--encoders", **ITEMS, default=("blocknet",), help="Encoders to train."),
    click.option("--datasets", "--dataset", **ITEMS, default=("digits",), help="Datasets to train on."),
    click.option("--evaluators", **ITEMS, default=("linear,knn,retrieval",), help="Evaluators to measure."),
    click.option(
        "--parts",
        type=values.TEXT,
        default="training,evaluators,start-up",
        show_default=True,
        metavar="NAMES",
        help="What to measure.",
    ),
    click.option("--batch", type=values.integer(2, 10**6), help="Images per step.  [default: the recipe's]"),
    click.option(
        "--budget",
        type=click.Choice(["quick", "paper"]),
        default="quick",
        show_default=True,
        help="Recipe to measure, as in bench run.",
    ),
    click.option(
        "--set",
        "settings",
        type=values.ASSIGNMENTS,
        multiple=True,
        metavar="KEY=VALUE",
        help="Recipe settings, such as lr=.05,augment=crop.",
    ),
    click.option(
        "--features",
        type=values.TEXT,
        default="50000,10000,512",
        show_default=True,
        metavar="TRAIN,TEST,DIM",
        help="Size of the random features that evaluators are measured on.",
    ),
)
how_options = combined(
    click.option("--device", type=values.TEXT, default="auto", show_default=True, help="auto, cpu, or cuda:0."),
    click.option("--threads", type=values.integer(1, 1024), help="CPU threads.  [default: all cores]"),
    click.option(
        "--accelerate",
        type=click.Choice(["auto", "off", "compile"]),
        default="auto",
        show_default=True,
        help="Faster training steps, as in bench run.",
    ),
    click.option(
        "--workers",
        type=values.integer(0, 1024),
        default=1,
        show_default=True,
        help="Worker processes of the plain data loader.",
    ),
    click.option("--no-plain", is_flag=True, help="Do not measure the plain PyTorch pipeline."),
    click.option("--profile", is_flag=True, help="Also list the operations that take most of a step."),
    click.option(
        "--together",
        type=values.integer(1, 1024),
        default=1,
        show_default=True,
        help="Also measure this many processes that train at once.",
    ),
    click.option(
        "--rounds",
        type=values.integer(1, 10**6),
        default=5,
        show_default=True,
        help="Measurements of each call; the median is reported.",
    ),
    click.option(
        "--seconds",
        type=values.number(Number(minimum=0.001, maximum=60, integer=False)),
        default=0.5,
        show_default=True,
        help="Least duration of a measurement.",
    ),
    data_dir_option,
    path_option(
        "--to", default="results", kind=values.FOLDER, help="Folder of the speed.csv to which the numbers are added."
    ),
)


@command("speed")
@what_options
@how_options
@format_option
def speed_command(form: Format, to: Path, **options: Any) -> None:
    """Measure training and scoring speed of this machine.

    Measures images per second of the data pipeline, of the training step and of both, beside a plain PyTorch pipeline
    (Pillow augmentation in worker processes, a float32 step); how close they come to the limits of the device; time and
    memory of each evaluator; start-up time. Numbers are added to speed.csv with their conditions.

    \b
    Examples:
      bench speed
      bench speed --methods aet --datasets 'folder[path=photos]' --batch 64
      bench speed --methods '*' --encoders '*' --device cuda:0 --budget paper
    """
    from benchmark.speed.measure import SpeedOptions, measure_speed
    from benchmark.speed.report import append_csv, speed_report

    with interruptible():
        results = measure_speed(SpeedOptions(**options))
    written = append_csv(results, to)
    print_message(f"{written}: {len(results.measurements)} rows added")
    print_report(speed_report(results), form)
