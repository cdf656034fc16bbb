"""The pixels themselves as features: what any representation should beat."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Pixels(nn.Module):
    """Normalized images as vectors, channel by channel and row by row. No parameters."""

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """{"pixels": (N, C * H * W)} for images (N, C, H, W)."""
        return {tap: images.flatten(1) for tap in taps}
