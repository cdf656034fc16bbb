"""The fingerprint of a folder: `bench_images.folder`. Parameters of the decoding are part of it where they change pixels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from image_samples import make_tree, params_for
from PIL import Image

from bench_images import folder


def earlier_fingerprint(root: Path) -> str:
    """The fingerprint of version 1 of the dataset, from the names and contents of the files alone."""
    content = hashlib.sha256()
    names = [
        path
        for split in ("train", "test")
        for path in sorted((root / split).rglob("*.png"), key=lambda path: str(path))
    ]
    for path in names:
        content.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return hashlib.sha256(json.dumps([1, content.hexdigest(), 8, False]).encode()).hexdigest()


def test_fingerprint_of_opaque_images_of_8_bits_has_no_new_part(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "colors")
    Image.new("RGBA", (8, 8), (1, 2, 3, 255)).save(root / "train" / "red" / "opaque.png")
    for options in ({}, {"background": "black"}, {"on_error": "skip"}):
        assert folder.describe(params_for(root, **options), tmp_path).fingerprint == earlier_fingerprint(root)


def test_background_changes_the_fingerprint_of_transparent_images(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "colors")
    Image.new("RGBA", (8, 8), (1, 2, 3, 9)).save(root / "train" / "red" / "clear.png")
    white, gray, black = (
        folder.describe(params_for(root, background=color), tmp_path).fingerprint
        for color in ("white", "#808080", "black")
    )
    assert len({white, gray, black}) == 3
    assert black == earlier_fingerprint(root)
    assert gray == folder.describe(params_for(root, background="128,128,128"), tmp_path).fingerprint


@pytest.mark.parametrize(("largest", "is_new"), [(65535, False), (4095, True)])
def test_used_bits_change_the_fingerprint_unless_all_are_used(tmp_path: Path, largest: int, is_new: bool) -> None:
    root = make_tree(tmp_path / "colors")
    Image.fromarray(np.full((8, 8), largest, dtype=np.uint16)).save(root / "test" / "red" / "deep.png")
    assert (folder.describe(params_for(root), tmp_path).fingerprint != earlier_fingerprint(root)) == is_new


def test_skipped_images_change_the_fingerprint(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "colors")
    (root / "train" / "red" / "3.png").write_bytes(b"damaged")
    (root / "train" / "red" / "4.png").write_bytes(b"damaged")
    first = folder.describe(params_for(root, on_error="skip"), tmp_path).fingerprint
    assert first != earlier_fingerprint(root)
    (root / "train" / "red" / "4.png").unlink()
    assert first != folder.describe(params_for(root, on_error="skip"), tmp_path).fingerprint
