"""Counting test images that are also training images: planted duplicates are counted, other images are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark.evaluation.overlap import cached_overlap, count_overlap


def random_images(count: int, side: int = 8, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator, dtype=torch.uint8)


def test_unrelated_images_do_not_overlap() -> None:
    overlap = count_overlap([random_images(200, seed=0)], random_images(50, seed=1))
    assert (overlap["exact"], overlap["near"], overlap["of"]) == (0, 0, 50)


def test_exact_duplicate_counts_once_per_test_image() -> None:
    train, test = random_images(200), random_images(50, seed=1)
    test[3], test[7], test[8] = train[5], train[5], train[199]
    overlap = count_overlap([train], test)
    assert (overlap["exact"], overlap["near"]) == (3, 0)


def test_unlabeled_training_images_count() -> None:
    train, unlabeled, test = random_images(20), random_images(30, seed=2), random_images(10, seed=1)
    test[0] = unlabeled[29]
    assert count_overlap([train, unlabeled], test)["exact"] == 1
    assert count_overlap([train], test)["exact"] == 0


@pytest.mark.parametrize("side", [8, 32, 40])
def test_brighter_and_noisy_copy_is_a_near_duplicate(side: int) -> None:
    smooth = torch.linspace(0, 200, side).view(1, 1, 1, side).expand(4, 3, side, side).clone()
    for number in range(4):
        smooth[number] += 20 * torch.sin(torch.arange(side) * (number + 1.0))[None, :, None]
    train = smooth.clamp(0, 230).to(torch.uint8)
    noise = torch.randint(-2, 3, train.shape, generator=torch.Generator().manual_seed(0))
    test = (train.int() + 10 + noise).clamp(0, 255).to(torch.uint8)
    overlap = count_overlap([train], test)
    assert (overlap["exact"], overlap["near"]) == (0, 4)


def test_image_of_one_color_has_no_near_duplicate() -> None:
    gray = torch.full((3, 3, 8, 8), 77, dtype=torch.uint8)
    overlap = count_overlap([random_images(20), gray + 1], gray)
    assert (overlap["exact"], overlap["near"]) == (0, 0)


@pytest.mark.parametrize("block", [1, 7, 33])
def test_block_size_does_not_change_the_count(block: int) -> None:
    train, test = random_images(101), random_images(33, seed=1)
    test[5], test[32] = train[0], train[100]
    whole = count_overlap([train], test)
    assert whole["exact"] == 2
    assert count_overlap([train], test, block=block) == whole


def test_cached_overlap_is_counted_once_per_key_and_again_if_its_file_is_damaged(tmp_path: Path) -> None:
    calls = []

    def count() -> dict[str, Any]:
        calls.append(1)
        return {"exact": 1, "near": 2, "of": 3}

    assert cached_overlap(tmp_path, "one", count) == cached_overlap(tmp_path, "one", count)
    assert len(calls) == 1
    cached_overlap(tmp_path, "two", count)
    assert len(calls) == 2
    for path in tmp_path.glob(".overlap-*"):
        path.write_text("{")
    assert cached_overlap(tmp_path, "one", count)["near"] == 2
    assert len(calls) == 3


def test_exchanged_overlaps_are_counted_again(tmp_path: Path) -> None:
    for number, key in enumerate(("one", "two")):
        cached_overlap(tmp_path, key, lambda number=number: {"exact": number, "near": 2, "of": 3})  # type: ignore[misc]
    one, two = (path.read_bytes() for path in sorted(tmp_path.glob(".overlap-*")))
    for path, content in zip(sorted(tmp_path.glob(".overlap-*")), (two, one), strict=True):
        path.write_bytes(content)
    assert cached_overlap(tmp_path, "one", lambda: {"exact": 9, "near": 2, "of": 3})["exact"] == 9


def test_cached_overlap_is_counted_if_the_folder_cannot_be_written(tmp_path: Path) -> None:
    assert cached_overlap(tmp_path / "missing", "one", lambda: {"exact": 1, "near": 2, "of": 3})["exact"] == 1
