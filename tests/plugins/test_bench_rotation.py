"""RotNet: turns, labels, loss, recipes."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import benchmark
from bench_rotation import RotationParams, bench_methods, build, recipe, supports
from bench_rotation.method import all_rotations
from benchmark.encoder import NormalizedEncoder
from benchmark.testing.methods import check_method

WIDTH = 16
LAYOUT = benchmark.Layout(
    taps=(benchmark.Tap(name="map", kind="map", shape=(WIDTH, 4, 4)),), output="map", probe="map", local="map"
)


class Tiny(nn.Module):
    """One strided convolution: 8 x 8 images to a 4 x 4 map."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, WIDTH, 5, stride=2, padding=2)

    def forward(self, images: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        return {"map": self.conv(images).relu()}


def make_method(turns: Any = 4) -> Any:
    torch.manual_seed(0)
    context = benchmark.MethodContext(
        params=RotationParams(turns=turns),
        encoder=NormalizedEncoder(Tiny(), LAYOUT, (0.5,), (0.5,)),
        layout=LAYOUT,
        image_shape=(1, 8, 8),
        num_images=32,
        num_classes=None,
        total_steps=10,
        mean=(0.5,),
        std=(0.5,),
        generator=torch.Generator(),
    )
    return build(context)


def make_batch(images: Tensor) -> benchmark.Batch:
    return benchmark.Batch(
        images=images,
        raw=(images * 255).byte(),
        index=torch.arange(len(images)),
        progress=0.0,
        generator=torch.Generator().manual_seed(0),
    )


def make_setting(**changes: Any) -> benchmark.Setting:
    setting = benchmark.Setting(
        method_params=RotationParams(),
        encoder="blocknet",
        encoder_params=None,
        layout=LAYOUT,
        dataset="cifar10",
        image_shape=(3, 32, 32),
        num_images=50_000,
        num_classes=10,
        budget="paper",
    )
    return replace(setting, **changes)


def random_images(count: int = 3, channels: int = 1, side: int = 8) -> Tensor:
    return torch.rand((count, channels, side, side), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("turns", [2, 4, 8])
def test_the_method_keeps_the_contract(turns: Any) -> None:
    (spec,) = bench_methods()
    check_method(spec, RotationParams(turns=turns))


def test_label_one_is_a_quarter_turn_counter_clockwise() -> None:
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    rotated, labels = all_rotations(image, 4)
    assert labels.tolist() == [0, 1, 2, 3]
    assert rotated[1, 0].tolist() == [[2.0, 4.0], [1.0, 3.0]]


def test_each_label_is_what_numpy_turns_by_as_many_quarters() -> None:
    images = random_images(channels=3)
    rotated, labels = all_rotations(images, 4)
    for position, label in enumerate(labels.tolist()):
        expected = np.rot90(images[position % 3].numpy(), label, axes=(1, 2))
        np.testing.assert_array_equal(rotated[position].numpy(), expected)


def test_four_turns_give_back_the_image() -> None:
    images = random_images()
    turned = images
    for _ in range(4):
        turned = all_rotations(turned, 4)[0][3:6]
    assert torch.equal(turned, images)


def test_every_label_is_equally_frequent_in_every_batch() -> None:
    _, labels = all_rotations(random_images(5), 4)
    assert labels.bincount().tolist() == [5, 5, 5, 5]


def test_two_turns_are_upright_and_upside_down() -> None:
    images = random_images(1)
    rotated, labels = all_rotations(images, 2)
    assert labels.tolist() == [0, 1]
    assert torch.equal(rotated[1], images[0].flip(1, 2))


def test_half_turns_take_oblong_images() -> None:
    assert all_rotations(torch.rand(2, 1, 4, 6), 2)[0].shape == (4, 1, 4, 6)


def test_eight_turns_show_no_black_corner() -> None:
    rotated, labels = all_rotations(torch.full((2, 3, 32, 32), 0.7), 8)
    assert labels.bincount().tolist() == [2] * 8
    torch.testing.assert_close(rotated, torch.full((16, 3, 32, 32), 0.7))


def test_eight_turns_send_the_right_hand_side_round_counter_clockwise() -> None:
    image = torch.zeros(1, 1, 32, 32)
    image[..., 15:17, 20:24] = 1.0  # a spot to the right of the center
    rotated, _ = all_rotations(image, 8)
    axis = torch.arange(32) - 15.5
    weight = rotated[:, 0] / rotated[:, 0].sum(dim=(1, 2), keepdim=True)
    right, up = (weight * axis).sum(dim=(1, 2)), -(weight * axis[:, None]).sum(dim=(1, 2))
    degrees = torch.rad2deg(torch.atan2(up, right)) % 360
    torch.testing.assert_close(degrees, torch.arange(8) * 45.0, rtol=0, atol=1.0)
    assert torch.allclose(torch.hypot(right, up), torch.tensor(6 * math.sqrt(2)), atol=0.2)


def test_three_turns_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="2, 4 or 8"):
        RotationParams(turns=3)  # type: ignore[arg-type]  # what the command line may hand on


@pytest.mark.parametrize("turns", [2, 4, 8])
def test_guessing_costs_the_logarithm_of_the_number_of_turns(turns: int) -> None:
    method = make_method(turns)
    nn.init.zeros_(method.head.weight)
    nn.init.zeros_(method.head.bias)
    losses = method.loss(make_batch(random_images()))
    assert losses.total.item() == pytest.approx(math.log(turns), abs=1e-6)
    assert method.trivial_losses()["total"] == pytest.approx(math.log(turns))


def test_the_gradient_reaches_the_encoder_and_the_head() -> None:
    method = make_method()
    method.loss(make_batch(random_images())).total.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in method.parameters())


def test_training_on_slanted_images_learns_the_turns() -> None:
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


def test_a_saved_method_gives_the_same_loss_when_loaded() -> None:
    first, second = make_method(), make_method()
    nn.init.normal_(second.head.weight)
    second.load_state_dict(first.state_dict())
    batch = make_batch(random_images())
    assert torch.equal(first.loss(batch).total, second.loss(batch).total)


def test_the_paper_recipe_is_the_released_configuration() -> None:
    paper = recipe(make_setting())
    assert (paper.epochs, paper.batch, paper.optimizer, paper.lr) == (200, 128, "sgd", 0.1)
    assert (paper.momentum, paper.nesterov, paper.weight_decay) == (0.9, True, 5e-4)
    assert (paper.schedule, paper.milestones, paper.factor) == ("milestones", (60, 120, 160), 0.2)
    assert (paper.augment, paper.pad, paper.drop_last) == ("crop-flip", 4, False)  # 391 steps an epoch
    assert paper.mean == pytest.approx((0.49137, 0.48235, 0.44667), abs=1e-5)
    assert paper.std == pytest.approx((0.24706, 0.24353, 0.26157), abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "resnet18"},
        {"image_shape": (1, 32, 32)},
        {"image_shape": (3, 96, 96)},
        {"encoder_params": SimpleNamespace(init="aet", pool_after_block3=False)},
        {"encoder_params": SimpleNamespace(init="default", pool_after_block3=True)},
    ],
)
def test_there_is_no_paper_recipe_for_what_the_paper_did_not_train(change: dict[str, Any]) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=r"blocknet\[init=default\]"):
        recipe(make_setting(**change))


def test_the_quick_recipe_is_a_fixed_number_of_epochs() -> None:
    small = recipe(make_setting(budget="quick", dataset="digits", num_images=1437, image_shape=(1, 8, 8)))
    large = recipe(make_setting(budget="quick"))
    assert (small.epochs, large.epochs) == (6, 20)
    assert (small.pad, large.pad) == (1, 4)


def test_digits_are_not_mirrored() -> None:
    assert recipe(make_setting(budget="quick", dataset="digits")).augment == "crop"
    assert recipe(make_setting(budget="quick")).augment == "crop-flip"


def test_oblong_images_are_refused_with_a_reason() -> None:
    oblong = make_setting(image_shape=(3, 32, 48))
    assert supports(make_setting()) is None
    assert "32 x 48" in (supports(oblong) or "")
    assert supports(replace(oblong, method_params=RotationParams(turns=2))) is None


def test_listing_the_method_imports_no_torch() -> None:
    program = "import sys, bench_rotation; list(bench_rotation.bench_methods()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_plugin_yields_one_method_called_rotation() -> None:
    (spec,) = bench_methods()
    assert (spec.name, spec.labels, spec.params) == ("rotation", "none", RotationParams)
