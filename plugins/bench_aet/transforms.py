"""Families of transformations: how to draw one, apply it to an image, and encode it as the decoder's target.

Each family follows the authors' CIFAR-10 code for 32 pixels and scales with the side. References to the paper's section 4.1
are recalled; only the code was read. Convention (as `benchmark.warp`): coordinates in pixels from the top left corner, x to
the right, y downwards, positive angles clockwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from benchmark import warp

MAX_ANGLE = 180.0
"""Degrees in both directions (AET, section 4.1)."""
MAX_SHEAR = 30.0
"""Degrees in both directions (section 4.1)."""
MAX_TRANSLATION = 0.2
"""Fraction of the side, in both directions (section 4.1). The code rounds to whole pixels, unlike the paper."""
MAX_ZOOM = 0.3
"""Affine scales are in 1 +- MAX_ZOOM (section 4.1)."""
MAX_CORNER_ZOOM = 0.2
"""Projective scales are in 1 +- MAX_CORNER_ZOOM (section 4.1)."""
CORNER_SHIFT = 0.125
"""Fraction of the side, in both directions, for each coordinate of each corner (section 4.1); whole pixels in the code."""
MIN_RADIUS = 0.01
"""A predicted (cosine, sine) shorter than this means no rotation: the gradient of the angle grows as 1 / length."""
MIN_DEPTH = 0.02
"""Smallest denominator of a predicted projective map anywhere in the image; at 0 lies the horizon. Drawn transformations stay
above it (smallest of 100,000 draws: .19 at 32 pixels, .04 at 8)."""


class Transformation(Protocol):
    """A family of transformations of square images of one size."""

    targets: int
    """T, the number of target values of one transformation."""
    bounded: bool
    """Whether targets lie in [-1, 1]; the decoder then ends in tanh."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, P) float32 parameters of independent transformations, on the generator's device."""
        ...

    def warp(self, images: Tensor, parameters: Tensor, fill: float) -> Tensor:
        """Images (N, C, H, W) float32, each under its own transformation; pixels outside the image have the value `fill`."""
        ...

    def target(self, parameters: Tensor) -> Tensor:
        """(N, T) float32: the target values of the decoder."""
        ...

    def parameters(self, target: Tensor) -> Tensor:
        """(N, P) float32: the inverse of `target`, differentiable.

        Any prediction of the decoder gives valid parameters: values that no transformation has are replaced by the nearest
        valid ones.
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
        """The center is (side + 1) / 2, as in the authors' code, half a pixel off the image's center."""
        angle, _, _, scale, shear = parameters.unbind(1)
        center = (self.side + 1) / 2
        return warp.affine(images, warp.affine_inverse(angle, parameters[:, 1:3], scale, shear, (center, center)), fill)

    def target(self, parameters: Tensor) -> Tensor:
        """(N, 6) in [-1, 1]: cosine and sine of the angle, x, y, scale - 1 and shear, each divided by its maximum."""
        angle, x, y, scale, shear = parameters.unbind(1)
        angle = torch.deg2rad(angle)
        reach = _translation_reach(self.side)
        return torch.stack(
            [angle.cos(), angle.sin(), x / reach, y / reach, (scale - 1) / MAX_ZOOM, shear / MAX_SHEAR], dim=1
        )

    def parameters(self, target: Tensor) -> Tensor:
        """(N, 5) from (N, 6); values outside [-1, 1] are clamped."""
        cosine, sine, x, y, zoom, shear = target.clamp(-1, 1).unbind(1)
        short = cosine.square() + sine.square() < MIN_RADIUS**2
        angle = torch.atan2(torch.where(short, 0.0, sine), torch.where(short, 1.0, cosine))
        reach = _translation_reach(self.side)
        return torch.stack([torch.rad2deg(angle), x * reach, y * reach, 1 + zoom * MAX_ZOOM, shear * MAX_SHEAR], dim=1)


class Similarity(Affine):
    """Rotation, translation and scale without shear. Not in the paper."""

    targets = 5

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """As `Affine.draw`, with a shear of 0."""
        parameters = super().draw(count, generator)
        parameters[:, 4] = 0
        return parameters

    def target(self, parameters: Tensor) -> Tensor:
        """(N, 5): as `Affine.target`, without the shear."""
        return super().target(parameters)[:, :5]

    def parameters(self, target: Tensor) -> Tensor:
        """(N, 5) from (N, 5), with a shear of 0."""
        return super().parameters(torch.cat([target, torch.zeros_like(target[:, :1])], dim=1))


class Projective:
    """Scale, quarter turns and random shifts of the corners. Parameters: the 8 coefficients of `warp.projective`."""

    targets = 8
    bounded = False

    def __init__(self, side: int) -> None:
        self.side = side

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """The corners are scaled by one factor about (side + 1) / 2, rotated clockwise by 0 to 3 quarter turns, and moved by
        whole pixels, each coordinate independently.
        """
        device = generator.device
        corners = torch.arange(4, device=device)
        scale = 1 + _uniform(count, MAX_CORNER_ZOOM, generator)[:, None, None]
        quarters = torch.randint(0, 4, (count, 1), generator=generator, device=device)
        max_shift = round(CORNER_SHIFT * self.side)
        shifts = torch.randint(-max_shift, max_shift + 1, (count, 4, 2), generator=generator, device=device)
        center = (self.side + 1) / 2
        moved = (self._corners((corners + quarters) % 4) - center) * scale + center + shifts
        return warp.homography(moved, self._corners(corners.expand(count, 4)))

    def warp(self, images: Tensor, parameters: Tensor, fill: float) -> Tensor:
        """Moves the content of the image's corners to the moved corners. The coefficients map output to input pixels."""
        return warp.projective(images, parameters, fill)

    def target(self, parameters: Tensor) -> Tensor:
        """(N, 8): the coefficients, minus a mean, divided by a spread.

        Mean and spread are the authors' rounded constants, not those of the distribution: g and h have about a quarter of
        the weight of the others in the loss.
        """
        a, b, c, d, e, f, g, h = parameters.unbind(1)
        center, spread, tilt = self._units()
        return torch.stack([a, b, (c - center) / spread, d, e, (f - center) / spread, g / tilt, h / tilt], dim=1)

    def parameters(self, target: Tensor) -> Tensor:
        """(N, 8) from (N, 8); g and h are scaled down together if the image would reach the horizon."""
        a, b, c, d, e, f, g, h = target.unbind(1)
        center, spread, tilt = self._units()
        g, h = g * tilt, h * tilt
        # The denominator is linear and 1 at the origin, so its minimum is at one of the other corners.
        drop = -self.side * torch.stack([g, h, g + h], dim=1).amin(dim=1)
        max_drop = 1 - MIN_DEPTH
        shrink = max_drop / drop.clamp_min(max_drop)
        return torch.stack([a, b, c * spread + center, d, e, f * spread + center, g * shrink, h * shrink], dim=1)

    def _units(self) -> tuple[float, float, float]:
        """Mean of c and f, their spread, and the spread of g and h."""
        return self.side / 2, 20 * self.side / 32, 0.015 * 32 / self.side

    def _corners(self, numbers: Tensor) -> Tensor:
        """(N, 4, 2) coordinates of the image's corners by number: 0 is top left, then clockwise."""
        return torch.stack([(numbers + 1) // 2 % 2, numbers // 2], dim=-1).float() * self.side


FAMILIES: dict[str, Callable[[int], Transformation]] = {
    "affine": Affine,
    "projective": Projective,
    "similarity": Similarity,
}
"""Value of the parameter `transform` -> family, for images of a side in pixels."""


def constant_loss(transformation: Transformation, count: int = 20_000) -> float:
    """Mean squared error of the best constant prediction: the variance of the targets, averaged over them.

    Estimated from `count` draws with a fixed seed. The estimate is accurate to half a percent at 32 pixels. At 8 pixels it is
    accurate to about ten percent, because the projective coefficients have heavy tails there: shifts by whole pixels are
    coarse, and the horizon is close.
    """
    targets = transformation.target(transformation.draw(count, torch.Generator().manual_seed(0)))
    return float(targets.var(dim=0, correction=0).mean())


def _uniform(count: int, limit: float, generator: torch.Generator) -> Tensor:
    """(count,) float32, uniform in [-limit, limit)."""
    return (2 * torch.rand(count, generator=generator, device=generator.device) - 1) * limit


def _translation_reach(side: int) -> float:
    """Divisor of translations: 0.2 of the side, as published (6.4 at 32 pixels, where the largest translation is 6).

    If rounding exceeds it (1.6 becomes 2 at 8 pixels), the largest translation, so that targets stay within tanh's range.
    """
    return max(MAX_TRANSLATION * side, float(round(MAX_TRANSLATION * side)))
