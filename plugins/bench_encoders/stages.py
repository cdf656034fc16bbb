"""A network as a row of named stages, run only as far as somebody reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn


def read_taps(stages: Iterable[tuple[str, nn.Module]], images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
    """What the named stages give for `images`.

    Args:
        stages: (tap name, module) in order of depth; each takes what the one before it gives.
        images: (N, C, H, W), what the first stage takes.
        taps: names of the stages to read. No stage behind the deepest of them is run.

    Raises:
        KeyError: a tap that no stage is called.
    """
    unread = set(taps)
    found: dict[str, Tensor] = {}
    features = images
    for name, stage in stages:
        if not unread:
            break
        features = stage(features)
        if name in unread:
            found[name] = features
            unread.remove(name)
    return {name: found[name] for name in taps}
