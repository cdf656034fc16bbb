"""Conformance check of encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.api.encoders import EncoderSpec, ImageShape, Layout
from benchmark.encoder import NormalizedEncoder, build_encoder
from benchmark.errors import UnsupportedError
from benchmark.evaluation.features import state_checksum
from benchmark.images import to_float
from benchmark.testing.conformance import require, unchanged_global_state
from benchmark.testing.miniature import small_images


def check_encoder(
    spec: EncoderSpec, params: Any = None, image_shapes: Sequence[ImageShape] = ((1, 8, 8), (3, 32, 32))
) -> None:
    """Checks that taps have the shapes of the layout, are computed lazily, and carry gradients.

    Args:
        spec: the encoder.
        params: instance of `spec.params`; default: its defaults.
        image_shapes: (C, H, W) to try. Shapes that the encoder refuses, by `min_side` or UnsupportedError, are skipped.

    Raises:
        ConformanceError: with what is wrong, or because the encoder supports none of the shapes.
    """
    params = spec.params() if params is None else params
    refusals = []
    for shape in image_shapes:
        if min(shape[1:]) < spec.min_side:
            refusals.append(f"{shape}: min_side is {spec.min_side}")
            continue
        with unchanged_global_state(f"encoder '{spec.name}'"):
            try:
                layout = spec.layout(params, shape)
            except UnsupportedError as error:
                refusals.append(f"{shape}: {error}")
                continue
            _check_encoder_at(spec, params, shape, layout)
    require(
        len(refusals) < len(image_shapes),
        f"encoder '{spec.name}' supports none of the image shapes ({'; '.join(refusals)}); pass other image_shapes",
    )


def _check_encoder_at(spec: EncoderSpec, params: Any, shape: ImageShape, layout: Layout) -> None:
    name = f"encoder '{spec.name}' for images of {shape}"
    _check_layout(name, layout)
    encoder = _new_encoder(spec, params, shape)
    require(
        state_checksum(encoder) == state_checksum(_new_encoder(spec, params, shape)),
        f"{name}: the same seed gave other weights; draw them from torch's global generator, which is seeded",
    )
    images = to_float(small_images(4, shape)[0])
    _check_taps(name, layout, encoder, images)
    _check_lazy(name, encoder, images, [tap.name for tap in layout.taps])
    encoder.eval()
    with torch.no_grad():
        half, whole = encoder.vector(images[:2]), encoder.vector(images)[:2]
    require(
        bool(torch.allclose(half, whole, atol=1e-4, rtol=1e-3)),
        f"{name}: in eval mode, the features of an image depend on the other images of its batch",
    )


def _new_encoder(spec: EncoderSpec, params: Any, shape: ImageShape) -> NormalizedEncoder:
    channels = shape[0]
    return build_encoder(spec, params, shape, num_images=4, seed=0, mean=[0.5] * channels, std=[1.0] * channels)


def _check_layout(name: str, layout: Layout) -> None:
    names = [tap.name for tap in layout.taps]
    require(len(names) > 0 and len(set(names)) == len(names), f"{name}: taps must have different names: {names}")
    for role, tap in (("output", layout.output), ("probe", layout.probe), ("local", layout.local)):
        require(tap is None or tap in names, f"{name}: its {role} '{tap}' is not one of its taps {names}")
    local = None if layout.local is None else layout.tap(layout.local)
    require(local is None or local.kind == "map", f"{name}: its local tap '{layout.local}' is not a map")


def _check_taps(name: str, layout: Layout, encoder: NormalizedEncoder, images: Tensor) -> None:
    """The network returns every tap, in the shape of the layout, and the output carries gradients."""
    names = [tap.name for tap in layout.taps]
    returned = encoder.network(images, tuple(names))
    for tap_name in names:
        require(tap_name in returned, f"{name}: does not return the tap '{tap_name}' of its layout")
    features = encoder(images, names)
    for tap in layout.taps:
        shape = tuple(features[tap.name].shape[1:])
        require(shape == tap.shape, f"{name}: tap '{tap.name}' has the shape {shape}, but its layout says {tap.shape}")
    output = features[layout.output]
    if output.requires_grad:
        output.square().sum().backward()
    parameters = list(encoder.parameters())
    has_gradient = any(p.grad is not None and bool((p.grad != 0).any()) for p in parameters)
    require(has_gradient or not parameters, f"{name}: no gradient from the output reaches its parameters")


def _check_lazy(name: str, encoder: NormalizedEncoder, images: Tensor, names: Sequence[str]) -> None:
    """A request for one tap runs no module that only deeper taps need."""
    used = [_modules_used(encoder, images, tap) for tap in names]
    for tap, before, after in zip(names[1:], used, used[1:], strict=False):
        require(before <= after, f"{name}: tap '{tap}' runs fewer modules than the tap before it; order taps by depth")
    if len(names) > 1:
        require(
            used[0] < used[-1],
            f"{name}: a request for '{names[0]}' runs every module; stop at the deepest requested tap",
        )


def _modules_used(encoder: NormalizedEncoder, images: Tensor, tap: str) -> set[str]:
    """Names of the modules without children that run when one tap is requested."""
    used: set[str] = set()

    def recorder(name: str) -> Callable[..., None]:
        return lambda *_: used.add(name)

    leaves = [(name, module) for name, module in encoder.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(recorder(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            encoder(images, [tap])
    finally:
        for handle in handles:
            handle.remove()
    return used
