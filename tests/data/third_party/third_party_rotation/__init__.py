"""A plugin whose method has the name of a built-in one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import benchmark

if TYPE_CHECKING:
    from torch import nn


@benchmark.hookimpl
def bench_methods() -> Iterator[benchmark.MethodSpec]:
    """Another method called `rotation`; it predicts mean colors."""
    yield benchmark.MethodSpec(
        name="rotation",
        summary="a third-party method",
        build=_build,
        recipe=lambda setting: benchmark.Recipe(epochs=1, batch=16, augment="none"),
    )


def _build(context: benchmark.MethodContext) -> nn.Module:
    from bench_third_party.mean_color import MeanColor

    return MeanColor(context.encoder, context.layout, context.image_shape, "left")
