"""Similarity search: by hand on features of two numbers, and from the command line on raw pixels."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from conftest import Bench
from frozen_cells import RECORD, cell_of, records_of_pixels
from PIL import Image

from benchmark.analysis import drawing, neighbors
from benchmark.errors import UsageError

OUTPUT = "neighbors.png"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return records_of_pixels(tmp_path_factory.mktemp("pixels"))


def assert_usage_error(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_nearest_ranks_by_cosine_not_length() -> None:
    features = np.array([[1, 0], [9, 1], [1, 1], [0, 2], [-1, 0]], dtype=np.float32)
    similarities, indices = neighbors.nearest(features, [0, 3], 4)
    assert indices.tolist() == [[1, 2, 3, 4], [2, 1, 0, 4]]
    assert similarities[0] == pytest.approx([9 / 82**0.5, 0.5**0.5, 0, -1], abs=1e-6)
    assert similarities[1] == pytest.approx([0.5**0.5, 1 / 82**0.5, 0, 0], abs=1e-6)


def test_nearest_excludes_the_query_among_equal_rows() -> None:
    features = np.ones((6, 2), dtype=np.float32)
    _, all_others = neighbors.nearest(features, range(6), 5)
    for query, results in enumerate(all_others.tolist()):
        assert results == [index for index in range(6) if index != query]
    _, two = neighbors.nearest(features, range(6), 2)
    assert all(query not in results and len(set(results)) == 2 for query, results in enumerate(two.tolist()))


def test_nearest_returns_k_rows_if_equal_rows_precede_the_query() -> None:
    features = np.zeros((8, 2), dtype=np.float32)
    similarities, indices = neighbors.nearest(features, [7], 3)
    assert similarities.tolist() == [[0, 0, 0]]
    assert 7 not in indices.tolist()[0]
    assert len(set(indices.tolist()[0])) == 3


def test_nearest_does_not_change_the_features() -> None:
    features = np.array([[3, 4], [1, 0]], dtype=np.float32)
    neighbors.nearest(features, [0], 1)
    assert features.tolist() == [[3, 4], [1, 0]]


def test_default_queries_are_the_first_of_ten_classes() -> None:
    assert neighbors.first_of_each_class(np.array([3, 1, 1, 0, 3])) == [3, 1, 0]
    assert neighbors.first_of_each_class(np.arange(30)[::-1] // 2) == list(range(28, 8, -2))


def test_neighbors_have_rank_class_and_hit() -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255), (255, 102)], [0, 1, 1, 0])
    results = neighbors.find_neighbors(cell, [0], k=3, split="test", pool="average")
    assert [(each.rank, each.index, each.label, each.hit) for each in results] == [
        (1, 1, 1, False),
        (2, 3, 0, True),
        (3, 2, 1, False),
    ]
    assert [each.similarity for each in results] == pytest.approx([5 / 26**0.5, 5 / 29**0.5, 0], abs=1e-6)
    report = neighbors.neighbor_report(cell, results, split="test", pool="average")
    (table,) = report.tables()
    assert table.columns == ("query", "query class", "rank", "index", "class", "similarity", "hit")
    assert table.rows[1] == ("0", "cat", "2", "3", "cat", "0.9285", "yes")
    assert table.notes == ("1 of 3 neighbors have the class of their query.",)
    assert report.frame().loc[1, "similarity"] == results[1].similarity


def test_repeated_query_is_used_once() -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255)], [0, 1, 1])
    results = neighbors.find_neighbors(cell, [2, 0, 2], k=1, split="test", pool="average")
    assert [each.query for each in results] == [2, 0]


@pytest.mark.parametrize(
    ("queries", "k", "message"),
    [
        ([3], 1, "--query 3: method / encoder has 3 test images; --query lies between 0 and 2"),
        ([-1], 1, "--query -1"),
        ([0], 3, "--k lies between 1 and 2"),
        ([0], 0, "--k 0"),
    ],
)
def test_query_and_k_out_of_range_are_rejected(queries: list[int], k: int, message: str) -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255)], [0, 1, 1])
    with pytest.raises(UsageError, match=message):
        neighbors.find_neighbors(cell, queries, k=k, split="test", pool="average")


def test_features_that_are_not_finite_are_rejected() -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255)], [0, 1, 1], std=0.0)
    with pytest.raises(UsageError, match="features of 3 of 3 test images at tap 'out' are not finite"):
        neighbors.find_neighbors(cell, [0], k=1, split="test", pool="average")


def test_picture_frames_hits_green_and_misses_red() -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255), (255, 102)], [0, 1, 1, 0])
    results = neighbors.find_neighbors(cell, [0, 2], k=2, split="test", pool="average")
    picture = neighbors.draw(cell, results, split="test", pool="average")
    # Images of 1 x 2 pixels become 64 x 128; a frame of 4 around; a row is 72 + 2 lines of 15 + 10 high. The first tile
    # begins at (12, 54), the next ones 20 and then 10 behind it.
    assert picture.height == 54 + 2 * (72 + 30 + 10) - 10 + 12
    assert picture.width >= 12 + 136 + 20 + 136 + 10 + 136 + 12
    corners = [picture.getpixel((x, y)) for y in (54, 54 + 112) for x in (12, 168, 314)]
    query, hit, miss = drawing.INK, drawing.GREEN, drawing.RED
    assert corners == [query, miss, hit, query, miss, hit]
    inside = [picture.getpixel((168 + x, 54 + 4)) for x in (4, 4 + 64)]
    assert inside == [(255, 255, 255), (51, 51, 51)]
    ends = [picture.getpixel(point) for point in ((12 + 135, 54 + 71), (12 + 136, 54 + 72))]
    assert ends == [query, drawing.WHITE]


def test_command_prints_and_draws_ten_queries(runs: Path, bench: Bench) -> None:
    result = bench("neighbors", RECORD, "--out", str(runs), "--k", "3", "--format", "csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.reader(io.StringIO(result.stdout)))[1:]
    assert len(rows) == 10 * 3
    assert [row[1] for row in rows[::3]] == list("0123456789")
    assert all(row[0] != row[3] for row in rows)
    assert all((row[1] == row[4]) == (row[6] == "True") for row in rows)
    with Image.open(OUTPUT) as picture:
        assert picture.format == "PNG"
        assert picture.height == 54 + 10 * (72 + 30 + 10) - 10 + 12


def test_neighbors_of_raw_pixels_match_numpy(runs: Path, bench: Bench) -> None:
    from sklearn.datasets import load_digits

    options = ("--out", str(runs), "--split", "test", "--format", "csv")
    result = bench("neighbors", RECORD, *options, "--query", "7", "--query", "300", "-o", "two.png")
    assert result.exit_code == 0, result.output
    assert bench("features", RECORD, "--out", str(runs), "-o", "v.npz").exit_code == 0
    with np.load("v.npz") as arrays:
        test, labels = arrays["test"].astype(np.float64), arrays["test_labels"]
    assert sorted({*labels.tolist()}) == sorted({*load_digits().target.tolist()})
    unit = test / np.linalg.norm(test, axis=1, keepdims=True)
    rows = list(csv.reader(io.StringIO(result.stdout)))[1:]
    for query, nearest in ((7, rows[:5]), (300, rows[5:])):
        products = unit @ unit[query]
        products[query] = -2
        expected = np.argsort(-products)[:5]
        assert [int(row[3]) for row in nearest] == expected.tolist()
        assert [float(row[5]) for row in nearest] == pytest.approx(products[expected], abs=1e-6)
        assert [int(row[4]) for row in nearest] == labels[expected].tolist()
    assert Path("two.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--query", "360"), ("--query 360", "between 0 and 359")),
        (("--k", "360"), ("--k 360", "between 1 and 359")),
        (("--tap", "layer9"), ("no tap called 'layer9'", "available:")),
        (("-o", "picture.gif"), ("use -o picture.png",)),
        (("-o", "."), ("--output", "is a folder")),
    ],
)
def test_command_reports_invalid_arguments(
    words: tuple[str, ...], message: tuple[str, ...], runs: Path, bench: Bench
) -> None:
    assert_usage_error(bench("neighbors", RECORD, "--out", str(runs), *words), *message)
    assert not list(Path().glob("*.png"))
