"""Commands that read the features of a finished cell: features, neighbors, map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from benchmark.analysis.frozen_cell import FrozenCell

Command = TypeVar("Command", bound=Callable[..., Any])


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


@click.command(name="features")
@_reading_options
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="An .npz file.")
def features_command(output: Path, pool: Any, **options: Any) -> None:
    """Write the frozen feature vectors of a cell: train, test and their labels.

    RECORD is a folder, a cell id or its beginning, or method/encoder/dataset/seed.
    """
    from benchmark.analysis.frozen_cell import write_features

    shapes = write_features(_read_back(options), output, pool=pool)
    click.echo(f"{output}: {', '.join(f'{name} {shape}' for name, shape in shapes.items())}")


@click.command(name="neighbors")
@_reading_options
@_split_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("neighbors.png"), show_default=True, help="A .png."
)
@click.option("--query", "queries", type=int, multiple=True, metavar="INDEX", help="An image; may be given again.")
@click.option("--k", type=int, default=5, show_default=True, help="Neighbors of each query.")
def neighbors_command(output: Path, queries: tuple[int, ...], k: int, split: str, pool: Any, **options: Any) -> None:
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


@click.command(name="map")
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
