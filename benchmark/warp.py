"""Affine and projective warps of batches of images, with the semantics of Pillow.

Public to plugins. The same as Pillow's `Image.transform(size, AFFINE | PERSPECTIVE, data, BILINEAR, fillcolor=...)`, without
its truncation to whole gray values. Warps run on the device of the images, and the host does not wait for it.

Convention:
    direction   output to input: a matrix maps an output pixel to the point of the input where its value is read.
    unit        pixels. x points right, y points down. Tensors of points hold (x, y).
    origin      the outer corner of the top left pixel. An image covers [0, W) x [0, H), and the center of pixel
                (column, row) is (column + 0.5, row + 0.5): torch's `align_corners=False`.
    angles      degrees. A positive angle turns the content clockwise, because y points down.
    sampling    bilinear between the four nearest pixel centers. Beyond the outermost centers the edge is repeated.
    fill        an output pixel that is read from outside of [0, W) x [0, H) gets the fill color, without mixing.
    precision   coordinates have the type of the matrices, pixels the type of the images: float32 or float64. With
                float64, points exactly on the border are treated as Pillow treats them. The identity is bit-exact for
                sides that are powers of two, and accurate to 1e-5 otherwise.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Fill = float | tuple[float, ...]
"""One value for all channels, or one per channel, in the unit of the images."""

PRECISIONS = (torch.float32, torch.float64)
"""Valid types of images and matrices. Half precision would shift points by a whole pixel."""


def affine(images: Tensor, matrices: Tensor, fill: Fill = 0.0) -> Tensor:
    """Warps each image by its own affine map.

    Args:
        images: (N, C, H, W) float32.
        matrices: (N, 6) float32 rows (a, b, c, d, e, f): the output at (x, y) is read at (ax + by + c, dx + ey + f).
        fill: color outside of the input.

    Returns:
        (N, C, H, W), a new tensor.

    Raises:
        ValueError: wrong shape or type.
    """
    _check(images, matrices, 6, fill)
    column, row = _centers(images, matrices.dtype)
    a, b, c, d, e, f = matrices.view(-1, 6, 1, 1).unbind(1)
    return _read(images, a * column + (b * row + c), d * column + (e * row + f), fill)


def projective(images: Tensor, coefficients: Tensor, fill: Fill = 0.0) -> Tensor:
    """Warps each image by its own homography.

    Args:
        images: (N, C, H, W) float32.
        coefficients: (N, 8) float32 rows (a, b, c, d, e, f, g, h): the output at (x, y) is read at
            ((ax + by + c) / (gx + hy + 1), (dx + ey + f) / (gx + hy + 1)).
        fill: color outside of the input, and on the horizon, where the denominator is 0.

    Returns:
        (N, C, H, W), a new tensor.

    Raises:
        ValueError: wrong shape or type.
    """
    _check(images, coefficients, 8, fill)
    column, row = _centers(images, coefficients.dtype)
    a, b, c, d, e, f, g, h = coefficients.view(-1, 8, 1, 1).unbind(1)
    depth = g * column + (h * row + 1)
    return _read(images, (a * column + (b * row + c)) / depth, (d * column + (e * row + f)) / depth, fill)


def affine_inverse(
    angles: Tensor, translations: Tensor, scales: Tensor, shears: Tensor, center: tuple[float, float]
) -> Tensor:
    """Matrices for `affine` that rotate, shear and scale the content about a center, then translate it.

    The formula of torchvision 0.2.1, with which AET was trained. Later versions of torchvision apply the shear differently.

    Args:
        angles: (N,) degrees, clockwise.
        translations: (N, 2) pixels, to the right and down.
        scales: (N,), above 0. A scale above 1 enlarges the content.
        shears: (N,) degrees in (-90, 90), along x.
        center: (x, y) in pixels; (W / 2, H / 2) is the center of the image.

    Returns:
        (N, 6), output to input: input = A (output - center - translation) + center with
        A = [[cos(angle + shear), sin(angle + shear)], [-sin(angle), cos(angle)]] / (scale cos(shear)).
    """
    angle, shear = torch.deg2rad(angles), torch.deg2rad(shears)
    size = scales * torch.cos(shear)
    a, b = torch.cos(angle + shear) / size, torch.sin(angle + shear) / size
    d, e = -torch.sin(angle) / size, torch.cos(angle) / size
    x, y = center
    right, down = translations.unbind(1)
    c = x - a * (x + right) - b * (y + down)
    f = y - d * (x + right) - e * (y + down)
    return torch.stack([a, b, c, d, e, f], dim=1)


def homography(corners_from: Tensor, corners_to: Tensor) -> Tensor:
    """Coefficients for `projective` that map four points to four others.

    They are computed in float64 in closed form, through the unit square (Heckbert 1989, section 2.2.3). A linear solver
    would make the host wait for a GPU.

    Args:
        corners_from: (N, 4, 2) points (x, y) of the output, in order around the quadrilateral.
        corners_to: (N, 4, 2) points of the input where these are read, in the same order.

    Returns:
        (N, 8) of the type of `corners_from`. Not finite if three corners lie on one line or the origin maps to infinity.

    Raises:
        ValueError: wrong shape.
    """
    if corners_from.shape[1:] != (4, 2) or corners_from.shape != corners_to.shape:
        raise ValueError(
            f"corners of a homography are two tensors (N, 4, 2), not {tuple(corners_from.shape)} and "
            f"{tuple(corners_to.shape)}"
        )
    matrix = _from_unit_square(corners_to.double()) @ _adjugate(_from_unit_square(corners_from.double()))
    coefficients = matrix.flatten(1)[:, :8] / matrix[:, 2, 2:]
    return coefficients.to(corners_from.dtype)


def _from_unit_square(corners: Tensor) -> Tensor:
    """(N, 3, 3) homographies that map (0, 0), (1, 0), (1, 1), (0, 1) to the corners (N, 4, 2)."""
    first, second, third, fourth = corners.unbind(1)
    (along_x, along_y), (up_x, up_y) = (second - third).unbind(1), (fourth - third).unbind(1)
    skew_x, skew_y = (first - second + third - fourth).unbind(1)
    area = along_x * up_y - up_x * along_y
    g = ((skew_x * up_y - up_x * skew_y) / area)[:, None]
    h = ((along_x * skew_y - skew_x * along_y) / area)[:, None]
    columns = (second - first + g * second, fourth - first + h * fourth, first)
    return torch.stack([torch.cat([top, bottom], 1) for top, bottom in zip(columns, (g, h, g * 0 + 1), strict=True)], 2)


def _adjugate(matrices: Tensor) -> Tensor:
    """(N, 3, 3) inverses up to a factor, which does not change a homography."""
    first, second, third = matrices.unbind(1)
    cross = torch.linalg.cross
    return torch.stack([cross(second, third), cross(third, first), cross(first, second)], dim=2)


def _check(images: Tensor, matrices: Tensor, width: int, fill: Fill) -> None:
    if images.ndim != 4 or images.dtype not in PRECISIONS:
        raise ValueError(
            f"images to warp are (N, C, H, W) float32, not {tuple(images.shape)} {images.dtype}; "
            "convert them with benchmark.images.to_float"
        )
    if matrices.shape != (len(images), width) or matrices.dtype not in PRECISIONS:
        raise ValueError(
            f"matrices of this warp are ({len(images)}, {width}) float32, {width} numbers per image, not "
            f"{tuple(matrices.shape)} {matrices.dtype}"
        )
    if isinstance(fill, tuple) and len(fill) != images.shape[1]:
        raise ValueError(f"the fill color has {len(fill)} channels, but the images have {images.shape[1]}")


def _centers(images: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Pixel centers: x as (1, 1, W) and y as (1, H, 1)."""
    height, width = images.shape[-2:]
    column = torch.arange(width, device=images.device, dtype=dtype) + 0.5
    row = torch.arange(height, device=images.device, dtype=dtype) + 0.5
    return column.view(1, 1, -1), row.view(1, -1, 1)


def _read(images: Tensor, x: Tensor, y: Tensor, fill: Fill) -> Tensor:
    """The values of the images at (x, y), each (N, H, W) in pixels; the fill color outside.

    The mask is floating-point. On a CPU that is several times as fast as a mask of booleans.
    """
    height, width = images.shape[-2:]
    inside = _inside(x, y, width, height).to(images.dtype)
    grid = torch.empty((*x.shape, 2), dtype=x.dtype, device=x.device)
    grid[..., 0], grid[..., 1] = x * (2 / width), y * (2 / height)
    grid = grid.sub_(1).to(images.dtype)
    values = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # Made on the device, from scalars: copying a tensor there would make the host wait.
    channels = [images.new_full((1, 1, 1, 1), channel) for channel in fill] if isinstance(fill, tuple) else []
    color: float | Tensor = torch.cat(channels, dim=1) if isinstance(fill, tuple) else fill
    # grid_sample gives finite values everywhere, so 0 times a value is 0.
    return values.mul_(inside[:, None]).add_((1 - inside)[:, None] * color)


def _inside(x: Tensor, y: Tensor, width: int, height: int) -> Tensor:
    """1 where 0 <= x < width and 0 <= y < height, else 0; also 0 for NaN, which occurs on the horizon. No gradient."""
    beyond = [
        each.clamp(0, _below(side, each.dtype)).sub_(each).abs_()
        for each, side in ((x.detach(), width), (y.detach(), height))
    ]
    return (beyond[0].add_(beyond[1]) == 0).to(x.dtype)


def _below(side: int, dtype: torch.dtype) -> float:
    """The largest number of a type below `side`."""
    return float(
        np.nextafter(np.float32(side), np.float32(0)) if dtype == torch.float32 else np.nextafter(float(side), 0)
    )
