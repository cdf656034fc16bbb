"""Tap shapes of each encoder for any image shape, in whole numbers: no torch is needed to plan with them.

Convention: shapes are (channels, height, width). A window of k pixels that moves by s over a side of n pixels with p
pixels of border on either end gives floor((n + 2p - k) / s) + 1 places.
"""

from __future__ import annotations

import benchmark

Shape = tuple[int, int, int]
MIN_SIDE = 8
"""Pixels: three halvings leave one."""


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
