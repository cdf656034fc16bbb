"""AET: the laws that transformations are drawn from, their targets, the loss, recipes."""

from __future__ import annotations

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
from bench_aet import AETParams, bench_methods, build, recipe, supports
from bench_aet.transforms import FAMILIES, Affine, Projective, Similarity, constant_loss
from bench_encoders import bench_encoders
from benchmark.api.parameters import as_dict, label
from benchmark.encoder import NormalizedEncoder
from benchmark.testing.methods import check_method
from benchmark.warp import homography

WIDTH = 16
LAYOUT = benchmark.Layout(
    taps=(benchmark.Tap(name="map", kind="map", shape=(WIDTH, 4, 4)),), output="map", probe="map", local="map"
)
GRAY = 128 / 255


class Tiny(nn.Module):
    """Two convolutions with batch normalization: 8 x 8 images to a 4 x 4 map."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 4, stride=2, padding=1),
            nn.ReLU(),
        )

    def forward(self, images: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        return {"map": self.layers(images)}


def make_context(encoder: Any, layout: benchmark.Layout, **params: Any) -> benchmark.MethodContext:
    return benchmark.MethodContext(
        params=AETParams(**params),
        encoder=encoder,
        layout=layout,
        image_shape=(1, 8, 8),
        num_images=32,
        num_classes=None,
        total_steps=10,
        mean=(0.5,),
        std=(0.5,),
        generator=torch.Generator(),
    )


def make_method(**params: Any) -> Any:
    torch.manual_seed(0)
    return build(make_context(NormalizedEncoder(Tiny(), LAYOUT, (0.5,), (0.5,)), LAYOUT, **params))


def make_batch(images: Tensor, seed: int = 0) -> benchmark.Batch:
    return benchmark.Batch(
        images=images,
        raw=(images * 255).byte(),
        index=torch.arange(len(images)),
        progress=0.0,
        generator=torch.Generator().manual_seed(seed),
    )


def make_setting(**changes: Any) -> benchmark.Setting:
    setting = benchmark.Setting(
        method_params=AETParams(),
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


def random_images(count: int = 8, side: int = 8) -> Tensor:
    return torch.rand((count, 1, side, side), generator=torch.Generator().manual_seed(1))


def drawn(family: Any, count: int = 400_000) -> Tensor:
    parameters: Tensor = family.draw(count, torch.Generator().manual_seed(0))
    return parameters


@pytest.mark.parametrize("transform", ["affine", "projective", "similarity"])
def test_the_method_keeps_the_contract(transform: Any) -> None:
    (spec,) = bench_methods()
    check_method(spec, AETParams(transform=transform))


# --- the laws -----------------------------------------------------------------------------------------------------------


def test_affine_targets_have_the_published_variances_at_32_pixels() -> None:
    targets = Affine(32).target(drawn(Affine(32)))
    np.testing.assert_allclose(targets.mean(0).numpy(), np.zeros(6), atol=5e-3)
    np.testing.assert_allclose(targets.var(0).numpy(), [0.5, 0.5, 0.33340, 0.33340, 1 / 3, 1 / 3], atol=3e-3)
    assert targets.abs().amax(0)[2:4].tolist() == [0.9375, 0.9375]  # 6 / 6.4


def test_affine_parameters_fill_the_published_ranges() -> None:
    angle, x, y, scale, shear = drawn(Affine(32)).unbind(1)
    for values, limit in ((angle, 180.0), (scale - 1, 0.3), (shear, 30.0)):
        assert values.abs().max() <= limit * (1 + 1e-6)
        assert values.min() < -0.99 * limit
        assert values.max() > 0.99 * limit
    assert set(torch.cat([x, y]).tolist()) == set(range(-6, 7))


def test_affine_translations_at_8_pixels_are_whole_and_their_targets_can_be_said() -> None:
    # round(U(-1.6, 1.6)): 0 and +-1 with .3125 each, +-2 with .03125 each
    family = Affine(8)
    parameters = drawn(family)
    share = [(parameters[:, 1] == pixels).float().mean().item() for pixels in range(-2, 3)]
    assert share == pytest.approx([0.03125, 0.3125, 0.3125, 0.3125, 0.03125], abs=5e-3)
    assert family.target(parameters).abs().max() <= 1 + 1e-6


def test_projective_coefficients_have_the_measured_means_and_deviations_at_32_pixels() -> None:
    coefficients = drawn(Projective(32))
    mean, deviation = coefficients.mean(0).numpy(), coefficients.std(0).numpy()
    np.testing.assert_allclose(mean[[2, 5]], [16.04, 16.05], atol=0.1)
    np.testing.assert_allclose(
        mean[[0, 1, 3, 4]], [0.006, 0.010, 0.008, 0.006], atol=6e-3
    )  # 3.5 standard errors of both
    np.testing.assert_allclose(mean[6:], [6e-4, 6e-4], atol=6e-5)
    np.testing.assert_allclose(deviation[[0, 1, 3, 4]], [0.764, 0.764, 0.763, 0.764], atol=5e-3)
    np.testing.assert_allclose(deviation[[2, 5]], [17.0, 17.0], atol=0.05)
    np.testing.assert_allclose(deviation[6:], [0.00613, 0.00614], atol=1e-4)


def test_projective_targets_have_the_measured_variances_at_32_pixels() -> None:
    targets = Projective(32).target(drawn(Projective(32)))
    published = [0.583, 0.583, 0.723, 0.582, 0.583, 0.724, 0.167, 0.167]
    np.testing.assert_allclose(targets.var(0).numpy(), published, atol=6e-3)


def test_projective_corners_move_by_whole_pixels_within_an_eighth_of_the_side() -> None:
    for side, most in ((8, 1), (32, 4)):
        coefficients = Projective(side).draw(4000, torch.Generator().manual_seed(0)).double()
        # The matrix leads from moved corners to the image's: its inverse gives the moved ones back.
        matrix = torch.cat([coefficients, torch.ones(4000, 1)], dim=1).view(-1, 3, 3)
        corners = torch.tensor([[0, 0, 1], [side, 0, 1], [side, side, 1], [0, side, 1]], dtype=torch.float64)
        moved = torch.linalg.inv(matrix) @ corners.T
        moved = (moved[:, :2] / moved[:, 2:]).transpose(1, 2)
        center = (side + 1) / 2
        # Which corner each has become is where it lies, up to the shifts; the scale is common to all eight coordinates.
        scale = torch.linspace(0.8, 1.2, 401, dtype=torch.float64)
        signs = (moved - center).sign()
        ideal = torch.where(signs > 0, side - center, -center)
        shifts = moved[:, None] - center - ideal[:, None] * scale[:, None, None]
        misfit = (shifts - shifts.round()).abs().amax((2, 3)) + (shifts.abs().amax((2, 3)) > most + 0.1)
        assert misfit.amin(1).max() < 0.05


@pytest.mark.parametrize(("side", "affine"), [(32, 0.38891), (8, 0.35070)])
def test_the_best_constant_answer_to_affine_costs_the_variance_of_the_targets(side: int, affine: float) -> None:
    # at 8 pixels: translations have variance (2 * .3125 + 2 * .03125 * 4) / 2^2 = .21875
    assert constant_loss(Affine(side)) == pytest.approx(affine, abs=2e-3)


def test_the_best_constant_answer_to_projective_costs_what_was_measured() -> None:
    assert constant_loss(Projective(32)) == pytest.approx(0.514, abs=5e-3)


def test_similarity_is_affine_without_shear() -> None:
    parameters = drawn(Similarity(32), 1000)
    assert torch.all(parameters[:, 4] == 0)
    assert torch.equal(Similarity(32).target(parameters), Affine(32).target(parameters)[:, :5])


# --- targets and pictures -----------------------------------------------------------------------------------------------


def test_the_affine_identity_has_its_target_and_leaves_the_picture() -> None:
    identity = torch.tensor([[0.0, 0, 0, 1, 0]])
    images = random_images(1, 32)
    assert Affine(32).target(identity).tolist() == [[1, 0, 0, 0, 0, 0]]
    assert torch.equal(Affine(32).warp(images, identity, GRAY), images)


def test_the_projective_identity_has_its_target_and_leaves_the_picture() -> None:
    identity = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]])
    images = random_images(1, 32)
    np.testing.assert_allclose(Projective(32).target(identity)[0].numpy(), [1, 0, -0.8, 0, 1, -0.8, 0, 0], atol=1e-6)
    assert torch.equal(Projective(32).warp(images, identity, GRAY), images)


def test_affine_targets_are_each_value_over_its_largest() -> None:
    parameters = torch.tensor([[90.0, 3.2, -6.4, 1.3, -15.0]])
    np.testing.assert_allclose(Affine(32).target(parameters)[0].numpy(), [0, 1, 0.5, -1, 1, -0.5], atol=1e-6)


def test_a_positive_translation_moves_the_picture_to_the_right_and_down() -> None:
    images = random_images(1, 32)
    moved = Affine(32).warp(images, torch.tensor([[0.0, 5, 2, 1, 0]]), GRAY)
    torch.testing.assert_close(moved[..., 2:, 5:], images[..., :-2, :-5], rtol=0, atol=1e-5)
    assert torch.all(moved[..., :2, :] == GRAY)


def test_half_a_turn_moves_the_picture_by_the_pixel_that_the_center_is_off() -> None:
    images = random_images(1, 32)
    turned = Affine(32).warp(images, torch.tensor([[180.0, 0, 0, 1, 0]]), GRAY)
    torch.testing.assert_close(turned[..., 1:, 1:], images.flip(-1, -2)[..., :-1, :-1], rtol=0, atol=1e-4)


def test_a_projective_quarter_is_a_turn_clockwise() -> None:
    # No scale and no shift: what is left of the law is the quarter turn.
    corners = torch.tensor([[[32.0, 0], [32, 32], [0, 32], [0, 0]]])
    coefficients = homography(corners, corners.roll(1, dims=1))
    assert coefficients.tolist() == [[0, 1, 0, -1, 0, 32, 0, 0]]
    images = random_images(1, 32)
    assert torch.equal(Projective(32).warp(images, coefficients, GRAY), images.rot90(-1, (2, 3)))


def test_all_four_quarters_are_equally_frequent() -> None:
    a, b = drawn(Projective(32), 20_000)[:, :2].unbind(1)
    quarter = torch.where(a.abs() > b.abs(), torch.where(a > 0, 0, 2), torch.where(b > 0, 1, 3))
    assert (quarter.bincount() / 20_000).tolist() == pytest.approx([0.25] * 4, abs=0.015)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_keeps_its_own_promises(name: str) -> None:
    family, images = FAMILIES[name](8), random_images(16)
    parameters = family.draw(16, torch.Generator().manual_seed(3))
    warped, targets = family.warp(images, parameters, 0.25), family.target(parameters)
    assert warped.shape == images.shape
    assert targets.shape == (16, family.targets)
    assert targets.dtype == warped.dtype == torch.float32
    assert not torch.equal(warped, images)
    assert torch.equal(parameters, family.draw(16, torch.Generator().manual_seed(3)))


# --- the method ---------------------------------------------------------------------------------------------------------


def test_a_decoder_that_knows_nothing_costs_the_constant_loss() -> None:
    method = make_method(transform="affine")
    nn.init.zeros_(method.decoder.weight)
    losses = [method.loss(make_batch(random_images(500), seed)).total.item() for seed in range(10)]
    variance_and_mean = method.trivial_losses()["total"]
    assert np.mean(losses) == pytest.approx(variance_and_mean, abs=0.01)


def test_the_affine_answer_is_bounded_and_the_projective_one_is_not() -> None:
    for transform, bounded in (("affine", True), ("similarity", True), ("projective", False)):
        method = make_method(transform=transform)
        nn.init.constant_(method.decoder.bias, 7.0)
        answer = method.predict(random_images(), random_images())
        assert bool((answer.abs() <= 1).all()) is bounded


def test_the_decoder_starts_with_a_bias_of_zero() -> None:
    assert torch.all(make_method().decoder.bias == 0)


@pytest.mark.parametrize("statistics", ["separate", "joint"])
def test_gradients_reach_the_encoder_from_both_branches(statistics: str) -> None:
    for branch in range(2):
        method = make_method(statistics=statistics)
        images = [random_images().requires_grad_(), random_images().flip(-1).requires_grad_()]
        with torch.no_grad():
            method.decoder.weight[:, branch * WIDTH : (branch + 1) * WIDTH] = 0  # this branch is not listened to
        method.predict(*images).square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in method.encoder.parameters())
        heard = images[1 - branch].grad
        assert heard is not None
        assert heard.abs().sum() > 0


def test_separate_branches_update_running_statistics_twice_and_joint_ones_once() -> None:
    for statistics, times in (("separate", 2), ("joint", 1)):
        method = make_method(statistics=statistics)
        method.loss(make_batch(random_images()))
        assert method.encoder.network.layers[1].num_batches_tracked.item() == times


def test_separate_branches_are_normalized_each_by_its_own_batch() -> None:
    bright, dark = random_images(), random_images() * 0.1
    separate, joint = make_method(statistics="separate"), make_method(statistics="joint")
    joint.load_state_dict(separate.state_dict())
    assert not torch.allclose(separate.predict(bright, dark), joint.predict(bright, dark))
    separate.eval()
    joint.eval()
    joint.load_state_dict(separate.state_dict())
    torch.testing.assert_close(separate.predict(bright, dark), joint.predict(bright, dark))


def test_the_fill_is_gray_or_black_as_asked_for() -> None:
    assert make_method().fill == pytest.approx(128 / 255)
    assert make_method(fill="black").fill == 0.0


@pytest.mark.parametrize("transform", ["affine", "projective"])
def test_a_short_training_beats_the_best_constant_answer(transform: str) -> None:
    method = make_method(transform=transform)
    ramp = torch.linspace(0, 1, 8)
    images = (0.7 * ramp[:, None] + 0.3 * ramp.square()).expand(64, 1, 8, 8)
    optimizer = torch.optim.Adam(method.parameters(), 5e-3)
    losses = []
    for step in range(120):
        total = method.loss(make_batch(images, step)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert np.median(losses[-30:]) < 0.75 * method.trivial_losses()["total"]


def test_a_saved_method_gives_the_same_loss_when_loaded() -> None:
    first, second = make_method(), make_method()
    nn.init.normal_(second.decoder.weight)
    second.load_state_dict(first.state_dict())
    batch = random_images()
    assert torch.equal(first.loss(make_batch(batch)).total, second.loss(make_batch(batch)).total)


@pytest.mark.parametrize(("transform", "parameters"), [("affine", 1_412_678), ("projective", 1_413_448)])
def test_with_blocknet_the_method_has_the_published_number_of_parameters(transform: str, parameters: int) -> None:
    spec = next(spec for spec in bench_encoders() if spec.name == "blocknet")
    shape, defaults = (3, 32, 32), spec.params()
    network = spec.build(benchmark.EncoderContext(params=defaults, image_shape=shape))
    layout = spec.layout(defaults, shape)
    encoder = NormalizedEncoder(network, layout, (0.5,) * 3, (0.5,) * 3)
    method = build(replace(make_context(encoder, layout, transform=transform), image_shape=shape))
    assert sum(parameter.numel() for parameter in method.parameters()) == parameters


# --- the loss of images -------------------------------------------------------------------------------------------------


def smooth_images(count: int = 4, side: int = 8) -> Tensor:
    return nn.functional.interpolate(random_images(count, 4), size=side, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_targets_turned_round_are_the_parameters_or_make_the_same_picture(name: str, side: int) -> None:
    family = FAMILIES[name](side)
    parameters = drawn(family, 2000)
    again = family.parameters(family.target(parameters))
    tolerance = 1e-4 * parameters.abs().amax(0).clamp_min(1e-2)
    assert torch.all((again - parameters).abs() <= tolerance)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_truth_costs_no_difference_of_images_and_a_constant_answer_costs_some(name: str) -> None:
    method = make_method(transform=name, loss="image")
    images, family = smooth_images(64), FAMILIES[name](8)
    parameters = drawn(family, 64)
    copies, truth = family.warp(images, parameters, GRAY), family.target(parameters)
    exact = method.image_loss(images, copies, truth).total.item()
    constant = method.image_loss(images, copies, truth.mean(0).expand_as(truth)).total.item()
    assert exact < 1e-5
    assert constant > 0.01


def test_saying_the_identity_costs_what_leaving_the_image_costs() -> None:
    method = make_method(transform="affine", loss="image")
    images = smooth_images()
    identity = torch.tensor([[1.0, 0, 0, 0, 0, 0]]).expand(4, 6)
    losses = method.image_loss(images, images.flip(-1), identity)
    assert losses.total.item() == pytest.approx(losses.parts["unmoved"].item(), rel=1e-4)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_difference_of_images_moves_an_answer_towards_the_truth(name: str) -> None:
    family, images = FAMILIES[name](8), smooth_images(1)
    method = make_method(transform=name, loss="image")
    parameters = drawn(family, 1)
    copies, truth = family.warp(images, parameters, GRAY), family.target(parameters)
    answer = (truth + 0.02).clamp(-0.99, 0.99) if family.bounded else truth + 0.02
    answer.requires_grad_()
    before = method.image_loss(images, copies, answer).total
    (gradient,) = torch.autograd.grad(before, answer)
    assert torch.isfinite(gradient).all()
    after = method.image_loss(images, copies, answer - 1e-4 * gradient / gradient.norm()).total
    assert after < before


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("value", [0.0, 1e-9, -1.0, 50.0, -50.0])
def test_whatever_the_decoder_says_gives_a_picture_and_a_finite_gradient(name: str, value: float) -> None:
    family, images = FAMILIES[name](8), smooth_images()
    answer = torch.full((4, family.targets), value, requires_grad=True)
    parameters = family.parameters(answer)
    warped = family.warp(images, parameters, GRAY)
    warped.square().sum().backward()
    assert torch.isfinite(warped).all()
    assert answer.grad is not None
    assert torch.isfinite(answer.grad).all()
    if name != "projective":
        assert torch.all(parameters[:, 3] >= 0.7 - 1e-6)


def test_a_told_projective_map_stays_off_the_horizon() -> None:
    answer = torch.randn((500, 8), generator=torch.Generator().manual_seed(0)) * 20
    g, h = Projective(32).parameters(answer)[:, 6:].unbind(1)
    corners = torch.stack([g * x + h * y + 1 for x in (0, 32) for y in (0, 32)])
    assert corners.min() > 0.0199


def test_with_the_loss_of_images_gradients_reach_decoder_and_encoder() -> None:
    method = make_method(loss="image")
    losses = method.loss(make_batch(smooth_images(8)))
    losses.total.backward()
    for parameter in method.parameters():
        assert torch.isfinite(parameter.grad).all()
    assert method.decoder.weight.grad.abs().sum() > 0
    assert method.encoder.network.layers[0].weight.grad.abs().sum() > 0
    assert method.trivial_losses() == {}


def test_aet_with_the_loss_of_images_keeps_the_contract() -> None:
    (spec,) = bench_methods()
    check_method(spec, AETParams(loss="image"))


def test_the_defaults_are_the_cells_that_they_were_before_the_loss_could_be_chosen() -> None:
    (spec,) = bench_methods()
    assert spec.identity is not None
    old = {"transform": "projective", "fill": "gray", "statistics": "separate"}
    assert spec.identity(AETParams()) == old
    assert spec.version == 1
    assert label("aet", spec.identity(AETParams()), as_dict(AETParams())) == "aet"
    assert spec.identity(AETParams(loss="image")) == {**old, "loss": "image"}
    assert label("aet", spec.identity(AETParams(loss="image")), as_dict(AETParams())) == "aet[loss=image]"


def test_the_paper_recipe_is_not_for_the_loss_of_images() -> None:
    with pytest.raises(benchmark.UnsupportedError, match="loss=image"):
        recipe(make_setting(method_params=AETParams(loss="image")))


# --- recipes ------------------------------------------------------------------------------------------------------------


def test_the_paper_recipe_is_the_released_script() -> None:
    paper = recipe(make_setting())
    assert (paper.epochs, paper.batch, paper.optimizer, paper.lr) == (1500, 512, "sgd", 0.1)
    assert (paper.momentum, paper.nesterov, paper.weight_decay) == (0.9, True, 5e-4)
    assert (paper.augment, paper.pad, paper.drop_last) == ("crop-flip", 4, False)  # 98 steps an epoch
    assert paper.mean == (0.4914, 0.4822, 0.4465)
    assert paper.std == (0.2023, 0.1994, 0.2010)


def test_the_paper_recipe_has_the_released_learning_rates() -> None:
    from benchmark.training.optimizer import learning_rate

    paper = recipe(make_setting())
    expected = {0: 0.1, 239: 0.1, 240: 0.02, 480: 0.004, 640: 0.0008, 800: 1.6e-4, 999: 1.6e-4, 1000: 1.597e-4}
    expected |= {1250: 8.47e-5, 1499: 1e-5}
    rates = {epoch: learning_rate(paper, epoch * 98, 98) for epoch in expected}
    assert rates == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "resnet18"},
        {"image_shape": (1, 32, 32)},
        {"image_shape": (3, 96, 96)},
        {"encoder_params": SimpleNamespace(blocks=4, init="default", pool_after_block3=False)},
        {"encoder_params": SimpleNamespace(blocks=3, init="aet", pool_after_block3=False)},
    ],
)
def test_there_is_no_paper_recipe_for_what_the_paper_did_not_train(change: dict[str, Any]) -> None:
    with pytest.raises(benchmark.UnsupportedError, match="blocknet as it is by default"):
        recipe(make_setting(**change))


def test_there_is_no_paper_recipe_for_a_family_that_was_not_published() -> None:
    with pytest.raises(benchmark.UnsupportedError, match="affine and projective"):
        recipe(make_setting(method_params=AETParams(transform="similarity")))


def test_the_quick_recipe_is_a_fixed_number_of_epochs() -> None:
    small = recipe(make_setting(budget="quick", dataset="digits", num_images=1437, image_shape=(1, 8, 8)))
    large = recipe(make_setting(budget="quick"))
    assert (small.epochs, small.pad, small.augment) == (6, 1, "crop")
    assert (large.epochs, large.pad, large.augment) == (20, 4, "crop-flip")


def test_oblong_images_are_refused_with_a_reason() -> None:
    assert supports(make_setting()) is None
    assert "32 x 48" in (supports(make_setting(image_shape=(3, 32, 48))) or "")


def test_listing_the_method_imports_no_torch() -> None:
    program = "import sys, bench_aet; list(bench_aet.bench_methods()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_plugin_yields_one_method_called_aet_and_projective_by_default() -> None:
    (spec,) = bench_methods()
    assert (spec.name, spec.labels, spec.params) == ("aet", "none", AETParams)
    assert AETParams().transform == "projective"


def test_every_family_can_be_asked_for_by_name() -> None:
    from typing import get_args, get_type_hints

    assert set(get_args(get_type_hints(AETParams)["transform"])) == set(FAMILIES)
