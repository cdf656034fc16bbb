"""Commands that read the features of a finished cell: features, neighbors, map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli import values
from benchmark.cli.command import command
from benchmark.cli.options import combined, data_dir_option, dataset_option, format_option, path_option
from benchmark.cli.output import print_left_out, print_line, print_message, print_report

if TYPE_CHECKING:
    from benchmark.analysis.frozen_cell import FrozenCell
    from benchmark.reports.render import Format

cell_options = combined(
    click.argument("record", type=values.SOURCE_NAME),
    path_option("--out", default="runs", kind=values.FOLDER, help="Folder in which RECORD is searched."),
    click.option("--tap", type=values.TEXT, help="Layer.  [default: the encoder's output]"),
    click.option(
        "--pool",
        type=click.Choice(["average", "flat"]),
        default="average",
        show_default=True,
        help="How a feature map becomes a vector.",
    ),
    data_dir_option,
    dataset_option,
)
split_option = click.option(
    "--split", type=click.Choice(["test", "train"]), default="test", show_default=True, help="Images to use."
)


@command("features")
@cell_options
@click.option("-o", "--output", type=values.OUTPUT_FILE, required=True, help="File to write, .npz.")
def features_command(output: Path, pool: Any, **options: Any) -> None:
    """Write the features of a finished cell to a file.

    The .npz file holds the feature vectors of train and test images, float32 (N, D), and their labels. RECORD is a
    folder, a cell id or a prefix of it, or method/encoder/dataset/seed.

    \b
    Examples:
      bench features aet/resnet18/digits/0 -o features.npz
      bench features aet/resnet18/digits/0 -o layer3.npz --tap layer3 --pool flat
    """
    from benchmark.analysis.frozen_cell import write_features

    shapes = write_features(_frozen_cell(options), output, pool=pool)
    print_line(f"{output}: {', '.join(f'{name} {shape}' for name, shape in shapes.items())}")


@command("neighbors")
@cell_options
@split_option
@path_option("-o", "--output", default="neighbors.png", kind=values.OUTPUT_FILE, help="Image to write, .png.")
@click.option(
    "--query",
    "queries",
    type=values.integer(0, 10**9),
    multiple=True,
    metavar="INDEX",
    help="Index of a query image; may be repeated.  [default: the first image of each of the first ten classes]",
)
@click.option("--k", type=values.integer(1, 10**6), default=5, show_default=True, help="Neighbors of each query.")
@format_option
def neighbors_command(
    output: Path, queries: tuple[int, ...], k: int, split: str, pool: Any, form: Format, **options: Any
) -> None:
    """Find and draw the nearest images of query images.

    An exact search by cosine similarity of the frozen features, within one split. A green frame marks a neighbor of the
    query's class. RECORD is a folder, a cell id or a prefix of it, or method/encoder/dataset/seed.

    \b
    Examples:
      bench neighbors aet/resnet18/digits/0
      bench neighbors aet/resnet18/digits/0 --query 3 --query 17 --k 8
    """
    from benchmark.analysis import drawing, neighbors

    drawing.check_target(output)
    cell = _frozen_cell(options)
    nearest = neighbors.find_neighbors(cell, queries, k=k, split=split, pool=pool)
    drawing.write(neighbors.draw(cell, nearest, split=split, pool=pool), output)
    print_report(neighbors.neighbor_report(cell, nearest, split=split, pool=pool), form)
    print_message(f"{output} written")


@command("map")
@cell_options
@split_option
@path_option(
    "-o",
    "--output",
    default="map.png",
    kind=values.OUTPUT_FILE,
    help="Image to write, .png. A .csv with the points is written beside it.",
)
@click.option(
    "--method", type=click.Choice(["umap", "pca"]), default="umap", show_default=True, help="Projection to the plane."
)
@click.option("--seed", type=values.integer(0, 2**32 - 1), default=42, show_default=True, help="Random seed of UMAP.")
@click.option(
    "--sample", type=values.integer(1, 10**9), metavar="N", help="Use N images, drawn by class.  [default: all]"
)
def map_command(
    output: Path, method: Any, seed: int, sample: int | None, split: str, pool: Any, **options: Any
) -> None:
    """Draw the features of a cell in the plane.

    Points are colored by class. UMAP needs `pip install "repbench[map]"`. A map shows which classes are separate, not how
    far apart they are: use the scores of `bench table` for comparisons. RECORD is a folder, a cell id or a prefix of it,
    or method/encoder/dataset/seed.

    \b
    Examples:
      bench map aet/resnet18/digits/0
      bench map aet/resnet18/digits/0 --method pca --tap layer3 --sample 1000
    """
    from benchmark.analysis import drawing, projection

    drawing.check_target(output)
    projection.check_coordinates(output)
    projection.check_installed(method)
    cell = _frozen_cell(options)
    projected = projection.project(cell, method=method, seed=seed, split=split, pool=pool, sample=sample)
    print_line(f"{output}, {projection.write_map(projected, cell, output)}: {projected.conditions}")


def _frozen_cell(options: dict[str, Any]) -> FrozenCell:
    from benchmark.analysis.frozen_cell import read_frozen_cell
    from benchmark.records.output_folder import OutputFolder

    folder = OutputFolder(options["out"].expanduser())
    record = folder.find(options["record"])
    print_left_out(folder.problems)
    return read_frozen_cell(
        record, tap=options["tap"], data_dir=options["data_dir"].expanduser(), dataset=options["dataset"]
    )
