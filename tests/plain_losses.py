"""The augmentations and the losses of the shipped methods, written out image by image as a reference."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

import benchmark

MEAN, STD = [0.4, 0.45, 0.5], [0.3, 0.25, 0.2]
"""Normalization in front of the encoder, per channel."""


def shifted_and_mirrored(
    images: NDArray[np.uint8], recipe: benchmark.Recipe, draws: torch.Generator
) -> NDArray[np.float32]:
    """Crop and flip, image by image: a window of the padded image, read from the right where it is mirrored."""
    count, channels, height, width = images.shape
    pad = recipe.pad
    tops, lefts, mirrored = [pad] * count, [pad] * count, [False] * count
    if recipe.augment in ("crop", "crop-flip"):
        tops = torch.randint(0, 2 * pad + 1, (count, 1), generator=draws).flatten().tolist()
        lefts = torch.randint(0, 2 * pad + 1, (count, 1), generator=draws).flatten().tolist()
    if recipe.augment in ("flip", "crop-flip"):
        mirrored = (torch.rand((count, 1, 1, 1), generator=draws) < 0.5).flatten().tolist()
    augmented = np.empty((count, channels, height, width), dtype=np.float32)
    for number, image in enumerate(images):
        black = np.zeros((channels, height + 2 * pad, width + 2 * pad), dtype=np.uint8)
        black[:, pad : pad + height, pad : pad + width] = image
        window = black[:, tops[number] : tops[number] + height, lefts[number] : lefts[number] + width]
        augmented[number] = (window[:, :, ::-1] if mirrored[number] else window) / np.float32(255)
    return augmented


def encoded(method: Any, images: Tensor, *taps: str) -> list[Tensor]:
    """The taps of the network for contiguous images, without the forward of NormalizedEncoder."""
    encoder = method.encoder
    normalized = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    features = encoder.network(normalized.contiguous(), taps)
    return [features[name] for name in taps]


def vectors_of(method: Any, images: Tensor) -> Tensor:
    (output,) = encoded(method, images, method.encoder.layout.output)
    return output.mean(dim=(2, 3)) if output.ndim == 4 else output


# --- the losses, written out ------------------------------------------------------------------------------------------


def supervised_loss(
    method: Any, params: dict[str, Any], images: Tensor, labels: Tensor, draws: torch.Generator
) -> Tensor:
    scores = method.head(vectors_of(method, images))
    chosen = scores.log_softmax(dim=1)[torch.arange(len(labels)), labels]
    return -chosen.mean()


def rotation_loss(
    method: Any, params: dict[str, Any], images: Tensor, labels: Tensor, draws: torch.Generator
) -> Tensor:
    turned, turns = [], []
    for turn in range(4):
        for image in images.numpy():
            turned.append(np.rot90(image, turn, axes=(1, 2)).copy())
            turns.append(turn)
    scores = method.head(vectors_of(method, torch.from_numpy(np.stack(turned))))
    return -scores.log_softmax(dim=1)[torch.arange(len(turns)), torch.tensor(turns)].mean()


def uniform(count: int, limit: float, draws: torch.Generator) -> NDArray[np.float64]:
    return np.asarray((2 * torch.rand(count, generator=draws) - 1).double().numpy() * limit)


def sampled(image: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], fill: float) -> Any:
    """(C, H, W) read at (x, y) pixels: bilinear between centers, edges repeated, the fill color outside."""
    _, height, width = image.shape
    column, row = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    u, v = column - left, row - top
    upper = image[:, top, left] * (1 - u) + image[:, top, right] * u
    lower = image[:, bottom, left] * (1 - u) + image[:, bottom, right] * u
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return np.where(inside, upper * (1 - v) + lower * v, fill)


def projective_targets(side: int, count: int, draws: torch.Generator) -> tuple[Any, Any]:
    """Coefficients (count, 8) from a linear system per image, and the targets of the decoder."""
    scales = 1 + uniform(count, 0.2, draws)
    quarters = torch.randint(0, 4, (count, 1), generator=draws).flatten().tolist()
    most = round(0.125 * side)
    shifts = torch.randint(-most, most + 1, (count, 4, 2), generator=draws).numpy()
    center = (side + 1) / 2
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], dtype=np.float64)
    solutions = []
    for scale, quarter, shift in zip(scales, quarters, shifts, strict=True):
        moved = (np.roll(corners, -quarter, axis=0) - center) * scale + center + shift
        rows = []
        for (x, y), (u, v) in zip(moved, corners, strict=True):
            rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        solutions.append(np.linalg.solve(np.array(rows), corners.flatten()))
    coefficients = np.stack(solutions)
    middle = np.array([0, 0, side / 2, 0, 0, side / 2, 0, 0])
    spread = np.array([1, 1, 20 * side / 32, 1, 1, 20 * side / 32, 0.015 * 32 / side, 0.015 * 32 / side])
    return coefficients, (coefficients - middle) / spread


def affine_targets(side: int, count: int, draws: torch.Generator) -> tuple[Any, Any]:
    """Coefficients (count, 8) of which the last two are 0, and the targets of the decoder."""
    angles = np.deg2rad(uniform(count, 180, draws))
    right, down = (np.rint(uniform(count, 0.2 * side, draws)) for _ in range(2))
    scales = 1 + uniform(count, 0.3, draws)
    shears = uniform(count, 30, draws)
    lean = np.deg2rad(shears)
    size = scales * np.cos(lean)
    a, b = np.cos(angles + lean) / size, np.sin(angles + lean) / size
    d, e = -np.sin(angles) / size, np.cos(angles) / size
    center = (side + 1) / 2
    c = center - a * (center + right) - b * (center + down)
    f = center - d * (center + right) - e * (center + down)
    reach = 0.2 * side
    targets = [np.cos(angles), np.sin(angles), right / reach, down / reach, (scales - 1) / 0.3, shears / 30]
    return np.stack([a, b, c, d, e, f, 0 * a, 0 * a], axis=1), np.stack(targets, axis=1)


def aet_loss(method: Any, params: dict[str, Any], images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
    """The image and its copy, one forward each. Copies are made one by one in float64."""
    family, side = params.get("transform", "projective"), images.shape[-1]
    make = projective_targets if family == "projective" else affine_targets
    coefficients, targets = make(side, len(images), draws)
    column, row = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    copies = []
    for image, (a, b, c, d, e, f, g, h) in zip(images.double().numpy(), coefficients, strict=True):
        depth = g * column + h * row + 1
        x, y = (a * column + b * row + c) / depth, (d * column + e * row + f) / depth
        copies.append(sampled(image, x, y, 128 / 255))
    before = vectors_of(method, images)
    after = vectors_of(method, torch.from_numpy(np.stack(copies)).float())
    answer = method.decoder(torch.cat([before, after], dim=1))
    answer = answer.tanh() if family == "affine" else answer
    return (answer - torch.from_numpy(targets).float()).square().mean()


def dim_loss(method: Any, params: dict[str, Any], images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
    """DIM(L) with the Jensen-Shannon estimator, the dot critic and the adversarial prior."""
    layout = method.encoder.layout
    output, maps = encoded(method, images, layout.output, layout.local)
    vectors = output.mean(dim=(2, 3)) if output.ndim == 4 else output
    critic = method.critics["local"]
    locations = maps.permute(0, 2, 3, 1).reshape(len(images), -1, maps.shape[1])
    keys = critic.locations(locations.reshape(-1, locations.shape[2])).view(len(images), locations.shape[1], -1)
    scores = torch.einsum("iu,jlu->ijl", critic.vectors(vectors), keys)
    own = torch.eye(len(images), dtype=torch.bool)
    local = F.softplus(-scores[own]).mean() + F.softplus(scores[~own]).mean()
    codes = torch.sigmoid(vectors.detach())
    noise = torch.rand(codes.shape, generator=draws)
    noise_leaf, code_leaf = noise.requires_grad_(), codes.requires_grad_()
    true, false = method.discriminator(noise_leaf), method.discriminator(code_leaf)
    slopes = torch.autograd.grad(true.sum() + false.sum(), [noise_leaf, code_leaf], create_graph=True)
    penalty = torch.cat(slopes).square().sum(dim=1).mean()
    game = -F.logsigmoid(true).mean() - F.logsigmoid(-false).mean() + penalty
    judge = copy.deepcopy(method.discriminator).requires_grad_(False)
    prior = -F.logsigmoid(judge(torch.sigmoid(vectors))).mean()
    return local + 0.1 * prior + game


PLAIN_LOSSES: dict[str, Callable[..., Tensor]] = {
    "aet": aet_loss,
    "rotation": rotation_loss,
    "dim": dim_loss,
    "supervised": supervised_loss,
}
