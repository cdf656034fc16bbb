"""AlexNet's five convolutions for small images.

Widths (64-192-384-256-256) and pooling (after conv1, conv2 and conv5) are those of the one-column AlexNet (Krizhevsky 2014).
Changes for images of 8 to 96 pixels: conv1 is 5 x 5 with stride 1 instead of 11 x 11 with stride 4; pooling has padding 1, so
that an odd side rounds up and no map becomes empty; batch normalization precedes each ReLU, as in the AlexNets of later
self-supervised work (Gidaris et al. 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bench_encoders.stages import read_taps


class AlexNet(nn.Module):
    """Five convolutions with batch normalization and ReLU: 2,452,416 parameters on RGB.

    Args:
        channels: number of image channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _layer(channels, 64, 5, pool=True)
        self.conv2 = _layer(64, 192, 5, pool=True)
        self.conv3 = _layer(192, 384, 3)
        self.conv4 = _layer(384, 256, 3)
        self.conv5 = _layer(256, 256, 3, pool=True)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """The maps `taps`, out of conv1 ... conv5, for normalized images (N, C, H, W)."""
        return read_taps(self.named_children(), images, taps)


def _layer(channels_in: int, channels_out: int, kernel: int, *, pool: bool = False) -> nn.Sequential:
    """Convolution that keeps the size, batch normalization, ReLU, and optionally max pooling (size 3, stride 2)."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]
    if pool:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return nn.Sequential(*layers)
