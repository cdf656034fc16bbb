"""Families of transformations: how one is drawn, done to an image, and described to the decoder.

Each follows the authors' CIFAR-10 code for 32 pixels and is scaled with the side. Coordinates are those of
`benchmark.warp`: pixels from the top left corner, x to the right, y downwards, positive angles clockwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from benchmark import warp

MAX_ANGLE = 180.0
"""Degrees either way (AET, section 4.1)."""
MAX_SHEAR = 30.0
"""Degrees either way (section 4.1)."""
MAX_TRANSLATION = 0.2
"""Of the side, either way (section 4.1); the code rounds to whole pixels, of which the paper says nothing."""
MAX_ZOOM = 0.3
"""Affine scales are 1 +- this (section 4.1)."""
MAX_CORNER_ZOOM = 0.2
"""Projective scales are 1 +- this (section 4.1)."""
CORNER_SHIFT = 0.125
"""Of the side, either way, for each coordinate of each corner (section 4.1); whole pixels in the code."""


class Transformation(Protocol):
    """A family of transformations of square images of one side."""

    targets: int
    """T, the number of values that describe one transformation to the decoder."""
    bounded: bool
    """Whether targets lie in [-1, 1], so that the decoder ends in tanh."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, P) float32 parameters of independent transformations, on the generator's device."""
        ...

    def warp(self, images: Tensor, parameters: Tensor, fill: float) -> Tensor:
        """Images (N, C, H, W) float32, each under its own transformation; `fill` comes in from outside."""
        ...

    def target(self, parameters: Tensor) -> Tensor:
        """(N, T) float32: what the decoder is to say."""
        ...


class Affine:
    """Rotation, whole-pixel translation, scale and shear. Parameters: angle, x, y, scale, shear (degrees, pixels)."""

    targets = 6
    bounded = True

    def __init__(self, side: int) -> None:
        self.side = side

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Each uniform in its range; translations rounded to whole pixels."""
        return torch.stack(
            [
                _uniform(count, MAX_ANGLE, generator),
                _uniform(count, MAX_TRANSLATION * self.side, generator).round(),
                _uniform(count, MAX_TRANSLATION * self.side, generator).round(),
                1 + _uniform(count, MAX_ZOOM, generator),
                _uniform(count, MAX_SHEAR, generator),
            ],
            dim=1,
        )

    def warp(self, images: Tensor, parameters: Tensor, fill: float) -> Tensor:
        """About (side + 1) / 2, as in the authors' code: half a pixel beyond the true centre."""
        angle, _, _, scale, shear = parameters.unbind(1)
        centre = (self.side + 1) / 2
        return warp.affine(images, warp.affine_inverse(angle, parameters[:, 1:3], scale, shear, (centre, centre)), fill)

    def target(self, parameters: Tensor) -> Tensor:
        """(N, 6) in [-1, 1]: cosine and sine of the angle, x, y, scale - 1 and shear, each over its largest value."""
        angle, x, y, scale, shear = parameters.unbind(1)
        angle = torch.deg2rad(angle)
        reach = _translation_reach(self.side)
        return torch.stack(
            [angle.cos(), angle.sin(), x / reach, y / reach, (scale - 1) / MAX_ZOOM, shear / MAX_SHEAR], dim=1
        )


class Similarity(Affine):
    """Rotation, translation and scale, without shear: shapes keep their proportions. Not in the paper."""

    targets = 5

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """As for affine, with a shear of 0."""
        parameters = super().draw(count, generator)
        parameters[:, 4] = 0
        return parameters

    def target(self, parameters: Tensor) -> Tensor:
        """(N, 5): as for affine, without the shear."""
        return super().target(parameters)[:, :5]


class Projective:
    """Scale, quarter turns and shaken corners. Parameters: the 8 coefficients of `warp.projective`."""

    targets = 8
    bounded = False

    def __init__(self, side: int) -> None:
        self.side = side

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """The corners are scaled by one factor about (side + 1) / 2, handed on clockwise by 0 to 3 places (which turns the
        content clockwise by as many quarters), and moved by whole pixels, each coordinate on its own.
        """
        device = generator.device
        places = torch.arange(4, device=device)
        scale = 1 + _uniform(count, MAX_CORNER_ZOOM, generator)[:, None, None]
        quarters = torch.randint(0, 4, (count, 1), generator=generator, device=device)
        most = round(CORNER_SHIFT * self.side)
        shifts = torch.randint(-most, most + 1, (count, 4, 2), generator=generator, device=device)
        centre = (self.side + 1) / 2
        moved = (self._corners((places + quarters) % 4) - centre) * scale + centre + shifts
        return warp.homography(moved, self._corners(places.expand(count, 4)))

    def warp(self, images: Tensor, parameters: Tensor, fill: float) -> Tensor:
        """From output to input: what lay in the image's corners comes to lie in the moved ones."""
        return warp.projective(images, parameters, fill)

    def target(self, parameters: Tensor) -> Tensor:
        """(N, 8): the coefficients less their mean, over their spread.

        Mean and spread are the authors' hand-rounded constants, not the law's own: g and h get about a quarter of the
        weight of the others in the loss.
        """
        a, b, c, d, e, f, g, h = parameters.unbind(1)
        middle, spread, slant = self.side / 2, 20 * self.side / 32, 0.015 * 32 / self.side
        return torch.stack([a, b, (c - middle) / spread, d, e, (f - middle) / spread, g / slant, h / slant], dim=1)

    def _corners(self, places: Tensor) -> Tensor:
        """(N, 4, 2) corners of the image by number: 0 top left, and clockwise."""
        return torch.stack([(places + 1) // 2 % 2, places // 2], dim=-1).float() * self.side


FAMILIES: dict[str, Callable[[int], Transformation]] = {
    "affine": Affine,
    "projective": Projective,
    "similarity": Similarity,
}
"""Name -> family for images of a side in pixels."""


def constant_loss(transformation: Transformation, count: int = 20_000) -> float:
    """Mean squared error of the best constant answer: the variance of the targets, averaged over them.

    Estimated from `count` draws with a fixed seed, for any family. Good to half a percent at 32 pixels. At 8 pixels the
    projective coefficients have heavy tails (whole-pixel shifts are coarse there, and the horizon comes close), which
    leaves about ten percent.
    """
    targets = transformation.target(transformation.draw(count, torch.Generator().manual_seed(0)))
    return float(targets.var(dim=0, correction=0).mean())


def _uniform(count: int, limit: float, generator: torch.Generator) -> Tensor:
    """(count,) float32, uniform in -limit..limit."""
    return (2 * torch.rand(count, generator=generator, device=generator.device) - 1) * limit


def _translation_reach(side: int) -> float:
    """What translations are divided by: 0.2 of the side, as published (6.4 at 32 pixels, where 6 is the largest).

    Where rounding goes beyond that (1.6 becomes 2 at 8 pixels), the largest translation: tanh cannot say 1.25.
    """
    return max(MAX_TRANSLATION * side, float(round(MAX_TRANSLATION * side)))
