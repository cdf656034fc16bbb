"""Critics: networks that score every vector of a batch with every location (or map) of the batch.

Convention: a critic takes vectors Y (N, D) and the locations of N maps, and returns scores (N, N, L): `scores[i, j, l]` is
for vector i and location l of image j. Local critics take locations (N, L, C), the columns of a map, on which a linear layer
is a 1 x 1 convolution. Global critics take whole maps (N, C, H, W), and L = 1.

Architectures: Hjelm et al. 2019, section 3 and appendix A.2 (the appendix is recalled, not read), and the authors' code
(dot: its default with 2048 units; concat: its release of August 2018).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 512
"""Units of the concat critics' hidden layers (paper, appendix A.2)."""


class ResidualProjection(nn.Module):
    """Rows (M, inputs) -> (M, units): LayerNorm(Linear - BN - ReLU - Linear + linear shortcut).

    The shortcut is initialized close to the identity: ones on the diagonal, all other weights uniform in +-0.01.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units), nn.ReLU(), nn.Linear(units, units)
        )
        self.shortcut = nn.Linear(inputs, units, bias=False)
        self.norm = nn.LayerNorm(units)
        nn.init.uniform_(self.shortcut.weight, -0.01, 0.01)
        self.shortcut.weight.data.fill_diagonal_(1.0)

    def forward(self, rows: Tensor) -> Tensor:
        """(M, inputs) -> (M, units)."""
        normalized: Tensor = self.norm(self.body(rows) + self.shortcut(rows))
        return normalized


def dot_products(queries: Tensor, keys: Tensor) -> Tensor:
    """(N, U) with (N, L, U) -> (N, N, L): no temperature, no normalization."""
    count, locations, units = keys.shape
    return (queries @ keys.reshape(count * locations, units).T).view(len(queries), count, locations)


class LocalDot(nn.Module):
    """Dot product of the vector and the locations, each after a residual projection."""

    def __init__(self, width: int, channels: int, units: int) -> None:
        super().__init__()
        self.vectors = ResidualProjection(width, units)
        self.locations = ResidualProjection(channels, units)

    def forward(self, vectors: Tensor, locations: Tensor) -> Tensor:
        """(N, D), (N, L, C) -> (N, N, L)."""
        keys = self.locations(locations.flatten(0, 1)).view(*locations.shape[:2], -1)
        return dot_products(self.vectors(vectors), keys)


class Bilinear(nn.Module):
    """y' W x without a constant: a dot critic without hidden layers (the score of CPC)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, channels, bias=False)

    def forward(self, vectors: Tensor, locations: Tensor) -> Tensor:
        """(N, D), (N, L, C) -> (N, N, L)."""
        return dot_products(self.query(vectors), locations)


class Concat(nn.Module):
    """A network on the concatenation [location, vector] of every pair: C + D - hidden... - 1, ReLU between.

    The first layer is a sum of one term per half, so it is computed once per vector and per location instead of once per
    pair. Hidden layers hold N * N * L * 512 numbers: 0.5 GiB per layer for 64 images of 8 x 8 locations.

    Without hidden layers the score is f(x) + g(y). Positives and negatives then have the same mean score, and no estimator
    gets below its trivial loss.
    """

    def __init__(self, width: int, channels: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels
        sizes = (*hidden, 1)
        self.first = nn.Linear(channels + width, sizes[0])
        rest: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            rest += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.rest = nn.Sequential(*rest)

    def forward(self, vectors: Tensor, locations: Tensor) -> Tensor:
        """(N, D), (N, L, C) -> (N, N, L)."""
        weight = self.first.weight
        location_weight, vector_weight = weight[:, : self.channels], weight[:, self.channels :]
        location_terms = F.linear(locations, location_weight, self.first.bias)[None]
        scores: Tensor = self.rest(location_terms + F.linear(vectors, vector_weight)[:, None, None])
        return scores.squeeze(-1)


class Global(nn.Module):
    """A critic of whole maps: `body` reduces each map to one location, and a local critic scores it.

    Args:
        body: maps (N, C, H, W) -> rows (N, C').
        critic: vectors (N, D), locations (N, 1, C') -> (N, N, 1).
    """

    def __init__(self, body: nn.Module, critic: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.critic = critic

    def forward(self, vectors: Tensor, maps: Tensor) -> Tensor:
        """(N, D), (N, C, H, W) -> (N, N, 1)."""
        scores: Tensor = self.critic(vectors, self.body(maps)[:, None])
        return scores


class LinearDot(nn.Module):
    """Dot product of Linear(D, units) of the vector with locations that are already projected."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, units)

    def forward(self, vectors: Tensor, locations: Tensor) -> Tensor:
        """(N, D), (N, L, units) -> (N, N, L)."""
        return dot_products(self.query(vectors), locations)


def map_encoder(shape: tuple[int, int, int], units: int) -> nn.Sequential:
    """The last layers of DIM's own encoder, for a map of any size: conv 128, conv 256, fc 1024, Linear to `units`.

    The authors' code copies the layers behind the local map; this one works with every encoder. Each convolution has BN
    and ReLU. It is 4 x 4 with stride 2, as in their code, while both sides of the map are at least 2, and 3 x 3 with
    stride 1 below. A result larger than 4 x 4 is averaged down to 4 x 4, which bounds the cost for large images.

    Args:
        shape: (C, H, W) of the map.
        units: width of the output.
    """
    channels, height, width = shape
    layers: list[nn.Module] = []
    for outputs in (128, 256):
        halve = min(height, width) >= 2
        size, stride = (4, 2) if halve else (3, 1)
        layers += [
            nn.Conv2d(channels, outputs, size, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
        channels = outputs
        height, width = (height // 2, width // 2) if halve else (height, width)
    return nn.Sequential(
        *layers,
        *_average_down(height, width, 4),
        nn.Flatten(),
        nn.Linear(channels * min(height, 4) * min(width, 4), 1024, bias=False),
        nn.BatchNorm1d(1024),
        nn.ReLU(),
        nn.Linear(1024, units),
    )


def map_convolutions(shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    """Two 3 x 3 convolutions with 64 and 32 channels, flattened (paper, appendix A.2), and the length of the result.

    Padding keeps the size of the map. A result larger than 8 x 8 is averaged down to 8 x 8.
    """
    channels, height, width = shape
    body = nn.Sequential(
        nn.Conv2d(channels, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.ReLU(),
        *_average_down(height, width, 8),
        nn.Flatten(),
    )
    return body, 32 * min(height, 8) * min(width, 8)


def _average_down(height: int, width: int, side: int) -> list[nn.Module]:
    """An average pooling to at most `side` x `side`, or no layer if the map is not larger."""
    fits = height <= side and width <= side
    return [] if fits else [nn.AdaptiveAvgPool2d((min(height, side), min(width, side)))]


def local_critic(kind: str, units: int, width: int, shape: tuple[int, int, int]) -> nn.Module:
    """A critic of vectors and single locations.

    Args:
        kind: `dot`, `concat`, `linear` or `bilinear`.
        units: width of `dot`; the others ignore it.
        width: D, length of a vector.
        shape: (C, H, W) of the map.
    """
    makers: dict[str, Callable[[], nn.Module]] = {
        "dot": lambda: LocalDot(width, shape[0], units),
        "concat": lambda: Concat(width, shape[0], (HIDDEN, HIDDEN)),
        "linear": lambda: Concat(width, shape[0], ()),
        "bilinear": lambda: Bilinear(width, shape[0]),
    }
    return makers[kind]()


def global_critic(kind: str, units: int, width: int, shape: tuple[int, int, int]) -> nn.Module:
    """A critic of vectors and whole maps. Args as for `local_critic`."""
    if kind == "dot":
        return Global(map_encoder(shape, units), LinearDot(width, units))
    if kind == "concat":
        body, length = map_convolutions(shape)
        return Global(body, Concat(width, length, (HIDDEN, HIDDEN)))
    length = shape[0] * shape[1] * shape[2]
    return Global(nn.Flatten(), Concat(width, length, ()) if kind == "linear" else Bilinear(width, length))
