"""Image folders on the command line: remarks, damaged images, datasets of one content under two names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import INLINE, assert_refused
from conftest import THIRD_PARTY, Bench
from image_samples import make_tree


def dataset(name: str, *params: str) -> tuple[str, str]:
    return "--dataset", f"folder[path={name},size=8{''.join(f',{param}' for param in params)}]"


@pytest.fixture
def run(third_party: Path, monkeypatch: pytest.MonkeyPatch, bench: Bench) -> Bench:
    """`bench run` of one method for one epoch, with the dataset `folder` installed beside the third-party plugins."""
    monkeypatch.setenv("BENCH_PLUGINS", f"{THIRD_PARTY},images")
    words = ("run", "--methods", "mean_color", "--encoders", "tiny", "--evaluators", "centroid", *INLINE)
    return lambda *dataset: bench(*words, *dataset)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The folder photos with one damaged image among seven for training."""
    photos = make_tree(tmp_path / "photos")
    (photos / "train" / "red" / "3.png").write_bytes((photos / "train" / "red" / "0.png").read_bytes()[:-30])
    return photos


def test_damaged_image_is_refused_and_the_message_names_the_way_out(run: Bench, damaged: Path) -> None:
    assert_refused(run(*dataset("photos")), "cannot decode 1 file", "train/red/3.png", "on_error=skip")


def test_skipped_image_is_in_messages_record_and_table(run: Bench, bench: Bench, damaged: Path, tmp_path: Path) -> None:
    result = run(*dataset("photos", "on_error=skip"))
    assert result.exit_code == 0, result.output
    assert "1 of 9 images are damaged and left out (on_error=skip): train/red/3.png" in result.stderr
    (path,) = (tmp_path / "runs").glob("*/record.json")
    skipped = json.loads(path.read_text())["checks"]["skipped_images"]
    assert (skipped["count"], skipped["of"], list(skipped["reasons"])) == (1, 9, ["train/red/3.png"])
    assert "skipped 1/9" in bench("table", "runs").stdout


def test_skipping_without_damaged_images_is_the_same_cell(run: Bench, tmp_path: Path) -> None:
    make_tree(tmp_path / "photos")
    assert run(*dataset("photos")).exit_code == 0
    result = run(*dataset("photos", "on_error=skip"))
    assert "1 finished before" in result.stderr + result.stdout
    (path,) = (tmp_path / "runs").glob("*/record.json")
    assert "skipped_images" not in json.loads(path.read_text())["checks"]


@pytest.mark.parametrize("names", [("猫", "犬"), ("Photos", "photos"), ("a b", "a-b")])
def test_copy_under_another_name_has_its_own_cell_and_leaderboard(
    run: Bench, bench: Bench, tmp_path: Path, names: tuple[str, str]
) -> None:
    make_tree(tmp_path / "1")
    shutil.copytree(tmp_path / "1", tmp_path / "2")
    for _ in range(2):
        for path, name in enumerate(names, start=1):
            assert run(*dataset(str(path), f"name='{name}'")).exit_code == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/record.json")]
    assert sorted(record["cell"]["dataset"]["label"] for record in records) == sorted(names)
    bench("export", "runs", "--to", "boards")
    assert len(list((tmp_path / "boards").glob("*.csv"))) == 2


def test_copy_in_the_same_run_is_named_as_skipped(run: Bench, tmp_path: Path) -> None:
    make_tree(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    result = run(*dataset("first"), *dataset("second"))
    assert "dataset 'second': has the same images and labels as 'first'" in result.stdout + result.stderr


def test_background_that_is_no_color_is_refused(run: Bench, tmp_path: Path) -> None:
    make_tree(tmp_path / "photos")
    for value in ("'256,0,0'", "#12345", "whitish", "'1,2'"):
        assert_refused(run(*dataset("photos", f"background={value}")), "background=", "'#rrggbb'")
