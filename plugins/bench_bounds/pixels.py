"""Pixels as features, the lower bound for any representation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Pixels(nn.Module):
    """Flattens normalized images, channel by channel and row by row. It has no parameters."""

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """{"pixels": (N, C * H * W)} for images (N, C, H, W)."""
        return {tap: images.flatten(1) for tap in taps}
