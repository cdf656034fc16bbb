"""Maps of frozen features: where points lie, what color they have, what is written beside them."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Bench
from frozen_cells import RECORD, cell_of, records_of_pixels
from PIL import Image

from benchmark.analysis import drawing, projection
from benchmark.errors import UsageError

TWENTY = [(10 * index, 255 - 10 * index) for index in range(20)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records_of_pixels(tmp_path_factory.mktemp("pixels"))


def pca(pixels: list[tuple[int, int]], labels: list[int], sample: int | None = None) -> projection.ProjectedPoints:
    return projection.chart(cell_of(pixels, labels), method="pca", seed=42, split="test", pool="average", sample=sample)


# --- where points lie -------------------------------------------------------------------------------------------------


def test_pca_of_points_on_a_line_keeps_their_distances_and_all_variance() -> None:
    found = pca([(0, 0), (30, 40), (90, 120), (60, 80)], [0, 1, 0, 1])
    along = found.points[:, 0] * 255
    assert np.abs(np.diff(along)) == pytest.approx([50, 100, 50])
    assert found.points[:, 1] == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert found.conditions == "pca of 4 test images at out (average), seed 42, 1.000 of the variance"


def test_a_sample_keeps_every_class_in_its_share() -> None:
    found = pca(TWENTY, [0] * 15 + [1] * 5, sample=8)
    assert len(found.points) == 8
    assert np.bincount(found.labels).tolist() == [6, 2]
    assert found.labels.tolist() == [0 if index < 15 else 1 for index in found.index.tolist()]
    everything = pca(TWENTY, [0] * 15 + [1] * 5)
    assert everything.index.tolist() == list(range(20))


@pytest.mark.parametrize("sample", [1, 21])
def test_a_sample_that_cannot_be_had_is_refused(sample: int) -> None:
    with pytest.raises(UsageError, match=f"--sample {sample}: .* lies between 2 and 20"):
        pca(TWENTY, [0, 1] * 10, sample=sample)


def test_features_that_make_no_map_are_refused() -> None:
    with pytest.raises(UsageError, match="all test images have the same features at tap 'out'"):
        pca([(7, 7)] * 4, [0, 1, 0, 1])
    with pytest.raises(UsageError, match="wants 2 images and 2 features"):
        pca([(7, 7)], [0])
    few = cell_of(TWENTY[:15], [0] * 15)
    with pytest.raises(UsageError, match="wants 16 images"):
        projection.chart(few, method="umap", seed=0, split="test", pool="average")


def test_missing_umap_says_what_to_install_or_use(monkeypatch: pytest.MonkeyPatch, runs: Path, bench: Bench) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    result = bench("map", RECORD, "--out", str(runs))
    assert result.exit_code == 2
    assert 'pip install "repbench[map]"' in result.stderr
    assert "--method pca" in result.stderr
    projection.require("pca")


# --- the picture ------------------------------------------------------------------------------------------------------


def test_points_have_their_classes_colors_where_they_lie() -> None:
    points = np.array([(0, 0), (0, 5), (0, 10), (10, 0), (10, 5), (10, 10)], dtype=np.float64)
    labels = np.array([0, 0, 0, 1, 1, 1])
    picture = drawing.draw_points(points, labels, ("cat", "dog"), ("a", "b"))
    assert picture.size == (3 * 12 + 720 + 150, 42 + 2 * 12 + 720)
    # The square begins at (12, 54); between its borders of 24 pixels lie the points, the second coordinate upwards.
    # The points in the middle carry their classes' names.
    cat, dog = drawing.TEN_COLORS[:2]
    left, right, top, bottom = 12 + 24, 12 + 696, 54 + 24, 54 + 696
    assert [picture.getpixel((left, y)) for y in (top, bottom)] == [cat, cat]
    assert [picture.getpixel((right, y)) for y in (top, bottom)] == [dog, dog]
    assert picture.getpixel((372, 414)) == drawing.WHITE
    assert [picture.getpixel((744 + 5, 54 + 8 + 18 * row)) for row in (0, 1, 2)] == [cat, dog, drawing.WHITE]


def test_edges_of_points_are_smooth() -> None:
    picture = drawing.draw_points(np.array([(0.0, 0.0), (1, 1), (0, 1)]), np.zeros(3, np.int64), ("a",), ("", ""))
    around = np.asarray(picture)[54 + 690 : 54 + 703, 12 + 18 : 12 + 31].reshape(-1, 3)
    assert len(np.unique(around, axis=0)) > 4


def test_both_axes_have_one_scale() -> None:
    picture = drawing.draw_points(
        np.array([(0.0, 0.0), (10, 0), (5, 1), (5, 0.5)]), np.zeros(4, np.int64), ("a",) * 30, ("", "")
    )
    dots = np.argwhere((np.asarray(picture)[55:772, 13:730] == drawing.TEN_COLORS[0]).all(axis=2))
    tall, wide = np.ptp(dots, axis=0)
    assert wide == pytest.approx(672 + 8, abs=3)
    assert tall == pytest.approx(67.2 + 8, abs=3)


def test_every_class_has_a_color_of_its_own() -> None:
    assert drawing.colors(3) == list(drawing.TEN_COLORS[:3])
    for count in (10, 11, 37, 100):
        found = drawing.colors(count)
        assert len(set(found)) == len(found) == count
        assert all(0 <= part <= 255 for color in found for part in color)


def test_a_legend_of_many_classes_ends_with_how_many_more_there_are() -> None:
    names = [f"class {index}" for index in range(500)]
    labels = np.arange(500)
    points = np.stack([labels, labels % 7], axis=1).astype(np.float64)
    picture = drawing.draw_points(points, labels, names, ("", ""))
    assert picture.size == (3 * 12 + 720 + 3 * 150, 786)
    last = np.asarray(picture)[54 + 39 * 18 : 54 + 40 * 18]
    assert (last[:, 744 + 300 :] < 128).any()


# --- from the command line --------------------------------------------------------------------------------------------


def test_bench_map_draws_and_writes_the_points_the_same_each_time(runs: Path, bench: Bench) -> None:
    words = ("map", RECORD, "--out", str(runs), "--method", "pca")
    first = bench(*words)
    assert first.exit_code == 0, first.output
    assert first.output.startswith("map.png, map.csv: pca of 360 test images at pixels")
    assert bench(*words, "-o", "again/again.png").exit_code == 0
    assert Path("map.csv").read_bytes() == Path("again/again.csv").read_bytes()
    assert Path("map.png").read_bytes() == Path("again/again.png").read_bytes()
    with Image.open("map.png") as picture:
        assert picture.format == "PNG"
    with Path("map.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "label", "class", "x", "y"]
    assert [int(row["index"]) for row in rows] == list(range(360))
    assert {row["class"] for row in rows} == set("0123456789")
    x, y = (np.array([float(row[axis]) for row in rows]) for axis in "xy")
    assert abs(x.mean()) < 1e-3
    assert abs(np.corrcoef(x, y)[0, 1]) < 1e-3
    assert x.var() > y.var() > 0


def test_bench_map_reads_the_split_and_the_sample_that_are_asked_for(runs: Path, bench: Bench) -> None:
    words = ("map", RECORD, "--out", str(runs), "--method", "pca")
    train = bench(*words, "--split", "train")
    assert "pca of 100 train images" in train.output
    assert "pca of 50 test images" in bench(*words, "--sample", "50").output
    refused = bench(*words, "--sample", "5")
    assert refused.exit_code == 2
    assert "--sample lies between 10 and 360" in refused.stderr


def test_a_csv_that_cannot_be_written_is_a_sentence(runs: Path, bench: Bench) -> None:
    Path("map.csv").mkdir()
    result = bench("map", RECORD, "--out", str(runs), "--method", "pca")
    assert result.exit_code == 2
    assert "map.csv cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason='needs umap-learn: pip install "repbench[map]"')
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")  # said by umap-learn on import
def test_umap_parts_two_bundles_and_gives_the_same_map_for_the_same_seed() -> None:
    bundles = [(200 + index, 3 * index) for index in range(20)] + [(3 * index, 200 + index) for index in range(20)]
    cell = cell_of(bundles, [0] * 20 + [1] * 20)
    first, again = (projection.chart(cell, method="umap", seed=3, split="test", pool="average") for _ in range(2))
    assert (first.points == again.points).all()
    centers = [first.points[first.labels == label].mean(axis=0) for label in (0, 1)]
    spread = max(first.points[first.labels == label].std() for label in (0, 1))
    assert np.linalg.norm(centers[0] - centers[1]) > spread
