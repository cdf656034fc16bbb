"""Batches of images: crops, flips, statistics and subsets, against slicing, numpy and symmetry."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from generators import seeded
from torch import Tensor

from benchmark import images as image_functions


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(1, 256, shape, generator=seeded(seed), dtype=torch.uint8)


# --- crops and flips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 3, 6, 9), (25, 1, 8, 8)])
@pytest.mark.parametrize("pad", [1, 3])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_random_crop_is_a_slice_of_the_image_in_a_black_border(
    shape: tuple[int, ...], pad: int, kind: torch.dtype
) -> None:
    images = _random(*shape).to(kind)
    height, width = shape[2:]
    cropped = image_functions.random_crop(images, pad, seeded(1))
    assert cropped.dtype == kind
    assert cropped.shape == images.shape
    offsets = set()
    for image, result in zip(images.numpy(), cropped.numpy(), strict=True):
        border = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
        fitting = [
            (top, left)
            for top in range(2 * pad + 1)
            for left in range(2 * pad + 1)
            if np.array_equal(border[:, top : top + height, left : left + width], result)
        ]
        assert len(fitting) == 1
        offsets.add(fitting[0])
    assert len(offsets) > 4, "the images of a batch have different shifts"


def test_random_crop_shifts_are_equally_likely() -> None:
    count, pad = 9000, 1
    images = torch.zeros(count, 1, 5, 5, dtype=torch.uint8)
    images[:, 0, 2, 2] = 1  # one white point shows the shift
    landed = image_functions.random_crop(images, pad, seeded()).flatten(1).argmax(1)
    counts = torch.bincount(landed, minlength=25).view(5, 5)
    assert counts[0].sum() == counts[4].sum() == counts[:, 0].sum() == counts[:, 4].sum() == 0
    # 1000 expected in each of nine places, standard deviation 30
    assert counts[1:4, 1:4].sub(1000).abs().max() < 150


def test_random_crop_without_border_draws_nothing() -> None:
    images, generator = _random(4, 3, 8, 8), seeded()
    before = generator.get_state()
    assert torch.equal(image_functions.random_crop(images, 0, generator), images)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_random_flip_mirrors_about_half_of_the_images(kind: torch.dtype) -> None:
    images = _random(2000, 2, 3, 4).to(kind)
    flipped = image_functions.random_flip(images, seeded(2))
    assert flipped.dtype == kind
    mirrored = (flipped == torch.from_numpy(images.numpy()[..., ::-1].copy())).flatten(1).all(1)
    same = (flipped == images).flatten(1).all(1)
    assert bool((mirrored ^ same).all())
    assert abs(int(mirrored.sum()) - 1000) < 120  # standard deviation 22


@pytest.mark.parametrize(
    ("augmentation", "moves", "mirrors"),
    [("none", False, False), ("crop", True, False), ("flip", False, True), ("crop-flip", True, True)],
)
def test_augment_crops_and_flips_as_named(augmentation: Any, moves: bool, mirrors: bool) -> None:
    images = torch.zeros(200, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 3, 2] = 100  # with its right neighbor, the image differs from its mirror image
    images[:, 0, 3, 3] = 200
    result = image_functions.augment(images, augmentation, 1, seeded(3))
    assert result.dtype == torch.uint8
    assert result.shape == images.shape
    bright, dim = ((result == value).flatten(1).float().argmax(1) for value in (200, 100))
    assert (len(set((bright // 8).tolist())) > 1) == moves
    assert (len(set((bright - dim).tolist())) > 1) == mirrors


def test_augment_depends_on_the_generator_and_keeps_its_input() -> None:
    images = _random(16, 3, 8, 8)
    kept = images.clone()
    first, second = (image_functions.augment(images, "crop-flip", 2, seeded(4)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, image_functions.augment(images, "crop-flip", 2, seeded(5)))
    assert torch.equal(images, kept)


# --- types and statistics ---------------------------------------------------------------------------------------------


def test_to_float_divides_bytes_by_255() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    result = image_functions.to_float(images)
    assert result.dtype == torch.float32
    assert result.flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert images.flatten().tolist() == [0, 51, 255]
    assert image_functions.to_float(result) is result


@pytest.mark.parametrize("count", [7, 5000])
def test_channel_statistics_are_those_of_numpy_in_float64(count: int) -> None:
    images = _random(count, 3, 4, 5)
    images[:, 1] //= 4
    mean, std = image_functions.channel_statistics(images)
    pixels = images.numpy().astype(np.float64) / 255
    assert mean == pytest.approx(pixels.mean(axis=(0, 2, 3)), abs=1e-7)
    assert std == pytest.approx(pixels.std(axis=(0, 2, 3)), abs=1e-7)
    assert all(type(value) is float for value in (*mean, *std))


def test_channel_statistics_of_bytes_and_floats_are_equal() -> None:
    images = _random(50, 2, 4, 4)
    assert image_functions.channel_statistics(images) == image_functions.channel_statistics(
        image_functions.to_float(images)
    )


@pytest.mark.parametrize("value", [0, 128, 255])
def test_channel_statistics_of_a_constant_channel_have_std_1(value: int) -> None:
    images = torch.full((10, 2, 4, 4), value, dtype=torch.uint8)
    images[5:, 1] = 255 - value if value != 128 else 0
    mean, std = image_functions.channel_statistics(images)
    assert mean[0] == pytest.approx(value / 255)
    assert std[0] == 1.0
    assert 0 < std[1] <= 0.5


@pytest.mark.parametrize(("count", "size", "lengths"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 4, [3]), (0, 4, [])])
def test_blocks_hold_all_images_in_order(count: int, size: int, lengths: list[int]) -> None:
    images = torch.arange(count).view(-1, 1, 1, 1)
    result = list(image_functions.blocks(images, size))
    assert [len(block) for block in result] == lengths
    assert torch.equal(torch.cat([images[:0], *result]), images)


# --- subsets ----------------------------------------------------------------------------------------------------------


def _labels(*counts: int) -> Tensor:
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return labels[torch.randperm(len(labels), generator=seeded(6))]


def _shares(labels: Tensor, count: int) -> list[int]:
    return torch.bincount(
        labels[image_functions.stratified_subset(labels, count)], minlength=int(labels.max()) + 1
    ).tolist()


def test_subset_holds_different_indices_in_ascending_order() -> None:
    labels = _labels(50, 30, 20)
    result = image_functions.stratified_subset(labels, 37)
    assert result.dtype == torch.int64
    assert result.tolist() == sorted(set(result.tolist()))
    assert len(result) == 37
    assert 0 <= int(result.min()) <= int(result.max()) < 100


@pytest.mark.parametrize(
    ("counts", "count", "shares"),
    [
        ((50, 30, 20), 10, [5, 3, 2]),
        ((50, 30, 20), 50, [25, 15, 10]),
        ((100, 100), 7, [4, 3]),
        ((60, 30, 10), 9, [5, 3, 1]),  # 5.4, 2.7, 0.9: the largest remainders are rounded up
        ((97, 2, 1), 10, [8, 1, 1]),  # 9.7, 0.2, 0.1: every class keeps one
        ((97, 2, 1), 3, [1, 1, 1]),
        ((5, 3, 2), 10, [5, 3, 2]),
    ],
)
def test_subset_keeps_the_proportions_and_one_image_of_each_class(
    counts: tuple[int, ...], count: int, shares: list[int]
) -> None:
    assert _shares(_labels(*counts), count) == shares


def test_subset_neither_reads_nor_changes_the_global_random_state() -> None:
    labels = _labels(40, 40, 20)
    torch.manual_seed(1)
    first = image_functions.stratified_subset(labels, 30)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    torch.rand(100)
    assert torch.equal(image_functions.stratified_subset(labels, 30), first)
    torch.manual_seed(1)
    image_functions.stratified_subset(labels, 30)
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn from the global stream"


def test_subset_of_balanced_classes_contains_every_smaller_one() -> None:
    labels = _labels(*[30] * 4)
    sets = [set(image_functions.stratified_subset(labels, count).tolist()) for count in range(4, 121, 4)]
    assert all(smaller < larger for smaller, larger in itertools.pairwise(sets))


def test_subset_of_one_class_contains_every_smaller_one() -> None:
    labels = _labels(70, 20, 10)
    taken = [image_functions.stratified_subset(labels, count) for count in (10, 33, 77, 100)]
    for label in range(3):
        sets = [set(result[labels[result] == label].tolist()) for result in taken]
        assert sets[0] < sets[1] < sets[2] < sets[3]


def test_subset_accepts_labels_with_gaps() -> None:
    labels = torch.tensor([7] * 6 + [3] * 4)
    assert torch.bincount(labels[image_functions.stratified_subset(labels, 5)]).tolist() == [0, 0, 0, 2, 0, 0, 0, 3]


@pytest.mark.parametrize("count", [0, 2, 11, -1])
def test_subset_rejects_a_count_out_of_range(count: int) -> None:
    with pytest.raises(
        ValueError, match=rf"a subset of {count} images is not possible; valid: 3 \(the number of classes\) to 10"
    ):
        image_functions.stratified_subset(_labels(5, 3, 2), count)
