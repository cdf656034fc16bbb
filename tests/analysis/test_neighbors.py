"""Similarity search and its pictures: by hand on features of two numbers, and from the command line on raw pixels."""

from __future__ import annotations

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


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


# --- search -----------------------------------------------------------------------------------------------------------


def test_neighbors_come_by_cosine_and_not_by_length() -> None:
    features = np.array([[1, 0], [9, 1], [1, 1], [0, 2], [-1, 0]], dtype=np.float32)
    similarities, indices = neighbors.nearest(features, [0, 3], 4)
    assert indices.tolist() == [[1, 2, 3, 4], [2, 1, 0, 4]]
    assert similarities[0] == pytest.approx([9 / 82**0.5, 0.5**0.5, 0, -1], abs=1e-6)
    assert similarities[1] == pytest.approx([0.5**0.5, 1 / 82**0.5, 0, 0], abs=1e-6)


def test_an_image_is_never_its_own_neighbor_though_others_equal_it() -> None:
    features = np.ones((6, 2), dtype=np.float32)
    _, all_others = neighbors.nearest(features, range(6), 5)
    for query, found in enumerate(all_others.tolist()):
        assert found == [index for index in range(6) if index != query]
    _, two = neighbors.nearest(features, range(6), 2)
    assert all(query not in found and len(set(found)) == 2 for query, found in enumerate(two.tolist()))


def test_a_query_that_others_push_out_of_the_first_places_costs_no_neighbor() -> None:
    features = np.zeros((8, 2), dtype=np.float32)
    similarities, indices = neighbors.nearest(features, [7], 3)
    assert similarities.tolist() == [[0, 0, 0]]
    assert 7 not in indices.tolist()[0]
    assert len(set(indices.tolist()[0])) == 3


def test_searching_leaves_the_features_as_they_were() -> None:
    features = np.array([[3, 4], [1, 0]], dtype=np.float32)
    neighbors.nearest(features, [0], 1)
    assert features.tolist() == [[3, 4], [1, 0]]


def test_without_queries_the_first_image_of_each_of_ten_classes_is_taken() -> None:
    assert neighbors.first_of_each_class(np.array([3, 1, 1, 0, 3])) == [3, 1, 0]
    assert neighbors.first_of_each_class(np.arange(30)[::-1] // 2) == list(range(28, 8, -2))


def test_neighbors_carry_rank_class_and_hit() -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255), (255, 102)], [0, 1, 1, 0])
    found = neighbors.neighbors(cell, [0], k=3, split="test", pool="average")
    assert [(each.rank, each.index, each.label, each.hit) for each in found] == [
        (1, 1, 1, False),
        (2, 3, 0, True),
        (3, 2, 1, False),
    ]
    assert [each.similarity for each in found] == pytest.approx([5 / 26**0.5, 5 / 29**0.5, 0], abs=1e-6)
    lines = neighbors.table(found, cell.class_names).splitlines()
    assert lines[0].split() == ["query", "class", "rank", "index", "class", "similarity", "hit"]
    assert lines[3].split() == ["0", "cat", "2", "3", "cat", "0.9285", "yes"]
    assert lines[-1] == "1 of 3 neighbors are of their query's class"


def test_a_query_named_twice_is_shown_once() -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255)], [0, 1, 1])
    found = neighbors.neighbors(cell, [2, 0, 2], k=1, split="test", pool="average")
    assert [each.query for each in found] == [2, 0]


@pytest.mark.parametrize(
    ("queries", "k", "said"),
    [
        ([3], 1, "--query 3: method / encoder has 3 test images; --query lies between 0 and 2"),
        ([-1], 1, "--query -1"),
        ([0], 3, "--k lies between 1 and 2"),
        ([0], 0, "--k 0"),
    ],
)
def test_a_query_or_a_k_out_of_range_is_refused(queries: list[int], k: int, said: str) -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255)], [0, 1, 1])
    with pytest.raises(UsageError, match=said):
        neighbors.neighbors(cell, queries, k=k, split="test", pool="average")


def test_features_that_are_no_numbers_are_refused() -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255)], [0, 1, 1], std=0.0)
    with pytest.raises(UsageError, match="features of 3 of 3 test images at tap 'out' are not finite"):
        neighbors.neighbors(cell, [0], k=1, split="test", pool="average")


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_small_images_grow_by_whole_squares_and_large_ones_stay() -> None:
    image = np.array([[[10, 20], [30, 40]]], dtype=np.uint8)
    picture = np.asarray(drawing.enlarged(image))
    assert picture.shape == (64, 64, 3)
    assert np.unique(picture[:32, 32:]).tolist() == [20]
    assert np.unique(picture[32:, :32]).tolist() == [30]
    assert drawing.enlarged(np.zeros((3, 96, 70), dtype=np.uint8)).size == (70, 96)
    assert drawing.enlarged(np.zeros((3, 30, 40), dtype=np.uint8)).size == (120, 90)


def test_colors_of_an_image_stay_in_their_order() -> None:
    image = np.zeros((3, 64, 64), dtype=np.uint8)
    image[0] = 200
    assert drawing.enlarged(image).getpixel((5, 5)) == (200, 0, 0)


def test_hits_are_framed_green_misses_red_and_the_query_dark() -> None:
    cell = cell_of([(255, 0), (255, 51), (0, 255), (255, 102)], [0, 1, 1, 0])
    found = neighbors.neighbors(cell, [0, 2], k=2, split="test", pool="average")
    picture = neighbors.draw(cell, found, split="test", pool="average")
    # Images of 1 x 2 pixels become 64 x 128; a frame of 4 around; a row is 72 + 2 lines of 15 + 10 high. The first tile
    # begins at (12, 54), the next ones 20 and then 10 behind it.
    assert picture.height == 54 + 2 * (72 + 30 + 10) - 10 + 12
    assert picture.width >= 12 + 136 + 20 + 136 + 10 + 136 + 12
    corners = [picture.getpixel((x, y)) for y in (54, 54 + 112) for x in (12, 168, 314)]
    query, hit, miss = drawing.INK, drawing.GREEN, drawing.RED
    assert corners == [query, miss, hit, query, miss, hit]
    inside = [picture.getpixel((168 + x, 54 + 4)) for x in (4, 4 + 64)]
    assert inside == [(255, 255, 255), (51, 51, 51)]
    ends = [picture.getpixel(place) for place in ((12 + 135, 54 + 71), (12 + 136, 54 + 72))]
    assert ends == [query, drawing.WHITE]


def test_a_grid_is_as_wide_as_its_heading_at_least() -> None:
    tile = drawing.Tile(image=np.zeros((1, 8, 8), dtype=np.uint8), captions=("a",), frame=drawing.INK)
    assert drawing.draw_grid([[tile]], ("a", "b")).size == (12 + 72 + 12, 54 + 72 + 15 + 12)
    assert drawing.draw_grid([[tile]], ("a heading much wider than one tile", "b")).width > 200


def test_a_caption_too_long_does_not_reach_the_next_tile() -> None:
    image = np.zeros((1, 8, 8), dtype=np.uint8)
    long, none = (
        drawing.Tile(image=image, captions=(text,), frame=drawing.INK) for text in ("a class of long name " * 9, "")
    )
    picture = np.asarray(drawing.draw_grid([[long, none]], ("", "")))
    below = picture[54 + 72 : 54 + 72 + 15]
    assert (below[:, 12:104] < 128).any()
    assert (below[:, 12 + 72 + 20 :] == 255).all()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.jpg", r"write -o a\.png"),
        ("folder.png", "is a folder"),
        ("file/a.png", "file is no folder"),
    ],
)
def test_a_place_that_cannot_take_a_picture_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=said):
        drawing.check_target(tmp_path / name)


def test_a_picture_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(UsageError, match=r"cannot be written .* choose another -o"):
        drawing.write(Image.new("RGB", (1, 1)), tmp_path / "a.png")


# --- from the command line --------------------------------------------------------------------------------------------


def test_bench_neighbors_prints_and_draws_ten_queries(runs: Path, bench: Bench) -> None:
    result = bench("neighbors", RECORD, "--out", str(runs), "--k", "3")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines()]
    assert len(lines) == 2 + 10 * 3 + 2
    rows = lines[2:32]
    assert [row[1] for row in rows[::3]] == list("0123456789")
    assert all(row[0] != row[3] for row in rows)
    assert all((row[1] == row[4]) == (row[6] == "yes") for row in rows)
    with Image.open(OUTPUT) as picture:
        assert picture.format == "PNG"
        assert picture.height == 54 + 10 * (72 + 30 + 10) - 10 + 12


def test_neighbors_of_raw_pixels_are_those_that_numpy_finds(runs: Path, bench: Bench) -> None:
    from sklearn.datasets import load_digits

    where = ("--out", str(runs), "--split", "test")
    result = bench("neighbors", RECORD, *where, "--query", "7", "--query", "300", "-o", "two.png")
    assert result.exit_code == 0, result.output
    assert bench("features", RECORD, "--out", str(runs), "-o", "v.npz").exit_code == 0
    with np.load("v.npz") as arrays:
        test, labels = arrays["test"].astype(np.float64), arrays["test_labels"]
    assert sorted({*labels.tolist()}) == sorted({*load_digits().target.tolist()})
    unit = test / np.linalg.norm(test, axis=1, keepdims=True)
    rows = [line.split() for line in result.output.splitlines()[2:12]]
    for query, mine in ((7, rows[:5]), (300, rows[5:])):
        products = unit @ unit[query]
        products[query] = -2
        expected = np.argsort(-products)[:5]
        assert [int(row[3]) for row in mine] == expected.tolist()
        assert [float(row[5]) for row in mine] == pytest.approx(products[expected], abs=1e-4)
        assert [int(row[4]) for row in mine] == labels[expected].tolist()
    assert Path("two.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--query", "360"), ("--query 360", "between 0 and 359")),
        (("--k", "360"), ("--k 360", "between 1 and 359")),
        (("--tap", "layer9"), ("no tap called 'layer9'", "available:")),
        (("-o", "picture.gif"), ("write -o picture.png",)),
        (("-o", "."), ("-o . is a folder",)),
    ],
)
def test_bench_neighbors_refuses_in_a_sentence(
    words: tuple[str, ...], said: tuple[str, ...], runs: Path, bench: Bench
) -> None:
    refused(bench("neighbors", RECORD, "--out", str(runs), *words), *said)
    assert not list(Path().glob("*.png"))
