"""Folders of images: `bench_images.folder`, `bench_images.listing`, `bench_images.content_hash`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_samples import assert_as_described, params_for
from PIL import Image

from bench_images import decoding, folder
from benchmark import DataError


def test_folder_matches_its_description_in_order_of_names(tree: Path, tmp_path: Path) -> None:
    info = folder.describe(params_for(tree), tmp_path)
    dataset = folder.load(params_for(tree), tmp_path)
    assert (info.label, info.num_train, info.num_test, info.image_shape) == ("colors", 6, 2, (3, 8, 8))
    assert_as_described(dataset, info)
    assert dataset.class_names == ("blue", "red")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.train.images[:, :, 4, 4].tolist() == [[0, 0, 255]] * 3 + [[255, 0, 0]] * 3
    assert dataset.test.images[:, :, 4, 4].tolist() == [[0, 0, 255], [255, 0, 0]]


def test_second_load_decodes_nothing(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.load(params_for(tree), tmp_path)
    monkeypatch.setattr(decoding, "decode", None)
    second = folder.load(params_for(tree), tmp_path)
    assert np.array_equal(first.train.images, second.train.images)


def test_zeroed_cache_is_decoded_again(tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = folder.load(params_for(tree), tmp_path).train.images.copy()
    (path,) = (tmp_path / "folder").glob("*/images.npy")
    content = path.read_bytes()
    path.write_bytes(content[:128] + bytes(first.nbytes) + content[128 + first.nbytes :])
    assert np.array_equal(folder.load(params_for(tree), tmp_path).train.images, first)
    assert "is damaged or has no valid checksum: it is computed again" in caplog.text
    assert path.read_bytes() == content


def test_second_description_reads_no_image(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.describe(params_for(tree), tmp_path)

    def refuse(path: object, *args: object, **options: object) -> object:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr("builtins.open", refuse)
    assert folder.describe(params_for(tree), tmp_path) == first


@pytest.mark.parametrize("old", [b"sha256", b"count", b"0", b"1", b"{"])
def test_changed_cache_of_the_content_is_not_used(tree: Path, tmp_path: Path, old: bytes) -> None:
    first = folder.describe(params_for(tree), tmp_path)
    (cached,) = (tmp_path / "folder" / "hashes").iterdir()
    cached.write_bytes(cached.read_bytes().replace(old, b"2"))
    assert folder.describe(params_for(tree), tmp_path) == first


def test_fingerprint_depends_on_the_content_not_on_the_path(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "other"
    shutil.copytree(tree, copy)
    os.utime(copy / "train" / "red" / "0.png", (1, 1))
    original = folder.describe(params_for(tree), tmp_path / "a")
    copied = folder.describe(params_for(copy), tmp_path / "b")
    assert (original.label, copied.label) == ("colors", "other")
    assert original.fingerprint == copied.fingerprint
    assert str(tmp_path) not in str(copied)


def test_fingerprint_changes_with_content_name_class_size_and_color(tree: Path, tmp_path: Path) -> None:
    seen = [folder.describe(params_for(tree, **p), tmp_path).fingerprint for p in ({}, {"size": 9}, {"gray": True})]
    (tree / "train" / "red" / "0.png").rename(tree / "train" / "red" / "4.png")
    seen.append(folder.describe(params_for(tree), tmp_path).fingerprint)
    shutil.copy(tree / "train" / "blue" / "0.png", tree / "train" / "red" / "4.png")
    seen.append(folder.describe(params_for(tree), tmp_path).fingerprint)
    (tree / "train" / "red" / "4.png").rename(tree / "train" / "blue" / "4.png")
    seen.append(folder.describe(params_for(tree), tmp_path).fingerprint)
    assert len(set(seen)) == 6


def test_changed_image_of_the_same_size_and_time_is_detected(tree: Path, tmp_path: Path) -> None:
    path = tree / "train" / "red" / "0.bmp"  # not compressed: every color has the same size
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path)
    os.utime(path, ns=(0, 0))
    before = folder.load(params_for(tree), tmp_path)
    fingerprint = folder.describe(params_for(tree), tmp_path).fingerprint
    Image.new("RGB", (8, 8), (0, 255, 0)).save(path)
    os.utime(path, ns=(0, 0))
    assert folder.describe(params_for(tree), tmp_path).fingerprint != fingerprint
    after = folder.load(params_for(tree), tmp_path)
    assert before.train.images[3, :, 0, 0].tolist() == [255, 0, 0]
    assert after.train.images[3, :, 0, 0].tolist() == [0, 255, 0]


def test_data_folder_need_not_be_writable(tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    closed = tmp_path / "file" / "data"
    with caplog.at_level("INFO", logger="benchmark"):
        dataset = folder.load(params_for(tree), closed)
    assert_as_described(dataset, folder.describe(params_for(tree), tmp_path))
    assert dataset.train.images[5, :, 0, 0].tolist() == [255, 0, 0]
    assert "cannot write" in caplog.text


def test_name_is_the_label_and_links_are_followed(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tree)
    (tree / "train" / "red" / "deeper").mkdir()
    (tree / "train" / "red" / "deeper" / "4.png").symlink_to(tree / "train" / "red" / "0.png")
    info = folder.describe(params_for(link), tmp_path)
    assert (info.label, info.num_train) == ("link", 7)
    assert folder.describe(params_for(link, name="mine"), tmp_path).label == "mine"


def test_other_files_and_hidden_folders_are_ignored(tree: Path, tmp_path: Path) -> None:
    before = folder.describe(params_for(tree), tmp_path)
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "png"):
        (tree / "train" / "red" / name).write_text("no image")
    (tree / "train" / "README.md").write_text("no class")
    (tree / "train" / ".cache").mkdir()
    assert folder.describe(params_for(tree), tmp_path) == before


def test_damaged_images_are_counted_and_listed(tree: Path, tmp_path: Path) -> None:
    whole = (tree / "train" / "red" / "0.png").read_bytes()
    for number in range(11):
        (tree / "train" / "red" / f"cut{number:02}.PNG").write_bytes(whole[:-30])
    (tree / "test" / "blue" / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"cannot decode 12 files .* of 20") as caught:
        folder.load(params_for(tree), tmp_path)
    message = str(caught.value)
    assert all(f"train/red/cut{number:02}.PNG" in message for number in range(10))
    assert "train/red/cut10.PNG" not in message
    assert "and 2 more" in message
    assert not list((tmp_path / "folder").rglob("*.npy*"))


def remove(*names: str) -> object:
    return lambda root: [shutil.rmtree(root / name) for name in names]


def remove_images(root: Path) -> None:
    (root / "test" / "red" / "0.png").rename(root / "test" / "red" / "0.txt")


def remove_classes(root: Path) -> None:
    for path in (root / "train").iterdir():
        shutil.rmtree(path)


def rename_test(root: Path) -> None:
    (root / "test").rename(root / "val")


def break_links(root: Path) -> None:
    (root / "train" / "red" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "train" / "red" / "loop.png").symlink_to("loop.png")


def link_to_parent(root: Path) -> None:
    (root / "train" / "red" / "again").symlink_to(root / "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("."), "does not exist"),
        (remove("train"), "there is no folder 'train'"),
        (remove("test"), r"there is no folder 'test'\. Expected: train/<class>/<image>"),
        (rename_test, "a folder 'val'; to score on it, rename it to 'test'"),
        (remove_classes, "'train' has no class folder"),
        (remove("test/red"), r"different classes; only in train: 1 class \(red\)"),
        (remove("train/blue"), r"different classes; only in test: 1 class \(blue\)"),
        (remove("train/red", "test/red"), "only one class, 'blue'"),
        (remove_images, r"1 class \(test/red\) without an image file of a format that is read"),
        (break_links, r"cannot read 2 files \(train/red/gone.png, train/red/loop.png\)"),
        (link_to_parent, "train/red/again is a link to a folder that contains it"),
    ],
)
def test_other_layout_is_an_error(tree: Path, tmp_path: Path, change: object, message: str) -> None:
    assert callable(change)
    change(tree)
    with pytest.raises(DataError, match=message) as caught:
        folder.describe(params_for(tree), tmp_path)
    assert f"dataset 'folder' at {tree}" in str(caught.value)


def test_path_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"use 'folder\[path=DIR\]'"):
        folder.describe(folder.FolderParams(), tmp_path)
    (tmp_path / "images.zip").touch()
    with pytest.raises(DataError, match="is a file; unpack it"):
        folder.describe(params_for(tmp_path / "images.zip"), tmp_path)


def test_size_below_8_and_name_with_slashes_are_errors() -> None:
    with pytest.raises(ValueError, match="size=7 is not valid"):
        folder.FolderParams(size=7)
    with pytest.raises(ValueError, match="must not contain slashes"):
        folder.FolderParams(name="a/b")
