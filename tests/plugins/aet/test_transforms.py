"""The families of transformations of AET: `bench_aet.transforms`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from method_samples import random_images
from tiny_aet import GRAY, draw_parameters, smooth_images

from bench_aet.transforms import FAMILIES, Affine, Projective, Similarity, constant_loss
from benchmark.warp import homography


def test_affine_targets_have_the_published_variances_at_32_pixels() -> None:
    targets = Affine(32).target(draw_parameters(Affine(32)))
    np.testing.assert_allclose(targets.mean(0).numpy(), np.zeros(6), atol=5e-3)
    np.testing.assert_allclose(targets.var(0).numpy(), [0.5, 0.5, 0.33340, 0.33340, 1 / 3, 1 / 3], atol=3e-3)
    assert targets.abs().amax(0)[2:4].tolist() == [0.9375, 0.9375]  # 6 / 6.4


def test_affine_parameters_fill_the_published_ranges() -> None:
    angle, x, y, scale, shear = draw_parameters(Affine(32)).unbind(1)
    for values, limit in ((angle, 180.0), (scale - 1, 0.3), (shear, 30.0)):
        assert values.abs().max() <= limit * (1 + 1e-6)
        assert values.min() < -0.99 * limit
        assert values.max() > 0.99 * limit
    assert set(torch.cat([x, y]).tolist()) == set(range(-6, 7))


def test_affine_translations_at_8_pixels_have_targets_in_range() -> None:
    # round(U(-1.6, 1.6)): 0 and +-1 with .3125 each, +-2 with .03125 each
    family = Affine(8)
    parameters = draw_parameters(family)
    share = [(parameters[:, 1] == pixels).float().mean().item() for pixels in range(-2, 3)]
    assert share == pytest.approx([0.03125, 0.3125, 0.3125, 0.3125, 0.03125], abs=5e-3)
    assert family.target(parameters).abs().max() <= 1 + 1e-6


def test_projective_coefficients_have_the_measured_moments() -> None:
    coefficients = draw_parameters(Projective(32))
    mean, deviation = coefficients.mean(0).numpy(), coefficients.std(0).numpy()
    np.testing.assert_allclose(mean[[2, 5]], [16.04, 16.05], atol=0.1)
    np.testing.assert_allclose(mean[[0, 1, 3, 4]], [0.006, 0.010, 0.008, 0.006], atol=6e-3)  # 3.5 standard errors
    np.testing.assert_allclose(mean[6:], [6e-4, 6e-4], atol=6e-5)
    np.testing.assert_allclose(deviation[[0, 1, 3, 4]], [0.764, 0.764, 0.763, 0.764], atol=5e-3)
    np.testing.assert_allclose(deviation[[2, 5]], [17.0, 17.0], atol=0.05)
    np.testing.assert_allclose(deviation[6:], [0.00613, 0.00614], atol=1e-4)


def test_projective_targets_have_the_measured_variances() -> None:
    targets = Projective(32).target(draw_parameters(Projective(32)))
    published = [0.583, 0.583, 0.723, 0.582, 0.583, 0.724, 0.167, 0.167]
    np.testing.assert_allclose(targets.var(0).numpy(), published, atol=6e-3)


def test_projective_corners_move_by_whole_pixels_within_range() -> None:
    for side, max_shift in ((8, 1), (32, 4)):
        coefficients = Projective(side).draw(4000, torch.Generator().manual_seed(0)).double()
        # The matrix maps moved corners to the image's corners; its inverse gives the moved corners.
        matrix = torch.cat([coefficients, torch.ones(4000, 1)], dim=1).view(-1, 3, 3)
        corners = torch.tensor([[0, 0, 1], [side, 0, 1], [side, side, 1], [0, side, 1]], dtype=torch.float64)
        moved = torch.linalg.inv(matrix) @ corners.T
        moved = (moved[:, :2] / moved[:, 2:]).transpose(1, 2)
        center = (side + 1) / 2
        # The position of a moved corner identifies its corner, up to the shifts. All eight coordinates have the same scale.
        scale = torch.linspace(0.8, 1.2, 401, dtype=torch.float64)
        side_of_center = (moved - center).sign()
        ideal = torch.where(side_of_center > 0, side - center, -center)
        shifts = moved[:, None] - center - ideal[:, None] * scale[:, None, None]
        error = (shifts - shifts.round()).abs().amax((2, 3)) + (shifts.abs().amax((2, 3)) > max_shift + 0.1)
        assert error.amin(1).max() < 0.05


@pytest.mark.parametrize(("side", "affine"), [(32, 0.38891), (8, 0.35070)])
def test_constant_loss_of_affine_is_the_variance_of_its_targets(side: int, affine: float) -> None:
    # at 8 pixels: translations have variance (2 * .3125 + 2 * .03125 * 4) / 2^2 = .21875
    assert constant_loss(Affine(side)) == pytest.approx(affine, abs=2e-3)


def test_constant_loss_of_projective_is_the_measured_one() -> None:
    assert constant_loss(Projective(32)) == pytest.approx(0.514, abs=5e-3)


def test_similarity_is_affine_without_shear() -> None:
    parameters = draw_parameters(Similarity(32), 1000)
    assert torch.all(parameters[:, 4] == 0)
    assert torch.equal(Similarity(32).target(parameters), Affine(32).target(parameters)[:, :5])


def test_affine_identity_does_not_change_the_image() -> None:
    identity = torch.tensor([[0.0, 0, 0, 1, 0]])
    images = random_images(1, 32)
    assert Affine(32).target(identity).tolist() == [[1, 0, 0, 0, 0, 0]]
    assert torch.equal(Affine(32).warp(images, identity, GRAY), images)


def test_projective_identity_does_not_change_the_image() -> None:
    identity = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]])
    images = random_images(1, 32)
    np.testing.assert_allclose(Projective(32).target(identity)[0].numpy(), [1, 0, -0.8, 0, 1, -0.8, 0, 0], atol=1e-6)
    assert torch.equal(Projective(32).warp(images, identity, GRAY), images)


def test_affine_targets_are_parameters_divided_by_their_maximum() -> None:
    parameters = torch.tensor([[90.0, 3.2, -6.4, 1.3, -15.0]])
    np.testing.assert_allclose(Affine(32).target(parameters)[0].numpy(), [0, 1, 0.5, -1, 1, -0.5], atol=1e-6)


def test_positive_translation_moves_right_and_down() -> None:
    images = random_images(1, 32)
    moved = Affine(32).warp(images, torch.tensor([[0.0, 5, 2, 1, 0]]), GRAY)
    torch.testing.assert_close(moved[..., 2:, 5:], images[..., :-2, :-5], rtol=0, atol=1e-5)
    assert torch.all(moved[..., :2, :] == GRAY)


def test_half_turn_shifts_by_the_offset_of_the_center() -> None:
    images = random_images(1, 32)
    rotated = Affine(32).warp(images, torch.tensor([[180.0, 0, 0, 1, 0]]), GRAY)
    torch.testing.assert_close(rotated[..., 1:, 1:], images.flip(-1, -2)[..., :-1, :-1], rtol=0, atol=1e-4)


def test_projective_quarter_turn_is_clockwise() -> None:
    # No scale and no shift: only the quarter turn.
    corners = torch.tensor([[[32.0, 0], [32, 32], [0, 32], [0, 0]]])
    coefficients = homography(corners, corners.roll(1, dims=1))
    assert coefficients.tolist() == [[0, 1, 0, -1, 0, 32, 0, 0]]
    images = random_images(1, 32)
    assert torch.equal(Projective(32).warp(images, coefficients, GRAY), images.rot90(-1, (2, 3)))


def test_projective_quarter_turns_are_equally_frequent() -> None:
    a, b = draw_parameters(Projective(32), 20_000)[:, :2].unbind(1)
    quarter = torch.where(a.abs() > b.abs(), torch.where(a > 0, 0, 2), torch.where(b > 0, 1, 3))
    assert (quarter.bincount() / 20_000).tolist() == pytest.approx([0.25] * 4, abs=0.015)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_family_draws_warps_and_encodes(name: str) -> None:
    family, images = FAMILIES[name](8), random_images(16)
    parameters = family.draw(16, torch.Generator().manual_seed(3))
    warped, targets = family.warp(images, parameters, 0.25), family.target(parameters)
    assert warped.shape == images.shape
    assert targets.shape == (16, family.targets)
    assert targets.dtype == warped.dtype == torch.float32
    assert not torch.equal(warped, images)
    assert torch.equal(parameters, family.draw(16, torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_parameters_invert_targets(name: str, side: int) -> None:
    family = FAMILIES[name](side)
    parameters = draw_parameters(family, 2000)
    restored = family.parameters(family.target(parameters))
    tolerance = 1e-4 * parameters.abs().amax(0).clamp_min(1e-2)
    assert torch.all((restored - parameters).abs() <= tolerance)


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("value", [0.0, 1e-9, -1.0, 50.0, -50.0])
def test_any_prediction_gives_a_finite_image_and_gradient(name: str, value: float) -> None:
    family, images = FAMILIES[name](8), smooth_images()
    prediction = torch.full((4, family.targets), value, requires_grad=True)
    parameters = family.parameters(prediction)
    warped = family.warp(images, parameters, GRAY)
    warped.square().sum().backward()
    assert torch.isfinite(warped).all()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    if name != "projective":
        assert torch.all(parameters[:, 3] >= 0.7 - 1e-6)


def test_predicted_projective_map_stays_above_the_horizon() -> None:
    prediction = torch.randn((500, 8), generator=torch.Generator().manual_seed(0)) * 20
    g, h = Projective(32).parameters(prediction)[:, 6:].unbind(1)
    corners = torch.stack([g * x + h * y + 1 for x in (0, 32) for y in (0, 32)])
    assert corners.min() > 0.0199
