"""Tap shapes of each encoder for any image shape, computed without torch.

Convention: shapes are (channels, height, width). A window of k pixels with stride s on a side of n pixels with p pixels of
padding on each end has floor((n + 2p - k) / s) + 1 positions.
"""

from __future__ import annotations

import benchmark

Shape = tuple[int, int, int]
MIN_SIDE = 8
"""Smallest side in pixels; halved three times it is 1."""
SMALL_STEM_SIDE = 64
"""Largest shorter side in pixels for which `stem=auto` chooses ResNet's small stem."""


def num_positions(side: int, kernel: int, stride: int, padding: int) -> int:
    """Number of window positions along a side of `side` pixels."""
    return (side + 2 * padding - kernel) // stride + 1


def resized(shape: Shape, channels: int, *, kernel: int, stride: int, padding: int) -> Shape:
    """Shape of a map after a convolution or pooling."""
    _, height, width = shape
    return channels, num_positions(height, kernel, stride, padding), num_positions(width, kernel, stride, padding)


def halved(shape: Shape, channels: int) -> Shape:
    """Shape of a map after a window of 3 with stride 2 and padding 1; an odd side rounds up."""
    return resized(shape, channels, kernel=3, stride=2, padding=1)


def blocknet(image_shape: Shape, *, blocks: int, pool_after_block3: bool) -> benchmark.Layout:
    """conv1 (96 channels) at 1/2 of the side, conv2 and later blocks (192 channels) at 1/4.

    Raises:
        UnsupportedError: a side below 8 pixels.
    """
    check_image_shape("blocknet", image_shape)
    shapes = [halved(image_shape, 96)]
    shapes.append(halved(shapes[-1], 192))
    for block in range(3, blocks + 1):
        shapes.append(halved(shapes[-1], 192) if block == 3 and pool_after_block3 else shapes[-1])
    maps = numbered_maps("conv", shapes)
    return benchmark.Layout(taps=maps, output=maps[-1].name, probe="conv2", local="conv2")


def resnet18(image_shape: Shape, *, small_stem: bool) -> benchmark.Layout:
    """layer1 to layer4 with 64, 128, 256, 512 channels; layer1 at the full side (small stem) or at 1/4 of it.

    Raises:
        UnsupportedError: a side below 8 pixels.
    """
    check_image_shape("resnet18", image_shape)
    _, height, width = image_shape
    stem = (64, height, width)
    if not small_stem:
        stem = halved(resized(image_shape, 64, kernel=7, stride=2, padding=3), 64)
    shapes = [stem]
    for channels in (128, 256, 512):
        shapes.append(halved(shapes[-1], channels))
    maps = numbered_maps("layer", shapes)
    return benchmark.Layout(taps=maps, output="layer4", probe="layer4", local="layer3")


def has_small_stem(stem: str, image_shape: Shape) -> bool:
    """Whether the value `auto`, `small` or `imagenet` of `stem` means the small stem for these images."""
    return stem == "small" or (stem == "auto" and min(image_shape[1:]) <= SMALL_STEM_SIDE)


def alexnet(image_shape: Shape) -> benchmark.Layout:
    """Maps of 64, 192, 384, 256, 256 channels at 1/2, 1/4, 1/4, 1/4 and 1/8 of the side.

    `probe` is conv3: published linear probes of self-supervised AlexNets are best at conv3 or conv4. `local` is conv2, the
    first map at 1/4 of the side, after two convolutions like Deep InfoMax's local map.

    Raises:
        UnsupportedError: a side below 8 pixels.
    """
    check_image_shape("alexnet", image_shape)
    conv1 = halved(image_shape, 64)
    conv2 = halved(conv1, 192)
    conv3, conv4 = (384, *conv2[1:]), (256, *conv2[1:])
    maps = numbered_maps("conv", [conv1, conv2, conv3, conv4, halved(conv4, 256)])
    return benchmark.Layout(taps=maps, output="conv5", probe="conv3", local="conv2")


def dim_conv(image_shape: Shape, *, units: int) -> benchmark.Layout:
    """Maps conv1 to conv3 (64, 128, 256 channels), each half the side of its input, rounded down; vectors fc (1024) and y.

    Raises:
        UnsupportedError: a side below 8 pixels.
    """
    check_image_shape("dim_conv", image_shape)
    shapes = [image_shape]
    for channels in (64, 128, 256):
        shapes.append(resized(shapes[-1], channels, kernel=4, stride=2, padding=1))
    vectors = (
        benchmark.Tap(name="fc", kind="vector", shape=(1024,)),
        benchmark.Tap(name="y", kind="vector", shape=(units,)),
    )
    return benchmark.Layout(taps=(*numbered_maps("conv", shapes[1:]), *vectors), output="y", probe="fc", local="conv2")


def numbered_maps(prefix: str, shapes: list[Shape]) -> tuple[benchmark.Tap, ...]:
    """Taps prefix1, prefix2, ... for maps in order of depth."""
    return tuple(
        benchmark.Tap(name=f"{prefix}{depth}", kind="map", shape=shape) for depth, shape in enumerate(shapes, start=1)
    )


def check_image_shape(encoder: str, image_shape: Shape) -> None:
    """Raises UnsupportedError for images that are smaller than `MIN_SIDE` or have no channel."""
    channels, height, width = image_shape
    if min(height, width) < MIN_SIDE or channels < 1:
        raise benchmark.UnsupportedError(
            f"encoder '{encoder}' needs images of at least {MIN_SIDE} x {MIN_SIDE} pixels with at least one channel, but "
            f"these are {channels} x {height} x {width} (channels x height x width). Use larger images"
        )
