"""Tap shapes of each encoder for any image shape, in whole numbers: no torch is needed to plan with them.

Convention: shapes are (channels, height, width). A window of k pixels that moves by s over a side of n pixels with p
pixels of border on either end gives floor((n + 2p - k) / s) + 1 places.
"""

from __future__ import annotations

import benchmark

Shape = tuple[int, int, int]
MIN_SIDE = 8
"""Pixels: three halvings leave one."""
SMALL_STEM_SIDE = 64
"""Largest shorter side, in pixels, at which `stem=auto` keeps ResNet's first convolution at stride 1."""


def places(side: int, kernel: int, stride: int, padding: int) -> int:
    """Number of window positions along a side of `side` pixels."""
    return (side + 2 * padding - kernel) // stride + 1


def resized(shape: Shape, channels: int, *, kernel: int, stride: int, padding: int) -> Shape:
    """The map that a convolution or pooling leaves of a map `shape`."""
    _, height, width = shape
    return channels, places(height, kernel, stride, padding), places(width, kernel, stride, padding)


def halved(shape: Shape, channels: int) -> Shape:
    """The map after a window of 3 that moves by 2 with a border of 1: an odd side rounds up."""
    return resized(shape, channels, kernel=3, stride=2, padding=1)


def blocknet(image_shape: Shape, *, blocks: int, pool_after_block3: bool) -> benchmark.Layout:
    """conv1 (96) at half the side, conv2 (192) at a quarter, later blocks (192) stay there.

    Raises:
        UnsupportedError: a side below 8 pixels.
    """
    refuse_tiny("blocknet", image_shape)
    shapes = [halved(image_shape, 96)]
    shapes.append(halved(shapes[-1], 192))
    for block in range(3, blocks + 1):
        shapes.append(halved(shapes[-1], 192) if block == 3 and pool_after_block3 else shapes[-1])
    maps = maps_named("conv", shapes)
    return benchmark.Layout(taps=maps, output=maps[-1].name, probe="conv2", local="conv2")


def resnet18(image_shape: Shape, *, small_stem: bool) -> benchmark.Layout:
    """layer1 to layer4 with 64, 128, 256, 512 channels; layer1 at the full side (small stem) or at a quarter of it.

    Raises:
        UnsupportedError: a side below 8 pixels.
    """
    refuse_tiny("resnet18", image_shape)
    _, height, width = image_shape
    stem = (64, height, width)
    if not small_stem:
        stem = halved(resized(image_shape, 64, kernel=7, stride=2, padding=3), 64)
    shapes = [stem]
    for channels in (128, 256, 512):
        shapes.append(halved(shapes[-1], channels))
    maps = maps_named("layer", shapes)
    return benchmark.Layout(taps=maps, output="layer4", probe="layer4", local="layer3")


def has_small_stem(stem: str, image_shape: Shape) -> bool:
    """Whether `auto`, `small` or `imagenet` means a first convolution that keeps the side of such images."""
    return stem == "small" or (stem == "auto" and min(image_shape[1:]) <= SMALL_STEM_SIDE)


def alexnet(image_shape: Shape) -> benchmark.Layout:
    """Maps of 64, 192, 384, 256, 256 channels at 1/2, 1/4, 1/4, 1/4 and 1/8 of the side.

    `probe` is conv3: published linear probes of self-supervised AlexNets peak at conv3 or conv4. `local` is conv2, the
    first map at a quarter of the side: like Deep InfoMax's own it lies two convolutions deep.

    Raises:
        UnsupportedError: a side below 8 pixels.
    """
    refuse_tiny("alexnet", image_shape)
    conv1 = halved(image_shape, 64)
    conv2 = halved(conv1, 192)
    conv3, conv4 = (384, *conv2[1:]), (256, *conv2[1:])
    maps = maps_named("conv", [conv1, conv2, conv3, conv4, halved(conv4, 256)])
    return benchmark.Layout(taps=maps, output="conv5", probe="conv3", local="conv2")


def dim_conv(image_shape: Shape, *, units: int) -> benchmark.Layout:
    """Maps conv1 to conv3 (64, 128, 256), each half the side of the one before, rounded down; vectors fc (1024) and y.

    Raises:
        UnsupportedError: a side below 8 pixels.
    """
    refuse_tiny("dim_conv", image_shape)
    shapes = [image_shape]
    for channels in (64, 128, 256):
        shapes.append(resized(shapes[-1], channels, kernel=4, stride=2, padding=1))
    vectors = (
        benchmark.Tap(name="fc", kind="vector", shape=(1024,)),
        benchmark.Tap(name="y", kind="vector", shape=(units,)),
    )
    return benchmark.Layout(taps=(*maps_named("conv", shapes[1:]), *vectors), output="y", probe="fc", local="conv2")


def maps_named(word: str, shapes: list[Shape]) -> tuple[benchmark.Tap, ...]:
    """Taps word1, word2, ... for maps in order of depth."""
    return tuple(
        benchmark.Tap(name=f"{word}{depth}", kind="map", shape=shape) for depth, shape in enumerate(shapes, start=1)
    )


def refuse_tiny(encoder: str, image_shape: Shape) -> None:
    """Raises UnsupportedError for images that three halvings would leave nothing of."""
    channels, height, width = image_shape
    if min(height, width) < MIN_SIDE or channels < 1:
        raise benchmark.UnsupportedError(
            f"encoder '{encoder}' takes images of at least {MIN_SIDE} x {MIN_SIDE} pixels with one channel or more; "
            f"these are {channels} x {height} x {width} (channels x height x width). Choose larger images"
        )
