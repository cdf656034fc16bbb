"""RotNet: the encoder learns by predicting the rotation of an image.

This is the tutorial plugin. This file declares the method's name, parameters and recipe; `method.py` contains the method,
`published.py` published results, `references.py` BibTeX. To write a plugin, copy these files, change the names, and add one
line under the entry-point group `bench`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import benchmark
from bench_rotation.published import FIGURES, PAPER
from bench_rotation.references import GIDARIS_2018

if TYPE_CHECKING:
    from random import Random

    from PIL.Image import Image

    from bench_rotation.method import Rotation


@dataclass(frozen=True, kw_only=True)
class RotationParams:
    """Parameters of `rotation`, as in `rotation[turns=2]`."""

    turns: Literal[2, 4, 8] = field(default=4, metadata={"help": "number of evenly spaced rotations: 2, 4 or 8"})
    """4 is best on CIFAR-10 (Gidaris et al. 2018, Table 2). The paper does not describe how its 8 rotations were made; here
    images are enlarged so that no corner is visible."""

    def __post_init__(self) -> None:
        if self.turns not in (2, 4, 8):
            raise ValueError(f"turns={self.turns} is not valid: must be 2, 4 or 8")


def build(context: benchmark.MethodContext) -> Rotation:
    """Builds the method for the context's encoder. torch is imported here, so that listing methods stays fast."""
    from bench_rotation.method import Rotation

    return Rotation(context.encoder, context.layout, context.params.turns)


def plain_views(params: RotationParams, image: Image, rng: Random) -> tuple[list[Image], list[float]]:
    """The views of one image as a plain data loader makes them, for `bench speed`. Optional."""
    from bench_rotation import plain

    return plain.plain_views(params, image, rng)


def supports(setting: benchmark.Setting) -> str | None:
    """The reason why the method cannot be trained in this setting, or None. Quarter turns need square images."""
    _, height, width = setting.image_shape
    if height != width and setting.method_params.turns != 2:
        return f"quarter turns need square images, but these are {height} x {width}; use rotation[turns=2]"
    return None


def recipe(setting: benchmark.Setting) -> benchmark.Recipe:
    """The training recipe.

    `paper`: the authors' released CIFAR-10 configuration (github.com/gidariss/FeatureLearningRotNet), for its network and
    image shape. `quick`: Adam with a cosine schedule, which trains every built-in encoder.

    Raises:
        UnsupportedError: `paper` with another encoder, another initialization than PyTorch's, or other images.
    """
    if setting.budget == "quick":
        return benchmark.Recipe(
            epochs=6 if setting.num_images <= 5000 else 20,
            # A mirrored digit is not a digit, and its orientation is ambiguous: a mirrored 2 resembles a rotated 5.
            augment="crop" if setting.dataset == "digits" else "crop-flip",
            pad=max(1, setting.image_shape[1] // 8),
        )
    params = setting.encoder_params
    default_init = getattr(params, "init", "default") == "default" and not getattr(params, "pool_after_block3", False)
    if setting.encoder != "blocknet" or not default_init or setting.image_shape != (3, 32, 32):
        raise benchmark.UnsupportedError(
            f"rotation has no paper recipe for this {setting.encoder} on images of shape {setting.image_shape}: RotNet was "
            "published with 'blocknet[init=default]' on color images (3, 32, 32). Use those, --budget quick or --epochs"
        )
    return PAPER


@benchmark.hookimpl
def bench_methods() -> Iterable[benchmark.MethodSpec]:
    """The method `rotation`."""
    yield benchmark.MethodSpec(
        name="rotation",
        summary="RotNet: predict the rotation of the image",
        paper="Gidaris, Singh, Komodakis: Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018",
        bibtex=GIDARIS_2018,
        params=RotationParams,
        build=build,
        supports=supports,
        recipe=recipe,
        capturable=True,
        plain_views=plain_views,
        published=FIGURES,
    )
