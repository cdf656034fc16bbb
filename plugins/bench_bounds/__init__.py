"""Reference points for other methods: the floors `pixels` and `untrained`, the ceiling `supervised`, and `pretrained`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import benchmark
from bench_bounds import published, recipes, references, weight_file
from bench_bounds.parameters import PretrainedParams

if TYPE_CHECKING:
    from torch import nn


@benchmark.hookimpl
def bench_methods() -> Iterator[benchmark.MethodSpec]:
    """The methods `pixels`, `untrained`, `supervised` and `pretrained`. Only `supervised` uses labels."""
    yield benchmark.MethodSpec(
        name="pixels",
        summary="floor: normalized pixels, without an encoder",
        build=_pixels,
        trains=False,
        seeded=False,
        floor=True,
        own_encoder=benchmark.EncoderSpec(
            name="-", summary="the normalized pixels", build=_pixel_encoder, layout=_pixel_layout, min_side=1
        ),
    )
    yield benchmark.MethodSpec(
        name="untrained",
        summary="floor: random weights, measured batch statistics",
        build=_untrained,
        trains=False,
        floor=True,
        published=published.UNTRAINED,
    )
    yield benchmark.MethodSpec(
        name="supervised",
        summary="ceiling: cross-entropy on the training labels",
        build=_supervised,
        paper="Gidaris, Singh, Komodakis: Unsupervised Representation Learning by Predicting Image Rotations, 2018",
        bibtex=references.GIDARIS_2018,
        recipe=recipes.recipe,
        supports=recipes.supports,
        labels="all",
        capturable=True,
        published=published.SUPERVISED,
    )
    yield benchmark.MethodSpec(
        name="pretrained",
        summary="weights from a file, without training",
        build=_pretrained,
        params=PretrainedParams,
        trains=False,
        seeded=False,
        identity=weight_file.identity,
    )


def _pixels(context: benchmark.MethodContext) -> nn.Module:
    from bench_bounds.not_trained import NotTrained

    return NotTrained(context.encoder, "pixels")


def _pixel_encoder(context: benchmark.EncoderContext) -> nn.Module:
    from bench_bounds.pixels import Pixels

    return Pixels()


def _pixel_layout(params: benchmark.NoParams, image_shape: tuple[int, int, int]) -> benchmark.Layout:
    tap = benchmark.Tap(name="pixels", kind="vector", shape=(math.prod(image_shape),))
    return benchmark.Layout(taps=(tap,), output=tap.name, probe=tap.name)


def _untrained(context: benchmark.MethodContext) -> nn.Module:
    from bench_bounds.untrained import Untrained

    return Untrained(context)


def _supervised(context: benchmark.MethodContext) -> nn.Module:
    from bench_bounds.supervised import Supervised

    return Supervised(context)


def _pretrained(context: benchmark.MethodContext) -> nn.Module:
    from bench_bounds.pretrained import pretrained

    return pretrained(context)
