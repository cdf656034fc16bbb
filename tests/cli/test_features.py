"""bench features: the vectors that were scored, with their labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import assert_refused
from conftest import Bench
from flipped_bits import flip_bit
from verified_runs import change_records

from benchmark.records.record_files import read_records

RECORD = "mean_color/tiny/stripes/0"


def test_features_have_labels(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    result = bench("features", RECORD, "-o", "vectors.npz")
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "vectors.npz", allow_pickle=False) as file:
        shapes = {name: file[name].shape for name in file.files}
        assert file["train"].dtype == np.float32
        assert file["train_labels"].tolist() == [number % 4 for number in range(48)]
    assert shapes == {"train": (48, 16), "test": (24, 16), "train_labels": (48,), "test_labels": (24,)}
    assert "vectors.npz: " in result.stdout


@pytest.mark.parametrize(("pool", "width"), [("average", 8), ("flat", 128)])
def test_features_of_a_map_are_averaged_or_flat(
    finished: Bench, bench: Bench, tmp_path: Path, pool: str, width: int
) -> None:
    assert bench("features", RECORD, "-o", "v.npz", "--tap", "conv", "--pool", pool).exit_code == 0
    with np.load(tmp_path / "v.npz") as file:
        assert file["test"].shape == (24, width)


def test_features_are_those_that_were_scored(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    bench("features", RECORD, "-o", "v.npz")
    (cell,) = tmp_path.glob("runs/mean_color-*")
    with np.load(tmp_path / "v.npz") as file, np.load(cell / "predictions.npz") as scored:
        means = np.stack([file["train"][file["train_labels"] == label].mean(axis=0) for label in range(4)])
        predicted = np.linalg.norm(file["test"][:, None] - means, axis=2).argmin(axis=1)
        assert np.array_equal(predicted, scored["fc|average|centroid|centroid@1|prediction|class"])


def test_features_of_a_subset_are_those_of_its_images(run: Bench, bench: Bench, tmp_path: Path) -> None:
    run("mean_color", "--dataset", "stripes[subset=20]")
    (cell,) = tmp_path.glob("runs/mean_color-*-subset-20-*")
    assert bench("features", str(cell), "-o", "v.npz").exit_code == 0
    with np.load(tmp_path / "v.npz") as file:
        assert np.bincount(file["train_labels"]).tolist() == [5, 5, 5, 5]


def test_record_is_named_by_its_id_or_folder(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    (record,) = [r for r in read_records(tmp_path / "runs")[0] if r.cell["method"]["name"] == "byol"]
    assert bench("features", record.id[:8], "-o", "v.npz").exit_code == 0
    assert bench("features", Path(record.folder).name, "-o", "v.npz").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("features", RECORD, "-o", "made.npz"),
        ("neighbors", RECORD, "-o", "made.png"),
        ("map", RECORD, "-o", "made.png", "--method", "pca"),
        ("compare", RECORD, "byol/tiny/stripes/0", "--cka"),
        ("compare", "byol/tiny/stripes/0", RECORD, "--cka"),
    ],
    ids=lambda words: words[0],
)
def test_weights_with_a_flipped_bit_are_refused(
    finished: Bench, bench: Bench, tmp_path: Path, words: tuple[str, ...]
) -> None:
    (cell,) = tmp_path.glob("runs/mean_color-*")
    flip_bit(cell / "model.safetensors")
    assert_refused(bench(*words), f"cannot load runs/{cell.name}/model.safetensors (SHA-256", "restore the file")
    assert not list(tmp_path.glob("made*"))


def test_record_with_another_image_shape_is_refused(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    change_records(tmp_path / "runs", lambda body: body["cell"].update(image_shape=[3, 16, 16]))
    assert_refused(bench("features", RECORD, "-o", "v.npz"), "images of [3, 16, 16], but the dataset has [3, 8, 8]")


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (("nobody",), ("'nobody'", "mean_color")),
        ((RECORD, "--tap", "fc9"), ("no tap called 'fc9'", "conv, fc")),
        ((RECORD, "--dataset", "stripes[size=12]"), ("stripes",)),
        ((RECORD, "-o", "runs/scores.csv/v.npz"), ("--output", "is a file, not a folder")),
    ],
)
def test_invalid_request_is_refused(
    finished: Bench, bench: Bench, tmp_path: Path, words: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    assert_refused(bench("features", "-o", "v.npz", *words), *messages)
    assert not (tmp_path / "v.npz").exists()


def test_map_does_not_replace_another_table(finished: Bench, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "digits.csv").write_text("method,encoder\n")
    words = ("map", RECORD, "--method", "pca", "-o")
    assert_refused(bench(*words, "digits.png"), "digits.csv would be replaced", "choose another -o")
    assert (tmp_path / "digits.csv").read_text() == "method,encoder\n"
    assert [bench(*words, "map.png").exit_code for _ in range(2)] == [0, 0]
