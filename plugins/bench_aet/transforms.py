"""Families of transformations: how one is drawn, done to an image, and described to the decoder.

Each follows the authors' CIFAR-10 code for 32 pixels and is scaled with the side; what is said of the paper's section 4.1 is
recalled, and was read in the code alone. Coordinates are those of
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
LEAST_RADIUS = 0.01
"""A told cosine and sine shorter than this are read as no turn: the gradient of an angle grows as one over their length."""
LEAST_DEPTH = 0.02
"""Least denominator of a told projective map anywhere in the image: beyond lies the horizon. What is drawn stays above
(least of 100,000 draws: .19 at 32 pixels, .04 at 8)."""


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

    def parameters(self, target: Tensor) -> Tensor:
        """(N, P) float32: `target` turned round, differentiable.

        Whatever the decoder says becomes parameters that can be warped with: what no transformation has is moved to the
        nearest that one has.
        """
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
        """About (side + 1) / 2, as in the authors' code: half a pixel beyond the true center."""
        angle, _, _, scale, shear = parameters.unbind(1)
        center = (self.side + 1) / 2
        return warp.affine(images, warp.affine_inverse(angle, parameters[:, 1:3], scale, shear, (center, center)), fill)

    def target(self, parameters: Tensor) -> Tensor:
        """(N, 6) in [-1, 1]: cosine and sine of the angle, x, y, scale - 1 and shear, each over its largest value."""
        angle, x, y, scale, shear = parameters.unbind(1)
        angle = torch.deg2rad(angle)
        reach = _translation_reach(self.side)
        return torch.stack(
            [angle.cos(), angle.sin(), x / reach, y / reach, (scale - 1) / MAX_ZOOM, shear / MAX_SHEAR], dim=1
        )

    def parameters(self, target: Tensor) -> Tensor:
        """(N, 5) from (N, 6); values beyond -1 and 1 count as those."""
        cosine, sine, x, y, zoom, shear = target.clamp(-1, 1).unbind(1)
        short = cosine.square() + sine.square() < LEAST_RADIUS**2
        angle = torch.atan2(torch.where(short, 0.0, sine), torch.where(short, 1.0, cosine))
        reach = _translation_reach(self.side)
        return torch.stack([torch.rad2deg(angle), x * reach, y * reach, 1 + zoom * MAX_ZOOM, shear * MAX_SHEAR], dim=1)


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

    def parameters(self, target: Tensor) -> Tensor:
        """(N, 5) from (N, 5), the shear being 0."""
        return super().parameters(torch.cat([target, torch.zeros_like(target[:, :1])], dim=1))


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
        center = (self.side + 1) / 2
        moved = (self._corners((places + quarters) % 4) - center) * scale + center + shifts
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
        middle, spread, slant = self._units()
        return torch.stack([a, b, (c - middle) / spread, d, e, (f - middle) / spread, g / slant, h / slant], dim=1)

    def parameters(self, target: Tensor) -> Tensor:
        """(N, 8) from (N, 8); g and h are made smaller together where the image would reach the horizon."""
        a, b, c, d, e, f, g, h = target.unbind(1)
        middle, spread, slant = self._units()
        g, h = g * slant, h * slant
        # The denominator is 1 at the origin and linear, so that it is least in one of the other corners.
        fall = -self.side * torch.stack([g, h, g + h], dim=1).amin(dim=1)
        most = 1 - LEAST_DEPTH
        nearer = most / fall.clamp_min(most)
        return torch.stack([a, b, c * spread + middle, d, e, f * spread + middle, g * nearer, h * nearer], dim=1)

    def _units(self) -> tuple[float, float, float]:
        """Mean of c and f, their spread, and the spread of g and h."""
        return self.side / 2, 20 * self.side / 32, 0.015 * 32 / self.side

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
