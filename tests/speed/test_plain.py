"""The plain PyTorch pipeline: `benchmark.speed.plain`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from speed_samples import as_bytes, pixels

from bench_aet import AETParams, plain
from bench_rotation import RotationParams
from bench_rotation import plain as plain_rotation
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.speed.plain import PlainEncoder, PlainImages, plain_batches
from benchmark.testing.miniature import SMALL_ENCODER, small_images


def plain_images(augment: Any, pad: int = 2, channels: int = 3) -> PlainImages:
    return PlainImages(pixels(channels=channels), augment, pad, None, None)


def every_window(image: NDArray[np.uint8], pad: int) -> dict[tuple[int, int], NDArray[np.uint8]]:
    """(row, column) of the corner -> the window of the image in its black border."""
    _, height, width = image.shape
    black = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    corners = [(top, left) for top in range(2 * pad + 1) for left in range(2 * pad + 1)]
    return {(top, left): black[:, top : top + height, left : left + width] for top, left in corners}


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_image_without_augmentation_is_the_image_over_255(channels: int) -> None:
    images = pixels(channels=channels)
    dataset = plain_images("none", channels=channels)
    assert len(dataset) == 6
    for index, image in enumerate(images):
        actual, numbers = dataset[index]
        assert actual.dtype == torch.float32
        assert actual.is_contiguous()
        np.testing.assert_allclose(actual.numpy(), image / 255, rtol=1e-6)
        assert numbers.numel() == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_plain_crop_is_every_window_of_the_padded_image(channels: int) -> None:
    image = pixels(channels=channels)[2]
    windows = every_window(image, 1)
    dataset = plain_images("crop", pad=1, channels=channels)
    seen = set()
    for _ in range(200):
        actual = as_bytes(dataset[2][0])
        which = [corner for corner, window in windows.items() if np.array_equal(actual, window)]
        assert len(which) == 1
        seen.add(which[0])
    assert seen == set(windows)  # each is missing in 200 draws with a probability of 6e-11


def test_plain_flip_mirrors_half_of_the_images() -> None:
    image = pixels()[1]
    dataset = plain_images("flip")
    mirrored = 0
    for _ in range(400):
        actual = as_bytes(dataset[1][0])
        is_mirrored = np.array_equal(actual, image[:, :, ::-1])
        assert is_mirrored or np.array_equal(actual, image)
        mirrored += is_mirrored
    assert abs(mirrored - 200) < 50  # five standard deviations


def test_plain_crop_flip_is_a_window_possibly_mirrored() -> None:
    windows = [window.tobytes() for window in every_window(pixels()[0], 2).values()]
    dataset = plain_images("crop-flip")
    seen = set()
    for _ in range(60):
        actual = as_bytes(dataset[0][0])
        straight, mirrored = actual.tobytes() in windows, actual[:, :, ::-1].tobytes() in windows
        assert straight or mirrored
        seen.add(mirrored)
    assert seen == {False, True}


def test_plain_crop_without_padding_does_not_change_the_image() -> None:
    np.testing.assert_array_equal(as_bytes(plain_images("crop", pad=0)[3][0]), pixels()[3])


def test_plain_batches_repeat_and_drop_the_last_batch() -> None:
    batches = plain_batches(plain_images("none"), 4, 0)
    for _ in range(5):
        images, numbers = next(batches)
        assert images.shape == (4, 3, 8, 8)
        assert numbers.shape == (4, 0)


def test_plain_batch_is_at_most_the_dataset() -> None:
    assert len(next(plain_batches(plain_images("none"), 64, 0))[0]) == 6


def test_plain_workers_have_different_crops() -> None:
    """The first batch comes from one worker, the second from the other; all images are the same."""
    images = np.repeat(pixels(1), 32, axis=0)
    batches = plain_batches(PlainImages(images, "crop-flip", 2, None, None), 16, 2)
    first, second = next(batches)[0], next(batches)[0]
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    assert not torch.equal(first, second)


def test_plain_encoder_is_the_encoder_with_contiguous_tensors() -> None:
    def fresh() -> NormalizedEncoder:
        return build_encoder(
            SMALL_ENCODER,
            SMALL_ENCODER.params(),
            (3, 16, 16),
            num_images=4,
            seed=0,
            mean=[0.4, 0.5, 0.6],
            std=[0.3, 0.2, 0.1],
        )

    images = small_images(8)[0].float() / 255
    ours, theirs = fresh(), PlainEncoder(fresh())
    assert all(tensor.is_contiguous() for tensor in theirs.state_dict().values())
    assert list(theirs.state_dict()) == list(ours.state_dict())
    taps = ("conv1", "conv2")
    expected, actual = ours(images, taps), theirs(images, taps)
    for tap in taps:
        assert actual[tap].is_contiguous()
        torch.testing.assert_close(actual[tap], expected[tap], rtol=1e-4, atol=1e-5)


def test_plain_images_returns_views_with_their_targets() -> None:
    params = AETParams()
    images, copies, numbers = PlainImages(pixels(), "none", 0, plain.plain_views, params)[4]
    np.testing.assert_array_equal(as_bytes(images), pixels()[4])
    assert copies.shape == images.shape
    assert numbers.shape == (8,)
    actual = PlainImages(pixels(), "none", 0, plain_rotation.plain_views, RotationParams())[4]
    assert [tuple(each.shape) for each in actual] == [(3, 8, 8)] * 4 + [(4,)]
