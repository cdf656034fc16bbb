"""The encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Tiny(nn.Module):
    """Taps `conv` (8 channels, half the side) and `fc` (16)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.fc = nn.Linear(8, 16)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        features = {"conv": self.conv(images)}
        if "fc" in taps:
            features["fc"] = self.fc(features["conv"].mean(dim=(2, 3)))
        return features
