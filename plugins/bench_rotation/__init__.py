"""RotNet: the encoder learns by telling how far an image was turned.

The tutorial plugin. This file says what the method is called, what it can be asked for and how it is trained; `method.py` is
the method, `published.py` what others measured with it. Copy them, change the names, and add one line under the entry-point
group `bench`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import benchmark
from bench_rotation.published import FIGURES, PAPER

if TYPE_CHECKING:
    from random import Random

    from PIL.Image import Image

    from bench_rotation.method import Rotation


@dataclass(frozen=True, kw_only=True)
class RotationParams:
    """What can be asked for: `rotation[turns=2]`."""

    turns: Literal[2, 4, 8] = field(default=4, metadata={"help": "number of rotations to tell apart, evenly spaced"})
    """Rotations spread evenly over the circle. How 8 were made is not known to us: here images are enlarged until no
    corner shows. 4 is best on CIFAR-10 (Gidaris et al. 2018, Table 2)."""

    def __post_init__(self) -> None:
        if self.turns not in (2, 4, 8):
            raise ValueError(f"rotation[turns={self.turns}] does not exist: turns is 2, 4 or 8")


def build(context: benchmark.MethodContext) -> Rotation:
    """The method around the context's encoder. torch is imported here and not when methods are listed."""
    from bench_rotation.method import Rotation

    return Rotation(context.encoder, context.layout, context.params.turns)


def plain_views(params: RotationParams, image: Image, chance: Random) -> tuple[list[Image], list[float]]:
    """The views of one image as an ordinary loader makes them; what `bench speed` compares with. Not needed to be run."""
    from bench_rotation import plain

    return plain.plain_views(params, image, chance)


def supports(setting: benchmark.Setting) -> str | None:
    """Why this cell makes no sense, or None: a quarter turn of an oblong image has another shape."""
    _, height, width = setting.image_shape
    if height != width and setting.method_params.turns != 2:
        return f"quarter turns need square images, and these are {height} x {width}; rotation[turns=2] takes them"
    return None


def recipe(setting: benchmark.Setting) -> benchmark.Recipe:
    """How it is trained.

    `paper`: the authors' released CIFAR-10 configuration (github.com/gidariss/FeatureLearningRotNet), for the network
    and the channels that it was made for. `quick`: Adam on a cosine, which trains every built-in encoder.

    Raises:
        UnsupportedError: `paper` with another encoder, other first weights than PyTorch's, or other images.
    """
    if setting.budget == "quick":
        return benchmark.Recipe(
            epochs=6 if setting.num_images <= 5000 else 20,
            # A mirrored digit is no digit, and its right way up is anybody's guess: a mirrored 2 looks like a turned 5.
            augment="crop" if setting.dataset == "digits" else "crop-flip",
            pad=max(1, setting.image_shape[1] // 8),
        )
    params = setting.encoder_params
    own_start = getattr(params, "init", "default") == "default" and not getattr(params, "pool_after_block3", False)
    if setting.encoder != "blocknet" or not own_start or setting.image_shape != (3, 32, 32):
        raise benchmark.UnsupportedError(
            f"rotation has no paper recipe for this {setting.encoder} on images of {setting.image_shape}: RotNet was published "
            "with 'blocknet[init=default]' on color images (3, 32, 32); ask for that, or use the budget quick, or a number "
            "of epochs"
        )
    return PAPER


@benchmark.hookimpl
def bench_methods() -> Iterable[benchmark.MethodSpec]:
    """Yields the one method of this plugin."""
    yield benchmark.MethodSpec(
        name="rotation",
        summary="RotNet: which of four quarter turns was the image given?",
        paper="Gidaris, Singh, Komodakis: Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018",
        params=RotationParams,
        build=build,
        supports=supports,
        recipe=recipe,
        capturable=True,
        plain_views=plain_views,
        published=FIGURES,
    )
