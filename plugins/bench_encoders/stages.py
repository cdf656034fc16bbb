"""Run a network of named stages up to the deepest requested tap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn


def read_taps(stages: Iterable[tuple[str, nn.Module]], images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
    """The outputs of the named stages for `images`.

    Args:
        stages: (tap name, module) in order of depth; each takes the output of the one before it.
        images: (N, C, H, W), the input of the first stage.
        taps: names of the stages to return. No stage deeper than these is run.

    Raises:
        KeyError: no stage has the name of a tap.
    """
    missing = set(taps)
    outputs: dict[str, Tensor] = {}
    features = images
    for name, stage in stages:
        if not missing:
            break
        features = stage(features)
        if name in missing:
            outputs[name] = features
            missing.remove(name)
    return {name: outputs[name] for name in taps}
