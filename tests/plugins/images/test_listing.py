"""Which files of a folder are images: `bench_images.listing`, `bench_images.system_files`."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import pytest
from image_samples import params_for
from PIL import Image

from bench_images import folder
from benchmark import DataError

FOLDERS = ("__MACOSX", "@eaDir", ".ipynb_checkpoints", ".git", ".thumbnails", "$RECYCLE.BIN", "lost+found", "#recycle")
FILES = ("._0.png", "Thumbs.db", "THUMBS.DB", ".DS_Store", "desktop.ini", "Icon\r")


def warnings_of(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.message for record in caplog.records if record.levelname == "WARNING")


def remarks_on(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, **params: object) -> str:
    folder.describe(params_for(root, **params), tmp_path)
    return warnings_of(caplog)


def test_files_of_operating_systems_are_ignored_at_any_depth(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, path in enumerate(sorted(tree.glob("*/*/*.png"))):  # no two images are the same
        Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
    deeper = tree / "train" / "red" / "deeper"
    deeper.mkdir()
    Image.new("RGB", (9, 9), (99, 0, 0)).save(deeper / "0.png")
    before = folder.describe(params_for(tree), tmp_path)
    for parent in (tree, tree / "train", tree / "train" / "red", deeper, tree / "test", tree / "test" / "blue"):
        for name in FOLDERS:
            shutil.copytree(tree / "test" / "red", parent / name / "red")
            (parent / name / "._0.png").write_bytes(b"attributes")
        for name in FILES:
            (parent / name).write_bytes(b"attributes")
    assert folder.describe(params_for(tree), tmp_path) == before
    assert warnings_of(caplog) == ""


def test_files_that_are_no_images_are_counted_and_named(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = folder.describe(params_for(tree), tmp_path)
    names = ("features.h5", "labels.csv", "a.heic", "vector.svg", "page.pdf", "photo", "photo.png.part", ".hidden.png")
    for name in names:
        shutil.copy(tree / "train" / "red" / "0.png", tree / "train" / "red" / name)
    caplog.clear()
    assert folder.describe(params_for(tree), tmp_path) == before
    assert f"{len(names)} files are not read" in caplog.messages[0]
    assert all(f"train/red/{name}" in caplog.messages[0] for name in names)
    assert "convert HEIC files to JPEG" in caplog.messages[0]


def test_names_with_control_characters_are_escaped(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tree / "train" / "red" / "a\x1b[31m\nb.txt").touch()
    (tree / "train" / "red" / os.fsdecode(b"\xff.txt")).touch()
    text = remarks_on(tree, tmp_path, caplog)
    assert "a\\x1b[31m\\nb.txt" in text
    assert "\\udcff.txt" in text


@pytest.mark.parametrize("link", [os.symlink, os.link, shutil.copy])
def test_image_in_two_classes_is_reported_and_keeps_both(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, link: object
) -> None:
    assert callable(link)
    link(tree / "train" / "red" / "0.png", tree / "train" / "blue" / "other.png")
    text = remarks_on(tree, tmp_path, caplog)
    assert "images are also in another class, with the same bytes; each keeps its class" in text
    labels = folder.load(params_for(tree), tmp_path).train.labels
    assert labels.tolist() == [0] * 4 + [1] * 3


def test_copies_within_a_class_are_reported_and_used(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = remarks_on(tree, tmp_path, caplog)
    assert "4 of 8 images are copies of another image of their class and split; all are used" in text
    assert "train/red/2.png = train/red/0.png" in text
    caplog.clear()
    folder.describe(params_for(tree), tmp_path)
    assert caplog.messages == []  # once per process


@pytest.mark.parametrize("other", ["Red", "red ", "ｒｅｄ"])
def test_classes_that_look_the_same_are_reported_and_kept_apart(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    for split in ("train", "test"):
        shutil.copytree(tree / split / "red", tree / split / other)
    text = remarks_on(tree, tmp_path, caplog)
    assert f"{other!a}" in text
    assert "differ only in case, accents or spaces; each is kept" in text
    assert len(folder.describe(params_for(tree), tmp_path).class_names) == 3


def test_composed_and_decomposed_names_are_two_classes_and_the_report_shows_the_difference(
    tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    for name in (composed, decomposed):
        for split in ("train", "test"):
            shutil.copytree(tree / split / "red", tree / split / name)
    assert "'cafe\\u0301' and 'caf\\xe9' differ only in" in remarks_on(tree, tmp_path, caplog)
    shutil.rmtree(tree / "train" / composed)
    shutil.rmtree(tree / "test" / decomposed)
    with pytest.raises(DataError, match=r"These differ only in case, accents or spaces: 'cafe\\u0301' and 'caf\\xe9'"):
        folder.describe(params_for(tree), tmp_path)


def test_split_in_other_letters_is_named(tree: Path, tmp_path: Path) -> None:
    (tree / "test").rename(tree / "Test ")
    with pytest.raises(DataError, match="no folder 'test', but a folder 'Test '; rename it to 'test'"):
        folder.describe(params_for(tree), tmp_path)


def test_links_that_form_a_loop_are_an_error(tree: Path, tmp_path: Path) -> None:
    (tree / "train" / "red" / "x").symlink_to(tree / "train" / "blue")
    (tree / "train" / "blue" / "y").symlink_to(tree / "train" / "red")
    with pytest.raises(DataError, match="is a link to a folder that contains it"):
        folder.describe(params_for(tree), tmp_path)


def test_pipe_is_not_opened(tree: Path, tmp_path: Path) -> None:
    os.mkfifo(tree / "train" / "red" / "pipe.png")
    with pytest.raises(DataError, match=r"cannot read 1 file \(train/red/pipe.png\)"):
        folder.describe(params_for(tree), tmp_path)
    assert folder.describe(params_for(tree, on_error="skip"), tmp_path).num_train == 6
