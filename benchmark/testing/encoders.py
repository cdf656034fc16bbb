"""Conformance check of encoder plugins."""

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
from benchmark.testing.conformance import NoTrace, require
from benchmark.testing.miniature import small_images


def check_encoder(
    spec: EncoderSpec, params: Any = None, image_shapes: Sequence[ImageShape] = ((1, 8, 8), (3, 32, 32))
) -> None:
    """An encoder's taps have the shapes that its layout says, are computed lazily, and carry gradients.

    Args:
        spec: the encoder.
        params: an instance of `spec.params`; default: its defaults.
        image_shapes: (C, H, W) to try; those that it does not take, by `min_side` or UnsupportedError, are left out.

    Raises:
        ConformanceError: with what is wrong, or because it takes none of the shapes.
    """
    params = spec.params() if params is None else params
    refused = []
    for shape in image_shapes:
        if min(shape[1:]) < spec.min_side:
            refused.append(f"{shape}: min_side is {spec.min_side}")
            continue
        with NoTrace(f"encoder '{spec.name}'"):
            try:
                layout = spec.layout(params, shape)
            except UnsupportedError as error:
                refused.append(f"{shape}: {error}")
                continue
            _check_encoder_at(spec, params, shape, layout)
    require(
        len(refused) < len(image_shapes),
        f"encoder '{spec.name}' takes none of the shapes of the check ({'; '.join(refused)}); give image_shapes",
    )


def _check_encoder_at(spec: EncoderSpec, params: Any, shape: ImageShape, layout: Layout) -> None:
    name = f"encoder '{spec.name}' for images of {shape}"
    _check_layout(name, layout)
    encoder = fresh_encoder(spec, params, shape)
    require(
        state_checksum(encoder) == state_checksum(fresh_encoder(spec, params, shape)),
        f"{name}: the same seed gave other weights; draw them from torch's global generator, which is seeded",
    )
    images = to_float(small_images(4, shape)[0])
    names = [tap.name for tap in layout.taps]
    given = encoder.network(images, tuple(names))
    for each in names:
        require(each in given, f"{name}: gives no tap '{each}', which its layout names")
    found = encoder(images, names)
    for tap in layout.taps:
        got = tuple(found[tap.name].shape[1:])
        require(got == tap.shape, f"{name}: tap '{tap.name}' has the shape {got}, its layout says {tap.shape}")
    if found[layout.output].requires_grad:
        found[layout.output].square().sum().backward()
    reached = any(p.grad is not None and bool((p.grad != 0).any()) for p in encoder.parameters())
    require(reached or not list(encoder.parameters()), f"{name}: no gradient reaches its parameters from the output")
    _check_lazy(name, encoder, images, names)
    encoder.eval()
    with torch.no_grad():
        alone, together = encoder.vector(images[:2]), encoder.vector(images)[:2]
    require(
        bool(torch.allclose(alone, together, atol=1e-4, rtol=1e-3)),
        f"{name}: in eval mode an image's features depend on the other images of its batch",
    )


def fresh_encoder(spec: EncoderSpec, params: Any, shape: ImageShape) -> NormalizedEncoder:
    ones = [1.0] * shape[0]
    return build_encoder(spec, params, shape, num_images=4, seed=0, mean=[0.5] * shape[0], std=ones)


def _check_layout(name: str, layout: Layout) -> None:
    names = [tap.name for tap in layout.taps]
    require(len(names) > 0 and len(set(names)) == len(names), f"{name}: taps must have different names: {names}")
    for role, chosen in (("output", layout.output), ("probe", layout.probe), ("local", layout.local)):
        require(chosen is None or chosen in names, f"{name}: its {role} '{chosen}' is none of its taps {names}")
    local = None if layout.local is None else layout.tap(layout.local)
    require(local is None or local.kind == "map", f"{name}: its local tap '{layout.local}' is no map")


def _check_lazy(name: str, encoder: NormalizedEncoder, images: Tensor, names: Sequence[str]) -> None:
    """Asking for one tap must not run modules that only deeper taps need."""
    before: set[str] = set()
    for number, tap in enumerate(names):
        used = _modules_used(encoder, images, tap)
        require(
            before <= used or number == 0, f"{name}: tap '{tap}' runs less than the tap before it; order taps by depth"
        )
        before = used
    if len(names) > 1 and any(True for module in encoder.network.modules() if not list(module.children())):
        first, last = _modules_used(encoder, images, names[0]), _modules_used(encoder, images, names[-1])
        require(
            first < last, f"{name}: asking for '{names[0]}' alone runs everything; stop at the deepest tap asked for"
        )


def _modules_used(encoder: NormalizedEncoder, images: Tensor, tap: str) -> set[str]:
    used: set[str] = set()

    def noting(name: str) -> Callable[..., None]:
        return lambda *_: used.add(name)

    leaves = [(name, module) for name, module in encoder.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(noting(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            encoder(images, [tap])
    finally:
        for handle in handles:
            handle.remove()
    return used
