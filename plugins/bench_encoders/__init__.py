"""Encoders with named taps: Network-in-Network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import benchmark
from bench_encoders import layouts
from bench_encoders.parameters import BlockNetParams

if TYPE_CHECKING:
    from torch import nn


@benchmark.hookimpl
def bench_encoders() -> Iterator[benchmark.EncoderSpec]:
    """blocknet."""
    yield benchmark.EncoderSpec(
        name="blocknet",
        summary="Network-in-Network of 3 to 5 blocks, the trunk of RotNet and AET",
        build=_blocknet,
        layout=_blocknet_layout,
        params=BlockNetParams,
        paper="Lin, Chen, Yan: Network In Network, 2014; as in Gidaris, Singh, Komodakis: Unsupervised Representation "
        "Learning by Predicting Image Rotations, 2018",
        min_side=layouts.MIN_SIDE,
    )


def _blocknet(context: benchmark.EncoderContext) -> nn.Module:
    from bench_encoders.blocknet import BlockNet

    params: BlockNetParams = context.params
    return BlockNet(
        context.image_shape[0], blocks=params.blocks, pool_after_block3=params.pool_after_block3, init=params.init
    )


def _blocknet_layout(params: BlockNetParams, image_shape: tuple[int, int, int]) -> benchmark.Layout:
    return layouts.blocknet(image_shape, blocks=params.blocks, pool_after_block3=params.pool_after_block3)
