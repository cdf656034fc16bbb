"""Rotations and the loss of RotNet: `bench_rotation.method`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from method_samples import make_batch, make_context, random_images, tiny_map_encoder
from torch import nn

from bench_rotation import RotationParams, build
from bench_rotation.method import all_rotations


def make_method(turns: Any = 4) -> Any:
    return build(make_context(tiny_map_encoder(), RotationParams(turns=turns)))


def test_label_one_is_a_quarter_turn_counter_clockwise() -> None:
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    rotated, labels = all_rotations(image, 4)
    assert labels.tolist() == [0, 1, 2, 3]
    assert rotated[1, 0].tolist() == [[2.0, 4.0], [1.0, 3.0]]


def test_rotations_match_numpy() -> None:
    images = random_images(3, channels=3)
    rotated, labels = all_rotations(images, 4)
    for position, label in enumerate(labels.tolist()):
        expected = np.rot90(images[position % 3].numpy(), label, axes=(1, 2))
        np.testing.assert_array_equal(rotated[position].numpy(), expected)


def test_four_quarter_turns_restore_the_image() -> None:
    images = random_images(3)
    rotated_images = images
    for _ in range(4):
        rotated_images = all_rotations(rotated_images, 4)[0][3:6]
    assert torch.equal(rotated_images, images)


def test_labels_are_equally_frequent() -> None:
    _, labels = all_rotations(random_images(5), 4)
    assert labels.bincount().tolist() == [5, 5, 5, 5]


def test_two_rotations_are_upright_and_upside_down() -> None:
    images = random_images(1)
    rotated, labels = all_rotations(images, 2)
    assert labels.tolist() == [0, 1]
    assert torch.equal(rotated[1], images[0].flip(1, 2))


def test_two_rotations_accept_oblong_images() -> None:
    assert all_rotations(torch.rand(2, 1, 4, 6), 2)[0].shape == (4, 1, 4, 6)


def test_eight_rotations_have_no_black_corner() -> None:
    rotated, labels = all_rotations(torch.full((2, 3, 32, 32), 0.7), 8)
    assert labels.bincount().tolist() == [2] * 8
    torch.testing.assert_close(rotated, torch.full((16, 3, 32, 32), 0.7))


def test_eight_rotations_are_counter_clockwise() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[..., 15:17, 20:24] = 1.0  # a spot right of the center
    rotated, _ = all_rotations(image, 8)
    axis = torch.arange(32) - 15.5
    weight = rotated[:, 0] / rotated[:, 0].sum(dim=(1, 2), keepdim=True)
    right, up = (weight * axis).sum(dim=(1, 2)), -(weight * axis[:, None]).sum(dim=(1, 2))
    degrees = torch.rad2deg(torch.atan2(up, right)) % 360
    torch.testing.assert_close(degrees, torch.arange(8) * 45.0, rtol=0, atol=1.0)
    assert torch.allclose(torch.hypot(right, up), torch.tensor(6 * math.sqrt(2)), atol=0.2)


@pytest.mark.parametrize("turns", [2, 4, 8])
def test_uniform_prediction_has_loss_log_turns(turns: int) -> None:
    method = make_method(turns)
    nn.init.zeros_(method.head.weight)
    nn.init.zeros_(method.head.bias)
    losses = method.loss(make_batch(random_images()))
    assert losses.total.item() == pytest.approx(math.log(turns), abs=1e-6)
    assert method.trivial_losses()["total"] == pytest.approx(math.log(turns))


def test_gradient_reaches_encoder_and_head() -> None:
    method = make_method()
    method.loss(make_batch(random_images())).total.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in method.parameters())


def test_training_learns_the_rotations_of_a_ramp() -> None:
    method = make_method()
    slope = torch.linspace(0, 1, 8).expand(32, 1, 8, 8)
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    for _ in range(60):
        losses = method.loss(make_batch(slope))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert losses.total.item() < 0.5 * method.trivial_losses()["total"]
    assert losses.parts["rotation_accuracy"].item() == 1.0


def test_state_dict_restores_the_method() -> None:
    first, second = make_method(), make_method()
    nn.init.normal_(second.head.weight)
    second.load_state_dict(first.state_dict())
    batch = make_batch(random_images())
    assert torch.equal(first.loss(batch).total, second.loss(batch).total)
