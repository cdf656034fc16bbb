"""Deep InfoMax's convolutional encoder: three strided convolutions, a hidden layer and a linear output.

Source: Hjelm et al. 2019, section 4 and appendix; layers as in `basic32x32` of the authors' released code.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bench_encoders.stages import read_taps

HIDDEN = 1024
"""Units of fc."""


class DimConv(nn.Module):
    """4 x 4 convolutions 64-128-256 with stride 2, 1024 units, `units` outputs: 4,921,280 parameters on 3 x 32 x 32.

    Weights have PyTorch's initialization.

    Args:
        channels: number of image channels.
        locations: height x width of the map conv3, which is flattened: 16 for images of 32 x 32.
        units: width of the output y, which has neither normalization nor activation.
    """

    def __init__(self, channels: int, *, locations: int, units: int = 64) -> None:
        super().__init__()
        self.conv1 = _layer(channels, 64)
        self.conv2 = _layer(64, 128)
        self.conv3 = _layer(128, 256)
        self.fc = nn.Sequential(
            nn.Flatten(), nn.Linear(256 * locations, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(inplace=True)
        )
        self.y = nn.Linear(HIDDEN, units)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """The maps and vectors `taps`, out of conv1 ... conv3, fc and y, for normalized images (N, C, H, W)."""
        return read_taps(self.named_children(), images, taps)


def _layer(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
