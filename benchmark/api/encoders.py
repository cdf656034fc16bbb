"""Encoders and their taps: what a plugin provides and what methods and evaluators see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


ImageShape = tuple[int, int, int]
"""(channels, height, width) of every image of a dataset."""

TapKind = Literal["map", "vector", "tokens"]
Pool = Literal["average", "flat", "none"]
"""How a tap's features are read: averaged over places, flattened, or left in the tap's own shape."""


@dataclass(frozen=True, kw_only=True)
class NoParams:
    """The parameters of something that has none."""


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A named place in an encoder where features are read."""

    name: str
    """Unique within the encoder, in the field's words: `conv2`, `layer4`, `fc`."""
    kind: TapKind
    """`map` (N, C, H, W), `vector` (N, D) or `tokens` (N, T, D)."""
    shape: tuple[int, ...]
    """The shape without N: (C, H, W), (D,) or (T, D)."""

    def width(self, pool: Pool) -> int:
        """Number of features per image: averaged over places, or (`flat`, `none`) all of them."""
        if pool != "average" or self.kind == "vector":
            size = 1
            for length in self.shape:
                size *= length
            return size
        return self.shape[0] if self.kind == "map" else self.shape[-1]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where an encoder can be read, for one image shape."""

    taps: tuple[Tap, ...]
    """In order of depth, shallowest first. At least one."""
    output: str
    """The tap that is the encoder's representation: what methods train and the deepest of them."""
    probe: str
    """The tap that is scored by default, beside the output. May be the output itself."""
    local: str | None = None
    """The map that local objectives (DIM) contrast with the output; None if the encoder has none."""

    def tap(self, name: str) -> Tap:
        """The tap of that name.

        Raises:
            KeyError: no such tap; the message lists those that exist.
        """
        for tap in self.taps:
            if tap.name == name:
                return tap
        raise KeyError(f"no tap called '{name}'; there is: {', '.join(tap.name for tap in self.taps)}")


@dataclass(frozen=True, kw_only=True)
class EncoderContext:
    """What an encoder is built from. May grow: read fields by name."""

    params: Any
    """An instance of the spec's `params` dataclass."""
    image_shape: ImageShape
    """(C, H, W) of the images that it will see."""
    num_images: int = 0
    """Number of training images."""


class Encoder(Protocol):
    """An encoder as methods and evaluators see it: normalization in front, float32 out, taps computed lazily.

    The harness wraps what `EncoderSpec.build` returns into this, so `images` are always float32 in [0, 1].
    """

    layout: Layout

    def __call__(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Features (float32) of `images` (N, C, H, W) at each named tap, in the tap's own shape."""
        ...

    def vector(self, images: Tensor) -> Tensor:
        """The output tap, averaged over places: (N, D) float32."""
        ...


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """An encoder that a plugin provides.

    `build` returns a module with `forward(images, taps) -> {tap: Tensor}` that computes no deeper than the deepest tap
    asked for. Its images are already normalized.
    """

    name: str
    """What people type: lower case, unique among the installed encoders."""
    summary: str
    """One line for `bench list`."""
    build: Callable[[EncoderContext], nn.Module]
    """Makes the module with fresh weights. The global torch seed is set by the caller."""
    layout: Callable[[Any, ImageShape], Layout]
    """(params, image_shape) -> taps, without torch. Raises UnsupportedError for shapes that it cannot take."""
    params: type = NoParams
    """A frozen dataclass with a default for every field."""
    paper: str = ""
    """Author, title, year; where the architecture is described."""
    version: int = 1
    """Raised whenever the same settings give other numbers than before."""
    min_side: int = 8
    """Smallest image side, in pixels, that it takes."""
