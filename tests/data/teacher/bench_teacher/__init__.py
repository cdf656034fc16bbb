"""Bootstrap your own latent: a student predicts the output of its own moving average on another view."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import benchmark

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class ByolParams:
    """Parameters of `byol`."""

    momentum: float = field(default=0.99, metadata={"help": "momentum of the teacher at the start"})
    """In [0, 1); rises to 1 along a cosine."""
    width: int = field(default=32, metadata={"help": "hidden units and projected dimensions"})
    """1 or more."""

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} is not valid; momentum is a number from 0 to below 1")


@benchmark.hookimpl
def bench_methods() -> Iterator[benchmark.MethodSpec]:
    """BYOL."""
    yield benchmark.MethodSpec(
        name="byol",
        summary="a student predicts its own moving average on another view",
        paper="Grill et al., Bootstrap Your Own Latent, NeurIPS 2020",
        params=ByolParams,
        build=_build,
        recipe=lambda setting: benchmark.Recipe(epochs=4, batch=16, augment="none"),
    )


def _build(context: benchmark.MethodContext) -> nn.Module:
    from bench_teacher.byol import Byol

    return Byol(context)
