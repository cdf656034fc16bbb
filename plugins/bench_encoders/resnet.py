"""ResNet-18 without its classifier: torchvision's blocks with a stem for small or for large images.

Sources: He et al. 2016, table 1 (the ImageNet network) and section 4.2 (3 x 3 with stride 1, no pooling, for CIFAR).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models import resnet18

from bench_encoders.stages import read_taps


class ResNet18(nn.Module):
    """ResNet-18 up to layer4: 11,168,832 parameters on RGB with the small stem.

    Its modules have torchvision's names (conv1, bn1, layer1.0.conv1, ...), so that published weights can be loaded without
    `fc.`. Weights are initialized as in torchvision: convolutions from N(0, 2 / (k^2 Cout)).

    Args:
        channels: number of image channels.
        small_stem: 3 x 3 with stride 1 and no pooling; else 7 x 7 with stride 2, then pooling with stride 2.
    """

    def __init__(self, channels: int, *, small_stem: bool) -> None:
        super().__init__()
        body = resnet18(weights=None)
        kernel, stride = (3, 1) if small_stem else (7, 2)
        self.conv1 = nn.Conv2d(channels, 64, kernel, stride, padding=kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1: nn.Module = body.bn1
        self.relu: nn.Module = body.relu
        self.maxpool: nn.Module = nn.Identity() if small_stem else body.maxpool
        self.layer1: nn.Module = body.layer1
        self.layer2: nn.Module = body.layer2
        self.layer3: nn.Module = body.layer3
        self.layer4: nn.Module = body.layer4

    def forward(self, images: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """The maps `taps`, out of layer1 ... layer4, for normalized images (N, C, H, W)."""
        # The stem's four modules are stages as well, but not taps.
        return read_taps(self.named_children(), images, taps)
