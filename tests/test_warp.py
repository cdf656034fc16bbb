"""Warps of batches of images, against Pillow, against torch and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from generators import seeded
from PIL import Image
from torch import Tensor

from benchmark import warp

GRAY = (128, 128, 128)
CORNERS = torch.tensor([[[0.0, 0.0], [32.0, 0.0], [32.0, 32.0], [0.0, 32.0]]], dtype=torch.float64)
"""Top left, top right, bottom right, bottom left of a 32 x 32 image."""


def random_bytes(height: int, width: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_batch(picture: np.ndarray[Any, Any]) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def pillow(picture: np.ndarray[Any, Any], method: Image.Transform, data: Tensor) -> np.ndarray[Any, Any]:
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    warped = image.transform((width, height), method, data.tolist(), Image.Resampling.BILINEAR, fillcolor=GRAY)
    return np.asarray(warped).astype(np.float64)


def ours(warped: Tensor) -> np.ndarray[Any, Any]:
    return warped[0].permute(1, 2, 0).double().numpy() * 255


def some_affine(seed: int, center: tuple[float, float]) -> Tensor:
    def draw(low: float, high: float) -> Tensor:
        return torch.empty(1, dtype=torch.float64).uniform_(low, high, generator=chance)

    chance = seeded(seed)
    angle, scale, shear = draw(-180, 180), draw(0.7, 1.3), draw(-30, 30)
    shift = torch.cat([draw(-6, 6), draw(-6, 6)])[None]
    return warp.affine_inverse(angle, shift, scale, shear, center)


def some_projective(seed: int, width: int, height: int) -> Tensor:
    corners = torch.tensor([[[0, 0], [width, 0], [width, height], [0, height]]], dtype=torch.float64)
    moved = corners + torch.randint(-4, 5, (1, 4, 2), generator=seeded(seed))
    return warp.homography(moved.roll(seed, dims=1), corners)


def source_points(coefficients: Tensor) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    a, b, c, d, e, f, g, h = coefficients.tolist()
    y, x = np.mgrid[:32, :32] + 0.5
    depth = g * x + h * y + 1
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 20)])
def test_affine_gives_the_pixels_of_pillow(seed: int, height: int, width: int) -> None:
    picture, matrix = random_bytes(height, width, seed), some_affine(seed, (width / 2 + 0.5, height / 2 + 0.5))
    theirs = pillow(picture, Image.Transform.AFFINE, matrix[0])
    mine = ours(warp.affine(as_batch(picture), matrix, 128 / 255))
    # Pillow truncates to whole gray values; 0.01 is what float32 may add.
    assert np.all(mine - theirs > -0.01)
    assert np.all(mine - theirs < 1.01)
    assert np.mean(np.all(theirs == 128, axis=2)) > 0.02, "the border must be compared"


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 20)])
def test_projective_gives_the_pixels_of_pillow(seed: int, height: int, width: int) -> None:
    picture, coefficients = random_bytes(height, width, seed), some_projective(seed, width, height)
    theirs = pillow(picture, Image.Transform.PERSPECTIVE, coefficients[0])
    mine = ours(warp.projective(as_batch(picture), coefficients, 128 / 255))
    assert np.all(mine - theirs > -0.01)
    assert np.all(mine - theirs < 1.01)


def test_projective_in_float32_differs_from_pillow_only_on_the_border() -> None:
    different = total = 0
    for seed in range(20):
        picture, coefficients = random_bytes(32, 32, seed), some_projective(seed, 32, 32)
        theirs = pillow(picture, Image.Transform.PERSPECTIVE, coefficients[0])
        difference = ours(warp.projective(as_batch(picture), coefficients.float(), 128 / 255)) - theirs
        unlike = np.any((difference < -0.01) | (difference > 1.01), axis=2)
        x, y = source_points(coefficients[0])
        on_border = np.min([np.abs(x), np.abs(y), np.abs(x - 32), np.abs(y - 32)], axis=0) < 1e-4
        assert not np.any(unlike & ~on_border)
        different, total = different + unlike.sum(), total + unlike.size
    assert 0 < different < 0.001 * total


@pytest.mark.parametrize("side", [8, 32, 64])
def test_identity_keeps_every_bit(side: int) -> None:
    images = torch.rand((2, 3, side, side), generator=seeded())
    identity = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 0]]).expand(2, 8)
    assert torch.equal(warp.affine(images, identity[:, :6], 0.5), images)
    assert torch.equal(warp.projective(images, identity, 0.5), images)


@pytest.mark.parametrize(("height", "width"), [(28, 28), (96, 96), (7, 13)])
def test_identity_of_other_sizes_is_accurate_to_rounding(height: int, width: int) -> None:
    images = torch.rand((2, 1, height, width), generator=seeded())
    identity = torch.tensor([[1.0, 0, 0, 0, 1, 0]]).expand(2, 6)
    torch.testing.assert_close(warp.affine(images, identity), images, rtol=0, atol=1e-5)


def test_shift_by_whole_pixels_moves_content_right_and_down() -> None:
    images = torch.rand((1, 1, 8, 8), generator=seeded())
    matrix = warp.affine_inverse(torch.zeros(1), torch.tensor([[3.0, 2.0]]), torch.ones(1), torch.zeros(1), (4.5, 4.5))
    moved = warp.affine(images, matrix, 0.25)
    assert torch.equal(moved[:, :, 2:, 3:], images[:, :, :-2, :-3])
    assert torch.all(moved[:, :, :2] == 0.25)
    assert torch.all(moved[:, :, :, :3] == 0.25)


def test_shift_by_part_of_a_pixel_repeats_the_edge_without_the_fill() -> None:
    images = torch.tensor([[[[0.0, 1.0, 0.0, 1.0]]]])
    moved = warp.affine(images, torch.tensor([[1.0, 0, -0.4, 0, 1, 0]]), 9.0)
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.0, 0.6, 0.4, 0.6]))


def test_fill_can_differ_per_channel() -> None:
    outside = torch.tensor([[1.0, 0, 100, 0, 1, 0]])
    filled = warp.affine(torch.rand(1, 3, 2, 2), outside, (0.25, 0.5, 0.75))
    assert filled[0, :, 0, 0].tolist() == [0.25, 0.5, 0.75]


def test_affine_warps_each_image_by_its_own_matrix() -> None:
    images = torch.rand((2, 1, 8, 8), generator=seeded())
    matrices = torch.tensor([[1.0, 0, 0, 0, 1, 0], [-1, 0, 8, 0, 1, 0]])
    warped = warp.affine(images, matrices)
    assert torch.equal(warped[0], images[0])
    assert torch.equal(warped[1], images[1].flip(-1))


def test_projective_without_perspective_is_affine() -> None:
    images = torch.rand((4, 3, 20, 24), generator=seeded())
    matrices = torch.cat([some_affine(seed, (12, 10)) for seed in range(4)]).float()
    coefficients = torch.cat([matrices, torch.zeros(4, 2)], dim=1)
    assert torch.equal(warp.projective(images, coefficients, 0.5), warp.affine(images, matrices, 0.5))


def test_quarter_turn_and_its_inverse_give_the_image() -> None:
    images = torch.rand((1, 3, 32, 32), generator=seeded())
    clockwise = torch.tensor([[0.0, 1, 0, -1, 0, 32]])
    counter = torch.tensor([[0.0, -1, 32, 1, 0, 0]])
    turned = warp.affine(images, clockwise)
    assert torch.equal(turned, images.rot90(-1, (2, 3)))
    assert torch.equal(warp.affine(turned, counter), images)


def test_horizon_is_filled() -> None:
    # depth = 1 - x / 2.5 is 0 on the column of pixel centers at x = 2.5, where 0 / 0 is read
    coefficients = torch.tensor([[0.0, 0, 0, 0, 0, 0, -0.4, 0]])
    warped = warp.projective(torch.ones(1, 1, 4, 4), coefficients, 0.25)
    assert warped[0, 0, 0].tolist() == [1.0, 1.0, 0.25, 1.0]


def test_coordinates_are_those_of_affine_grid_without_aligned_corners() -> None:
    theta = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    grid = F.affine_grid(theta, [1, 1, 4, 4], align_corners=False)
    torch.testing.assert_close(grid[0, 0, :, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    images = torch.rand((1, 1, 4, 4), generator=seeded())
    torch.testing.assert_close(F.grid_sample(images, grid, align_corners=False), images)
    theta = torch.tensor([[[0.8, 0.1, 0.05], [-0.1, 0.9, -0.02]]])
    grid = F.affine_grid(theta, [1, 1, 4, 4], align_corners=False)
    theirs = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    # normalized = pixel / 2 - 1 for a side of 4, so the offset is 2 (1 - a - b + t)
    mine = warp.affine(images, torch.tensor([[0.8, 0.1, 0.3, -0.1, 0.9, 0.36]]))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        ([[0, 0], [32, 0], [32, 32], [0, 32]], (1, 0, 0, 0, 1, 0, 0, 0)),
        ([[4, 0], [36, 0], [36, 32], [4, 32]], (1, 0, -4, 0, 1, 0, 0, 0)),
        ([[-3.3, -3.3], [35.1, -3.3], [35.1, 35.1], [-3.3, 35.1]], (1 / 1.2, 0, 2.75, 0, 1 / 1.2, 2.75, 0, 0)),
        ([[4, 0], [32, 0], [32, 32], [0, 32]], (8 / 7, 1 / 7, -32 / 7, 0, 8 / 7, 0, 0, 1 / 224)),
        ([[4, 4], [28, 4], [32, 32], [0, 32]], (1.4, 0.2, -6.4, 0, 1.6, -6.4, 0, 0.0125)),
        ([[32, 0], [32, 32], [0, 32], [0, 0]], (0, 1, 0, -1, 0, 32, 0, 0)),
    ],
    ids=["identity", "shift", "scale", "one corner", "two corners", "quarter turn clockwise"],
)
def test_homography_of_known_corners_has_the_known_coefficients(
    moved: list[list[float]], expected: tuple[float, ...]
) -> None:
    coefficients = warp.homography(torch.tensor([moved], dtype=torch.float64), CORNERS)
    np.testing.assert_allclose(coefficients[0].numpy(), expected, rtol=0, atol=1e-12)


def test_homography_maps_each_corner_to_its_partner() -> None:
    source = CORNERS + torch.rand((50, 4, 2), generator=seeded(), dtype=torch.float64) * 8
    target = CORNERS + torch.rand((50, 4, 2), generator=seeded(1), dtype=torch.float64) * 8
    a, b, c, d, e, f, g, h = warp.homography(source, target)[:, None].unbind(-1)
    x, y = source.unbind(-1)
    depth = g * x + h * y + 1
    mapped = torch.stack([(a * x + b * y + c) / depth, (d * x + e * y + f) / depth], dim=-1)
    torch.testing.assert_close(mapped, target, rtol=0, atol=1e-9)


def test_homography_and_its_inverse_give_the_identity() -> None:
    moved = CORNERS + torch.rand((50, 4, 2), generator=seeded(), dtype=torch.float64) * 8
    there, back = warp.homography(moved, CORNERS.expand(50, 4, 2)), warp.homography(CORNERS.expand(50, 4, 2), moved)
    one = torch.ones(50, 1, dtype=torch.float64)
    product = torch.cat([there, one], 1).view(-1, 3, 3) @ torch.cat([back, one], 1).view(-1, 3, 3)
    torch.testing.assert_close(product / product[:, 2:, 2:], torch.eye(3, dtype=torch.float64).expand(50, 3, 3))


def test_homography_of_float32_corners_is_computed_in_float64() -> None:
    moved = CORNERS + torch.tensor([[[4.0, 4.0], [-4.0, 4.0], [0.0, 0.0], [0.0, 0.0]]])
    coefficients = warp.homography(moved.float(), CORNERS.float())
    assert coefficients.dtype == torch.float32
    assert torch.equal(coefficients, torch.tensor([[1.4, 0.2, -6.4, 0, 1.6, -6.4, 0, 0.0125]]))


@pytest.mark.parametrize(
    ("angle", "shift", "scale", "shear", "expected"),
    [
        (0, (0, 0), 1, 0, (1, 0, 0, 0, 1, 0)),
        (90, (0, 0), 1, 0, (0, 1, 0, -1, 0, 33)),
        (30, (3, -2), 1.1, 20, (0.621855, 0.741098, -6.372085, -0.483717, 0.837823, 13.784055)),
    ],
)
def test_affine_inverse_of_known_parameters_has_the_known_coefficients(
    angle: float, shift: tuple[float, float], scale: float, shear: float, expected: tuple[float, ...]
) -> None:
    def one(value: Any) -> Tensor:
        return torch.tensor([value], dtype=torch.float64)

    matrix = warp.affine_inverse(one(angle), one(shift), one(scale), one(shear), (16.5, 16.5))
    np.testing.assert_allclose(matrix[0].numpy(), expected, rtol=0, atol=1e-6)


def test_affine_inverse_of_90_degrees_turns_clockwise() -> None:
    images = torch.rand((1, 1, 32, 32), generator=seeded())
    matrix = warp.affine_inverse(torch.tensor([90.0]), torch.zeros(1, 2), torch.ones(1), torch.zeros(1), (16, 16))
    torch.testing.assert_close(warp.affine(images, matrix), images.rot90(-1, (2, 3)), rtol=0, atol=1e-4)


def test_warp_and_its_inverse_give_a_smooth_image() -> None:
    axis = torch.linspace(0, 3, 32)
    smooth = (axis[:, None].sin() + axis.cos())[None, None]
    there = warp.homography(CORNERS + torch.tensor([[[2.0, 1], [-1, 2], [1, -1], [0, 1]]]), CORNERS)
    back = warp.homography(CORNERS, CORNERS + torch.tensor([[[2.0, 1], [-1, 2], [1, -1], [0, 1]]]))
    restored = warp.projective(warp.projective(smooth, there), back)
    torch.testing.assert_close(restored[..., 6:-6, 6:-6], smooth[..., 6:-6, 6:-6], rtol=0, atol=5e-3)


def test_gradients_reach_pixels_and_coefficients() -> None:
    images = torch.rand((2, 1, 5, 6), generator=seeded(), dtype=torch.float64, requires_grad=True)
    matrices = torch.tensor([[0.9, 0.1, 0.23, -0.1, 0.9, 0.31]] * 2, dtype=torch.float64, requires_grad=True)
    perspective = torch.tensor([[0.01, 0.02]] * 2, dtype=torch.float64)
    coefficients = torch.cat([matrices.detach(), perspective], dim=1).requires_grad_()
    assert torch.autograd.gradcheck(warp.affine, (images, matrices))
    assert torch.autograd.gradcheck(warp.projective, (images, coefficients))


def test_empty_batch_gives_an_empty_batch() -> None:
    images = torch.rand(0, 3, 8, 8)
    assert warp.affine(images, torch.rand(0, 6)).shape == (0, 3, 8, 8)
    assert warp.projective(images, torch.rand(0, 8), (0.1, 0.2, 0.3)).shape == (0, 3, 8, 8)
    assert warp.homography(torch.rand(0, 4, 2), torch.rand(0, 4, 2)).shape == (0, 8)


@pytest.mark.parametrize(
    ("images", "matrices", "fill", "message"),
    [
        (torch.rand(3, 8, 8), torch.rand(1, 6), 0.0, r"\(N, C, H, W\)"),
        (torch.rand(2, 3, 8, 8).half(), torch.rand(2, 6), 0.0, "to_float"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.rand(2, 6), 0.0, "uint8"),
        (torch.rand(2, 3, 8, 8), torch.rand(3, 6), 0.0, r"not \(3, 6\)"),
        (torch.rand(2, 3, 8, 8), torch.rand(2, 8), 0.0, "6 numbers"),
        (torch.rand(2, 3, 8, 8), torch.rand(2, 6), (0.5, 0.5), "2 channels, but the images have 3"),
    ],
)
def test_affine_rejects_wrong_shapes_and_types(images: Tensor, matrices: Tensor, fill: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        warp.affine(images, matrices, fill)


def test_homography_rejects_wrong_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(N, 4, 2\)"):
        warp.homography(torch.rand(2, 3, 2), torch.rand(2, 3, 2))
    with pytest.raises(ValueError, match=r"\(2, 4, 2\) and \(1, 4, 2\)"):
        warp.homography(torch.rand(2, 4, 2), torch.rand(1, 4, 2))
