"""The networks of the heads: from the shape of a tap, channels first, to one logit per class.

Sources: `NonLinearClassifier.py` of RotNet's and AET's code; Deep InfoMax 2019, section 4.1, with the order of layers and
the biases of its code.
"""

from __future__ import annotations

import itertools
import math

from torch import nn

import benchmark

UNITS = 200
"""Hidden units of `mlp`."""
DROPOUT = 0.1
"""Dropout probability of the hidden units of `mlp`."""
CHANNELS = 192
"""Channels of the three convolutions of `conv`."""


def build_head(name: str, tap: benchmark.Tap, num_classes: int) -> nn.Sequential:
    """A head with random weights, drawn from torch's global generator.

    With 10 classes on a map of 192 x 8 x 8: fc1 122,890 parameters, fc2 2,460,010, fc3 2,500,410, conv 408,586.

    Args:
        name: fc1, fc2, fc3, conv or mlp.
        tap: its input: `tap.shape` is (C, H, W), (D,) or (T, D).
        num_classes: number of logits.

    Raises:
        UnsupportedError: `conv` on a tap that is not a map.
    """
    if name == "mlp":
        return _mlp(tap.width("flat"), num_classes)
    if name == "conv":
        return _initialize(_convolutional(tap, num_classes))
    if name == "fc1":
        return _initialize(_linear(tap, num_classes))
    # As in both papers' code: 200 for the 10 classes of CIFAR-10.
    hidden = min(20 * num_classes, 2048)
    widths = [tap.width("flat"), *[hidden] * {"fc2": 1, "fc3": 2}[name]]
    layers: list[nn.Module] = [nn.Flatten()]
    for width, units in itertools.pairwise(widths):
        layers += [nn.Linear(width, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
    return _initialize(nn.Sequential(*layers, nn.Linear(hidden, num_classes)))


def _linear(tap: benchmark.Tap, num_classes: int) -> nn.Sequential:
    """A map is normalized per channel; a vector or tokens are normalized per feature."""
    width = tap.width("flat")
    norm: list[nn.Module] = [nn.Flatten(), nn.BatchNorm1d(width, affine=False)]
    if tap.kind == "map":
        norm = [nn.BatchNorm2d(tap.shape[0], affine=False), nn.Flatten()]
    return nn.Sequential(*norm, nn.Linear(width, num_classes))


def _convolutional(tap: benchmark.Tap, num_classes: int) -> nn.Sequential:
    if tap.kind != "map":
        raise benchmark.UnsupportedError(
            f"the head 'conv' needs a map, but the tap '{tap.name}' is a {tap.kind} of shape {tap.shape}; "
            "use fc1, fc2, fc3 or mlp, or a tap that is a map"
        )
    layers: list[nn.Module] = []
    for channels, kernel in ((tap.shape[0], 3), (CHANNELS, 1), (CHANNELS, 1)):
        convolution = nn.Conv2d(channels, CHANNELS, kernel, padding=kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(CHANNELS), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, num_classes))


def _mlp(width: int, num_classes: int) -> nn.Sequential:
    """Dropout precedes the normalization, as in Deep InfoMax's code. Weights have PyTorch's initialization."""
    hidden = (nn.Linear(width, UNITS), nn.Dropout(DROPOUT), nn.BatchNorm1d(UNITS), nn.ReLU())
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(UNITS, num_classes))


def _initialize(head: nn.Sequential) -> nn.Sequential:
    """Weights from N(0, 2 / (k^2 Cout)), with k = 1 for linear layers; biases 0."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / layer.out_features))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return head
