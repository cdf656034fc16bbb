"""Encoders and their taps: the spec that a plugin provides, and the interface that methods and evaluators use."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from benchmark.api.limits import checked_name

if TYPE_CHECKING:
    from torch import Tensor, nn

ImageShape = tuple[int, int, int]
"""(C, H, W): channels, height and width in pixels."""
TapKind = Literal["map", "vector", "tokens"]
"""`map` (N, C, H, W), `vector` (N, D) or `tokens` (N, T, D)."""
Pool = Literal["average", "flat", "none"]
"""How a tap becomes features: averaged over positions, flattened, or kept in its own shape."""


@dataclass(frozen=True, kw_only=True)
class NoParams:
    """The parameters of a plugin that has none."""


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A named layer of an encoder where features are read."""

    name: str
    """Unique within the encoder: `conv2`, `layer4`, `fc`."""
    kind: TapKind
    """`map` (N, C, H, W), `vector` (N, D) or `tokens` (N, T, D)."""
    shape: tuple[int, ...]
    """Shape of one image's features: (C, H, W), (D,) or (T, D)."""

    def __post_init__(self) -> None:
        checked_name(self.name)

    def width(self, pool: Pool) -> int:
        """Number of features of one image: per position for `average`, all of them for `flat` and `none`."""
        if pool != "average" or self.kind == "vector":
            return math.prod(self.shape)
        return self.shape[0] if self.kind == "map" else self.shape[-1]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The taps of an encoder for one image shape."""

    taps: tuple[Tap, ...]
    """At least one, shallowest first."""
    output: str
    """Name of the tap that is the representation: methods train it, and no other tap is deeper."""
    probe: str
    """Name of the tap that is scored by default besides the output. May be the output."""
    local: str | None = None
    """Name of the map that local objectives (DIM) compare with the output; None if there is none."""

    def tap(self, name: str) -> Tap:
        """The tap of that name.

        Raises:
            KeyError: the encoder has no such tap; the message lists its taps.
        """
        for tap in self.taps:
            if tap.name == name:
                return tap
        raise KeyError(f"no tap called '{name}'; available: {', '.join(tap.name for tap in self.taps)}")


@dataclass(frozen=True, kw_only=True)
class EncoderContext:
    """The argument of `EncoderSpec.build`. Later versions may add fields."""

    params: Any
    """Instance of the spec's `params` dataclass."""
    image_shape: ImageShape
    """(C, H, W) of the images."""
    num_images: int = 0
    """Number of training images."""


class Encoder(Protocol):
    """An encoder as methods and evaluators see it.

    The harness wraps the module of `EncoderSpec.build` into this interface: images are float32 in [0, 1], normalization
    is the first operation, features are float32, and no layer deeper than the requested taps is computed.
    """

    layout: Layout
    """The taps for the images of the cell."""

    def __call__(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Features at each named tap, in the tap's own shape, float32. `images` is (N, C, H, W), float32 in [0, 1]."""
        ...

    def vector(self, images: Tensor) -> Tensor:
        """The output tap averaged over positions: (N, D), float32."""
        ...


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """An encoder that a plugin provides.

    `build` returns a module with `forward(images, taps) -> {tap: Tensor}`. It computes no layer deeper than the deepest
    requested tap. It receives normalized images.
    """

    name: str
    """Name on the command line: lower case, unique among installed encoders."""
    summary: str
    """One line for `bench list`."""
    build: Callable[[EncoderContext], nn.Module]
    """context -> module with new weights. The caller seeds torch's global generator."""
    layout: Callable[[Any, ImageShape], Layout]
    """(params, image_shape) -> taps, without torch. Raises UnsupportedError for an unsupported shape."""
    params: type = NoParams
    """Frozen dataclass with a default for every field."""
    paper: str = ""
    """`Authors: Title, VENUE year` of the architecture."""
    bibtex: str = ""
    """BibTeX entries of `paper`, separated by blank lines. Entries with the same key must be the same."""
    version: int = 1
    """Raise it when the same settings give other numbers than before."""
    min_side: int = 8
    """Smallest image side in pixels."""
