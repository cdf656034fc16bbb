"""Network-in-Network for small images, the encoder of RotNet and AET.

Every block has three convolutions with stride 1, each followed by batch normalization and ReLU: one of 5 x 5 or 3 x 3 and two
of 1 x 1. Pooling (size 3, stride 2) ends the first block (maximum) and the second (average).

Sources: Gidaris et al. 2018, section 4.1; Zhang et al. 2019, section 4.1; widths and pooling as in both papers' released
code (`NetworkInNetwork`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from bench_encoders.stages import read_taps


class BlockNet(nn.Module):
    """Network-in-Network of 3, 4 or 5 blocks: 1,003,712 parameters on RGB with 3 blocks, 406,656 more per further block.

    Args:
        channels: number of image channels.
        blocks: 3 to 5.
        pool_after_block3: average pooling after conv3, which halves its map; RotNet's `use_avg_on_conv3`.
        init: `aet`: convolutions from N(0, 2 / (k^2 Cout)). `default`: PyTorch's initialization.
    """

    def __init__(
        self,
        channels: int,
        *,
        blocks: int = 4,
        pool_after_block3: bool = False,
        init: Literal["aet", "default"] = "aet",
    ) -> None:
        super().__init__()
        first = convolution(channels, 192, 5), convolution(192, 160, 1), convolution(160, 96, 1)
        self.conv1 = nn.Sequential(*first, nn.MaxPool2d(3, stride=2, padding=1))
        # AvgPool2d includes the zero padding in its mean, as the released code does by default.
        self.conv2 = nn.Sequential(*_block(96, 5), nn.AvgPool2d(3, stride=2, padding=1))
        for block in range(3, blocks + 1):
            layers = _block(192, 3)
            if block == 3 and pool_after_block3:
                layers.append(nn.AvgPool2d(3, stride=2, padding=1))
            self.add_module(f"conv{block}", nn.Sequential(*layers))
        if init == "aet":
            _initialize_as_aet(self)

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """The maps `taps`, out of conv1 ... conv5, for normalized images (N, C, H, W)."""
        return read_taps(self.named_children(), images, taps)


def convolution(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    """Convolution with stride 1 that keeps the size, batch normalization, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _block(channels_in: int, kernel: int) -> list[nn.Module]:
    return [convolution(channels_in, 192, kernel), convolution(192, 192, 1), convolution(192, 192, 1)]


def _initialize_as_aet(network: nn.Module) -> None:
    """Convolutions from N(0, 2 / (k^2 Cout)). Batch normalization keeps PyTorch's default, weight 1 and bias 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
