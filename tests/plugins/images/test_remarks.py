"""Remarks on transparent, 16-bit, animated and damaged images: `bench_images.remarks`, `bench_images.damage`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_samples import params_for
from PIL import Image

from bench_images import folder
from benchmark import DataError


@pytest.fixture
def distinct(tree: Path) -> Path:
    """The tree with no two equal images."""
    for number, path in enumerate(sorted(tree.glob("*/*/*.png"))):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    return tree


def remarks_on(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, **params: object) -> list[str]:
    folder.describe(params_for(root, **params), tmp_path)
    folder.load(params_for(root, **params), tmp_path)
    prefix = f"dataset 'folder' at {root}: "
    return [text.removeprefix(prefix) for text in caplog.messages if text.startswith(prefix)]


def test_folder_of_opaque_images_of_8_bits_has_no_remark(
    distinct: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.new("RGBA", (8, 8), (1, 2, 3, 255)).save(distinct / "train" / "red" / "opaque.png")
    assert remarks_on(distinct, tmp_path, caplog) == []


def test_transparent_images_are_counted_with_their_background(
    distinct: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        Image.new("RGBA", (8, 8), (1, 2, number, 50 * number)).save(distinct / "train" / "red" / f"t{number}.png")
    assert remarks_on(distinct, tmp_path, caplog) == [
        "3 of 11 images have transparent pixels, composited on white (background=...): "
        "train/red/t0.png, train/red/t1.png, train/red/t2.png"
    ]
    caplog.clear()
    (text,) = remarks_on(distinct, tmp_path, caplog, background="#808080")
    assert "composited on #808080" in text


def test_classes_that_differ_only_in_alpha_differ_after_compositing(tree: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label, alpha in (("red", 0), ("blue", 255)):
            Image.new("RGBA", (8, 8), (0, 0, 0, alpha)).save(tree / split / label / "0.png")
    images = folder.load(params_for(tree), tmp_path).train.images
    assert (images[0].max(), images[3].min()) == (0, 255)


def test_16_bit_images_are_counted_with_their_range(
    distinct: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(np.full((8, 8), 4000, dtype=np.uint16)).save(distinct / "test" / "red" / "deep.png")
    assert remarks_on(distinct, tmp_path, caplog) == [
        "1 of 9 images have 16 bits, of which 12 are used: their values are divided by 16: test/red/deep.png"
    ]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_is_used_and_animations_are_counted(
    distinct: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    first, second = (Image.new("RGB", (8, 8), (value, value, value)) for value in (40, 200))
    options = {"lossless": True} if suffix == "webp" else {}
    path = distinct / "train" / "red" / f"moving.{suffix}"
    first.save(path, save_all=True, append_images=[second], **options)
    (text,) = remarks_on(distinct, tmp_path, caplog)
    assert text == f"1 of 9 images have several frames; the first is used: train/red/moving.{suffix}"
    assert folder.load(params_for(distinct), tmp_path).train.images[-1].max() == 40


DAMAGED = {
    "cut.png": lambda whole: whole[:-30],
    "empty.png": lambda whole: b"",
    "text.jpg": lambda whole: b"no image",
    "cut.jpg": lambda whole: b"\xff\xd8\xff\xe0" + whole[:9],
}


def test_damaged_images_are_skipped_with_their_reasons(
    distinct: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = folder.load(params_for(distinct), tmp_path)
    whole = (distinct / "train" / "red" / "0.png").read_bytes()
    for name, damage in DAMAGED.items():
        (distinct / "train" / "red" / name).write_bytes(damage(whole))
    (distinct / "test" / "blue" / "link.png").symlink_to("nowhere")
    (text,) = remarks_on(distinct, tmp_path, caplog, on_error="skip")
    assert text.startswith(
        "5 of 13 images are damaged and left out (on_error=skip): test/blue/link.png, train/red/cut.jpg"
    )
    after = folder.load(params_for(distinct, on_error="skip"), tmp_path)
    assert np.array_equal(after.train.images, before.train.images)
    assert np.array_equal(after.train.labels, before.train.labels)
    assert np.array_equal(after.test.images, before.test.images)
    assert after.skipped["test/blue/link.png"] == "cannot be read"
    assert after.skipped["train/red/empty.png"] == "the file is empty"
    assert after.skipped["train/red/text.jpg"] == "not an image of a supported format"
    assert len(after.skipped) == 5


def test_class_whose_images_are_all_damaged_is_an_error(tree: Path, tmp_path: Path) -> None:
    (tree / "test" / "red" / "0.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"1 class \(test/red\) without an image that can be decoded"):
        folder.describe(params_for(tree, on_error="skip"), tmp_path)


def test_repaired_image_is_used_again(tree: Path, tmp_path: Path) -> None:
    path = tree / "train" / "red" / "0.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert folder.describe(params_for(tree, on_error="skip"), tmp_path).num_train == 5
    path.write_bytes(whole)
    assert folder.describe(params_for(tree, on_error="skip"), tmp_path).num_train == 6


def test_file_that_cannot_be_read_for_lack_of_handles_is_not_skipped(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> object:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"cannot read train/blue/0\.png: .*Too many open files"):
        folder.describe(params_for(tree, on_error="skip"), tmp_path)
