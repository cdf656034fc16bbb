"""The command that measures speed: speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmark.cli.options import format_option
from benchmark.cli.output import print_report


@click.command(name="speed")
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
@format_option
def speed_command(form: str, to: Path, **options: Any) -> None:
    """Measure how fast this machine trains and scores, beside a plain way of doing the same.

    Images a second of data, of the training step and of both, by turns with per-image Pillow augmentation in a worker
    process and a plain float32 step; the device's ceilings and which part of them is reached; seconds and memory of each
    evaluator; start-up. Every number is added to speed.csv in --to with its conditions.

    \b
    bench speed
    bench speed --methods aet --datasets 'folder[path=photos]' --batch 64
    bench speed --methods '*' --encoders '*' --device cuda:0 --budget paper --together 3
    """
    from benchmark.speed.measure import SpeedOptions, measure_speed
    from benchmark.speed.report import append_csv, speed_report

    results = measure_speed(SpeedOptions(**options))
    print_report(speed_report(results), form)
    click.echo(f"{append_csv(results, to)}: {len(results.measurements)} rows added", err=True)
