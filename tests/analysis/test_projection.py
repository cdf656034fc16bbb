"""Maps of frozen features: coordinates, samples and files."""

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

from benchmark.analysis import projection
from benchmark.errors import UsageError

TWENTY = [(10 * index, 255 - 10 * index) for index in range(20)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records_of_pixels(tmp_path_factory.mktemp("pixels"))


def pca(pixels: list[tuple[int, int]], labels: list[int], sample: int | None = None) -> projection.ProjectedPoints:
    return projection.project(
        cell_of(pixels, labels), method="pca", seed=42, split="test", pool="average", sample=sample
    )


def test_pca_of_points_on_a_line_preserves_distances() -> None:
    projected = pca([(0, 0), (30, 40), (90, 120), (60, 80)], [0, 1, 0, 1])
    along = projected.points[:, 0] * 255
    assert np.abs(np.diff(along)) == pytest.approx([50, 100, 50])
    assert projected.points[:, 1] == pytest.approx([0, 0, 0, 0], abs=1e-6)
    assert projected.conditions == "pca of 4 test images at out (average), seed 42, 1.000 of the variance"


def test_sample_keeps_class_proportions() -> None:
    projected = pca(TWENTY, [0] * 15 + [1] * 5, sample=8)
    assert len(projected.points) == 8
    assert np.bincount(projected.labels).tolist() == [6, 2]
    assert projected.labels.tolist() == [0 if index < 15 else 1 for index in projected.index.tolist()]
    everything = pca(TWENTY, [0] * 15 + [1] * 5)
    assert everything.index.tolist() == list(range(20))


@pytest.mark.parametrize("sample", [1, 21])
def test_sample_out_of_range_is_rejected(sample: int) -> None:
    with pytest.raises(UsageError, match=f"--sample {sample}: .* lies between 2 and 20"):
        pca(TWENTY, [0, 1] * 10, sample=sample)


def test_features_that_cannot_be_projected_are_rejected() -> None:
    with pytest.raises(UsageError, match="all test images have the same features at tap 'out'"):
        pca([(7, 7)] * 4, [0, 1, 0, 1])
    with pytest.raises(UsageError, match="needs at least 2 images and 2 features"):
        pca([(7, 7)], [0])
    few = cell_of(TWENTY[:15], [0] * 15)
    with pytest.raises(UsageError, match="needs at least 16 images"):
        projection.project(few, method="umap", seed=0, split="test", pool="average")


def test_missing_umap_is_reported_with_alternatives(monkeypatch: pytest.MonkeyPatch, runs: Path, bench: Bench) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    result = bench("map", RECORD, "--out", str(runs))
    assert result.exit_code == 2
    assert 'pip install "repbench[map]"' in result.stderr
    assert "--method pca" in result.stderr
    projection.check_installed("pca")


def test_command_writes_the_same_files_each_time(runs: Path, bench: Bench) -> None:
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


def test_command_reads_split_and_sample(runs: Path, bench: Bench) -> None:
    words = ("map", RECORD, "--out", str(runs), "--method", "pca")
    train = bench(*words, "--split", "train")
    assert "pca of 100 train images" in train.output
    assert "pca of 50 test images" in bench(*words, "--sample", "50").output
    rejected = bench(*words, "--sample", "5")
    assert rejected.exit_code == 2
    assert "--sample lies between 10 and 360" in rejected.stderr


def test_csv_that_cannot_be_written_is_reported(runs: Path, bench: Bench) -> None:
    Path("map.csv").mkdir()
    result = bench("map", RECORD, "--out", str(runs), "--method", "pca")
    assert result.exit_code == 2
    assert "cannot write map.csv" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason='needs umap-learn: pip install "repbench[map]"')
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")  # raised by umap-learn on import
def test_umap_separates_two_clusters_and_is_deterministic() -> None:
    clusters = [(200 + index, 3 * index) for index in range(20)] + [(3 * index, 200 + index) for index in range(20)]
    cell = cell_of(clusters, [0] * 20 + [1] * 20)
    first, again = (projection.project(cell, method="umap", seed=3, split="test", pool="average") for _ in range(2))
    assert (first.points == again.points).all()
    centers = [first.points[first.labels == label].mean(axis=0) for label in (0, 1)]
    spread = max(first.points[first.labels == label].std() for label in (0, 1))
    assert np.linalg.norm(centers[0] - centers[1]) > spread
