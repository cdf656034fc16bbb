"""AET: the encoder learns by predicting the transformation between an image and its copy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

import benchmark
from bench_aet.published import FIGURES, PAPER
from bench_aet.references import ZHANG_2019

if TYPE_CHECKING:
    from random import Random

    from PIL.Image import Image

    from bench_aet.method import AET


@dataclass(frozen=True, kw_only=True)
class AETParams:
    """Parameters of `aet`, as in `aet[transform=affine]`."""

    transform: Literal["projective", "affine", "similarity"] = field(
        default="projective", metadata={"help": "family of transformations"}
    )
    """The paper uses affine and projective (section 4.1); similarity is affine without shear."""
    fill: Literal["gray", "black"] = field(default="gray", metadata={"help": "value of pixels outside the image"})
    """`gray` is 128 of 255, as in the authors' code, which fills with black unless Pillow has version 5. Black wedges reveal
    the transformation."""
    statistics: Literal["separate", "joint"] = field(
        default="separate", metadata={"help": "batch statistics of image and copy"}
    )
    """`separate`: one forward pass for the images and one for the copies, each with its own batch statistics, as in the
    authors' code. `joint`: one forward pass with shared statistics; faster on a GPU, with other results."""
    loss: Literal["parametric", "image"] = field(
        default="parametric", metadata={"help": "compare transformation parameters or images"}
    )
    """`parametric`: squared error of the target values (section 3.2). `image`: squared difference of the pixels under the
    true and the predicted transformation, the paper's loss for transformations without parameters (same section)."""


ADDED: dict[str, object] = {"loss": "parametric"}
"""Parameters that were added after the first results. At these values they are not part of a cell's identity."""


def identity(params: AETParams) -> Mapping[str, object]:
    """All parameters, without those in `ADDED` at their default, so that the ids of older cells stay the same."""
    values = {each.name: getattr(params, each.name) for each in fields(params)}
    return {name: value for name, value in values.items() if name not in ADDED or value != ADDED[name]}


def build(context: benchmark.MethodContext) -> AET:
    """Builds the method for the context's encoder and image size."""
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


def plain_views(params: AETParams, image: Image, rng: Random) -> tuple[list[Image], list[float]]:
    """The views of one image as a plain data loader makes them, for `bench speed`."""
    from bench_aet import plain

    return plain.plain_views(params, image, rng)


def supports(setting: benchmark.Setting) -> str | None:
    """The reason why AET cannot be trained in this setting, or None. Transformations are defined for square images."""
    _, height, width = setting.image_shape
    if height != width:
        return f"AET needs square images, but these are {height} x {width}"
    return None


def is_published(setting: benchmark.Setting) -> bool:
    """Whether encoder and image shape are those of the authors' script."""
    released = {"blocks": 4, "init": "aet", "pool_after_block3": False}
    params = setting.encoder_params
    as_released = all(getattr(params, name, value) == value for name, value in released.items())
    return setting.encoder == "blocknet" and as_released and setting.image_shape == (3, 32, 32)


def recipe(setting: benchmark.Setting) -> benchmark.Recipe:
    """The training recipe.

    `paper`: the authors' CIFAR-10 script (github.com/maple-research-lab/AET), in which the paper's fifth decrease of the
    rate, at epoch 1000, is a linear decay to 1e-5. `quick`: Adam with a cosine schedule; on ResNet-18 the paper's rate of
    0.1 saturates the tanh of the affine decoder.

    Raises:
        UnsupportedError: `paper` with another encoder, other images, an unpublished family or the image loss.
    """
    if setting.budget == "quick":
        return benchmark.Recipe(
            epochs=6 if setting.num_images <= 5000 else 20,
            augment="crop" if setting.dataset == "digits" else "crop-flip",  # a mirrored digit is not a digit
            pad=max(1, setting.image_shape[1] // 8),
        )
    if not is_published(setting):
        raise benchmark.UnsupportedError(
            f"aet has no paper recipe for this {setting.encoder} on images of shape {setting.image_shape}: AET was published "
            "with blocknet (default parameters) on color images (3, 32, 32). Use --budget quick or --epochs"
        )
    if setting.method_params.transform == "similarity":
        raise benchmark.UnsupportedError(
            "aet has no paper recipe for transform=similarity: the published families are affine and projective. "
            "Use --budget quick or --epochs"
        )
    if setting.method_params.loss == "image":
        raise benchmark.UnsupportedError(
            "aet has no paper recipe for loss=image: the released script compares target values. "
            "Use --budget quick or --epochs"
        )
    return PAPER


@benchmark.hookimpl
def bench_methods() -> Iterable[benchmark.MethodSpec]:
    """The method `aet`."""
    yield benchmark.MethodSpec(
        name="aet",
        summary="AET: predict the transformation between image and copy",
        paper="Zhang, Qi, Wang, Luo: AET vs. AED: Unsupervised Representation Learning by Auto-Encoding Transformations "
        "rather than Data, CVPR 2019",
        bibtex=ZHANG_2019,
        params=AETParams,
        build=build,
        supports=supports,
        recipe=recipe,
        identity=identity,
        capturable=True,
        plain_views=plain_views,
        published=FIGURES,
    )
