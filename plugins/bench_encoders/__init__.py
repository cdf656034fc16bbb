"""The encoders `blocknet` (Network-in-Network), `resnet18`, `alexnet` and `dim_conv` (Deep InfoMax's encoder)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import benchmark
from bench_encoders import layouts, references
from bench_encoders.parameters import BlockNetParams, DimConvParams, ResNetParams

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, int, int]


@benchmark.hookimpl
def bench_encoders() -> Iterator[benchmark.EncoderSpec]:
    """The networks of the AET, RotNet and Deep InfoMax papers, and ResNet-18."""
    yield benchmark.EncoderSpec(
        name="blocknet",
        summary="Network-in-Network of 3 to 5 blocks, as in RotNet and AET",
        build=_blocknet,
        layout=_blocknet_layout,
        params=BlockNetParams,
        paper="Lin, Chen, Yan: Network In Network, 2014; as in Gidaris, Singh, Komodakis: Unsupervised Representation "
        "Learning by Predicting Image Rotations, 2018",
        bibtex=f"{references.LIN_2014}\n\n{references.GIDARIS_2018}",
        min_side=layouts.MIN_SIDE,
    )
    yield benchmark.EncoderSpec(
        name="resnet18",
        summary="ResNet-18, with a 3x3 stem for images up to 64 pixels",
        build=_resnet18,
        layout=_resnet18_layout,
        params=ResNetParams,
        paper="He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, 2016",
        bibtex=references.HE_2016,
        min_side=layouts.MIN_SIDE,
    )
    yield benchmark.EncoderSpec(
        name="alexnet",
        summary="AlexNet's five convolutions for small images, with BN",
        build=_alexnet,
        layout=_alexnet_layout,
        paper="Krizhevsky: One weird trick for parallelizing convolutional neural networks, 2014",
        bibtex=references.KRIZHEVSKY_2014,
        min_side=layouts.MIN_SIDE,
    )
    yield benchmark.EncoderSpec(
        name="dim_conv",
        summary="Deep InfoMax's encoder: 3 convolutions, fc 1024, output 64",
        build=_dim_conv,
        layout=_dim_conv_layout,
        params=DimConvParams,
        paper="Hjelm et al.: Learning deep representations by mutual information estimation and maximization, 2019",
        bibtex=references.HJELM_2019,
        min_side=layouts.MIN_SIDE,
    )


def _blocknet(context: benchmark.EncoderContext) -> nn.Module:
    from bench_encoders.blocknet import BlockNet

    params: BlockNetParams = context.params
    return BlockNet(
        context.image_shape[0], blocks=params.blocks, pool_after_block3=params.pool_after_block3, init=params.init
    )


def _blocknet_layout(params: BlockNetParams, image_shape: Shape) -> benchmark.Layout:
    return layouts.blocknet(image_shape, blocks=params.blocks, pool_after_block3=params.pool_after_block3)


def _resnet18(context: benchmark.EncoderContext) -> nn.Module:
    from bench_encoders.resnet import ResNet18

    small_stem = layouts.has_small_stem(context.params.stem, context.image_shape)
    return ResNet18(context.image_shape[0], small_stem=small_stem)


def _resnet18_layout(params: ResNetParams, image_shape: Shape) -> benchmark.Layout:
    return layouts.resnet18(image_shape, small_stem=layouts.has_small_stem(params.stem, image_shape))


def _alexnet(context: benchmark.EncoderContext) -> nn.Module:
    from bench_encoders.alexnet import AlexNet

    return AlexNet(context.image_shape[0])


def _alexnet_layout(params: benchmark.NoParams, image_shape: Shape) -> benchmark.Layout:
    return layouts.alexnet(image_shape)


def _dim_conv(context: benchmark.EncoderContext) -> nn.Module:
    from bench_encoders.dim_conv import DimConv

    params: DimConvParams = context.params
    _, height, width = _dim_conv_layout(params, context.image_shape).tap("conv3").shape
    return DimConv(context.image_shape[0], locations=height * width, units=params.units)


def _dim_conv_layout(params: DimConvParams, image_shape: Shape) -> benchmark.Layout:
    return layouts.dim_conv(image_shape, units=params.units)
