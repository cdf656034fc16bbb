"""AET: the encoder learns by telling which transformation took an image to its copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

import benchmark
from bench_aet.published import FIGURES, PAPER

if TYPE_CHECKING:
    from random import Random

    from PIL.Image import Image

    from bench_aet.method import AET


@dataclass(frozen=True, kw_only=True)
class AETParams:
    """What can be asked for: `aet[transform=affine]`."""

    transform: Literal["projective", "affine", "similarity"] = field(
        default="projective", metadata={"help": "family that the transformation is drawn from"}
    )
    """Family of transformations. The paper's are affine and projective (section 4.1); similarity is affine without shear."""
    fill: Literal["gray", "black"] = field(default="gray", metadata={"help": "what comes in from outside of the image"})
    """Gray is 128 of 255, as in the authors' code, which fills with black unless Pillow is version 5. Black wedges give the
    transformation away."""
    statistics: Literal["separate", "joint"] = field(
        default="separate", metadata={"help": "batch normalization: one forward for each branch, or one for both"}
    )
    """`separate`: image and copy pass one after the other, each with batch statistics of its own, as in the authors' code.
    `joint`: both in one batch with common statistics; faster on a GPU, other numbers."""
    loss: Literal["parametric", "image"] = field(
        default="parametric", metadata={"help": "what is compared: target values, or the images that they make"}
    )
    """`parametric`: squared error of the target values (section 3.2). `image`: squared difference of the pixels under the
    true and the told transformation, the paper's loss for transformations without parameters (same section)."""


ADDED: dict[str, object] = {"loss": "parametric"}
"""Parameters that came after the first results: at these values they are no part of what a cell is."""


def identity(params: AETParams) -> Mapping[str, object]:
    """Every parameter, but those of `ADDED` only where they change something: cells from before them stay the same."""
    values = {each.name: getattr(params, each.name) for each in fields(params)}
    return {name: value for name, value in values.items() if name not in ADDED or value != ADDED[name]}


def build(context: benchmark.MethodContext) -> AET:
    """The method around the context's encoder, for transformations of its image side."""
    from bench_aet.method import AET
    from bench_aet.transforms import FAMILIES

    params: AETParams = context.params
    return AET(
        context.encoder,
        context.layout,
        FAMILIES[params.transform](context.image_shape[-1]),
        fill=128 / 255 if params.fill == "gray" else 0.0,
        joint=params.statistics == "joint",
        compare_images=params.loss == "image",
    )


def plain_views(params: AETParams, image: Image, chance: Random) -> tuple[list[Image], list[float]]:
    """The views of one image as an ordinary loader makes them; what `bench speed` compares with."""
    from bench_aet import plain

    return plain.plain_views(params, image, chance)


def supports(setting: benchmark.Setting) -> str | None:
    """Why this cell makes no sense, or None: the law is scaled by the one side of a square."""
    _, height, width = setting.image_shape
    if height != width:
        return f"AET's transformations are drawn for square images, and these are {height} x {width}"
    return None


def is_published(setting: benchmark.Setting) -> bool:
    """Whether encoder and images are those of the authors' script."""
    wanted = {"blocks": 4, "init": "aet", "pool_after_block3": False}
    params = setting.encoder_params
    as_released = all(getattr(params, name, value) == value for name, value in wanted.items())
    return setting.encoder == "blocknet" and as_released and setting.image_shape == (3, 32, 32)


def recipe(setting: benchmark.Setting) -> benchmark.Recipe:
    """How it is trained.

    `paper`: the authors' CIFAR-10 script (github.com/maple-research-lab/AET), where the paper's fifth step down at epoch
    1000 is a straight line to 1e-5. `quick`: Adam on a cosine; the paper's rate of 0.1 drives the tanh of the affine
    decoder into saturation on ResNet-18.

    Raises:
        UnsupportedError: `paper` with another encoder, other images, a family that is not published or the loss of images.
    """
    if setting.budget == "quick":
        return benchmark.Recipe(
            epochs=6 if setting.num_images <= 5000 else 20,
            augment="crop" if setting.dataset == "digits" else "crop-flip",  # a mirrored digit is no digit
            pad=max(1, setting.image_shape[1] // 8),
        )
    if not is_published(setting):
        raise benchmark.UnsupportedError(
            f"aet has no paper recipe for this {setting.encoder} on images of {setting.image_shape}: AET was published with "
            "blocknet as it is by default, on color images (3, 32, 32); use the budget quick, or a number of epochs"
        )
    if setting.method_params.transform == "similarity":
        raise benchmark.UnsupportedError(
            "aet has no paper recipe for transform=similarity: the published families are affine and projective; use the "
            "budget quick, or a number of epochs"
        )
    if setting.method_params.loss == "image":
        raise benchmark.UnsupportedError(
            "aet has no paper recipe for loss=image: the released script compares target values; use the budget quick, or "
            "a number of epochs"
        )
    return PAPER


@benchmark.hookimpl
def bench_methods() -> Iterable[benchmark.MethodSpec]:
    """Yields AET; its parameter names the family of transformations."""
    yield benchmark.MethodSpec(
        name="aet",
        summary="AET: which transformation took the image to its copy?",
        paper="Zhang, Qi, Wang, Luo: AET vs. AED: Unsupervised Representation Learning by Auto-Encoding Transformations "
        "rather than Data, CVPR 2019",
        params=AETParams,
        build=build,
        supports=supports,
        recipe=recipe,
        identity=identity,
        capturable=True,
        plain_views=plain_views,
        published=FIGURES,
    )
