"""Critics: networks that score every vector of a batch with every place (or map) of the batch.

Each takes vectors Y (N, D) with `places` and gives scores (N, N, L), `scores[i, j, l]` for vector i with place l of
image j. Local critics take places (N, L, C): rows of a map, for which a 1 x 1 convolution is a linear layer. Global
critics take whole maps (N, C, H, W), and L = 1.

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

    The shortcut starts close to the identity: ones on the diagonal, the rest uniform in +-0.01.
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
        normed: Tensor = self.norm(self.body(rows) + self.shortcut(rows))
        return normed


def dot_products(queries: Tensor, keys: Tensor) -> Tensor:
    """(N, U) with (N, L, U) -> (N, N, L): no temperature, no normalization."""
    count, places, units = keys.shape
    return (queries @ keys.reshape(count * places, units).T).view(len(queries), count, places)


class LocalDot(nn.Module):
    """Vector and places each through a residual projection, then the dot product."""

    def __init__(self, width: int, channels: int, units: int) -> None:
        super().__init__()
        self.vectors = ResidualProjection(width, units)
        self.places = ResidualProjection(channels, units)

    def forward(self, vectors: Tensor, places: Tensor) -> Tensor:
        """(N, D), (N, L, C) -> (N, N, L)."""
        keys = self.places(places.flatten(0, 1)).view(*places.shape[:2], -1)
        return dot_products(self.vectors(vectors), keys)


class Bilinear(nn.Module):
    """y' W x with no constant: what a dot critic is without its hidden layers (CPC's score)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, channels, bias=False)

    def forward(self, vectors: Tensor, places: Tensor) -> Tensor:
        """(N, D), (N, L, C) -> (N, N, L)."""
        return dot_products(self.query(vectors), places)


class Concat(nn.Module):
    """A network on the concatenation [place, vector] of every pair: C + D - hidden... - 1, ReLU between.

    The first layer is a sum of one part for each half, so it is computed once for each vector and place, not for each
    pair. Hidden layers hold N * N * L * 512 numbers: 0.5 GiB a layer for 64 images of 8 x 8 places.

    Without hidden layers the score is f(x) + g(y). Then positives and negatives have the same mean score, and no
    estimator gets below its trivial loss.
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

    def forward(self, vectors: Tensor, places: Tensor) -> Tensor:
        """(N, D), (N, L, C) -> (N, N, L)."""
        weight = self.first.weight
        of_place, of_vector = weight[:, : self.channels], weight[:, self.channels :]
        sums = F.linear(places, of_place, self.first.bias)[None] + F.linear(vectors, of_vector)[:, None, None]
        scores: Tensor = self.rest(sums)
        return scores.squeeze(-1)


class Global(nn.Module):
    """A critic of whole maps: `body` makes one place of each map, then a local critic compares.

    Args:
        body: maps (N, C, H, W) -> rows (N, C').
        critic: vectors (N, D), places (N, 1, C') -> (N, N, 1).
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
    """Linear(D, units) of the vector against rows that have been projected already."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, units)

    def forward(self, vectors: Tensor, places: Tensor) -> Tensor:
        """(N, D), (N, L, units) -> (N, N, L)."""
        return dot_products(self.query(vectors), places)


def map_encoder(shape: tuple[int, int, int], units: int) -> nn.Sequential:
    """The tail of DIM's own encoder, for any map: conv 128, conv 256, fc 1024, Linear to `units`.

    In the authors' code it copies the layers behind the local map; here it fits every encoder. Each convolution is
    4 x 4 with stride 2 as in theirs while the map has 2 places to a side, 3 x 3 with stride 1 below, with BN and ReLU;
    what is larger than 4 x 4 after both is averaged down to it, so that images of any size are affordable.

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
        *_shrunk(height, width, 4),
        nn.Flatten(),
        nn.Linear(channels * min(height, 4) * min(width, 4), 1024, bias=False),
        nn.BatchNorm1d(1024),
        nn.ReLU(),
        nn.Linear(1024, units),
    )


def map_convolutions(shape: tuple[int, int, int]) -> tuple[nn.Sequential, int]:
    """Two 3 x 3 convolutions with 64 and 32 channels, flattened (paper, appendix A.2), and the length of the result.

    Padded to keep the map's size, whatever that is; what is larger than 8 x 8 is averaged down to it.
    """
    channels, height, width = shape
    body = nn.Sequential(
        nn.Conv2d(channels, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.ReLU(),
        *_shrunk(height, width, 8),
        nn.Flatten(),
    )
    return body, 32 * min(height, 8) * min(width, 8)


def _shrunk(height: int, width: int, side: int) -> list[nn.Module]:
    """An average pooling to at most `side` places a side, or nothing where the map is no larger."""
    fits = height <= side and width <= side
    return [] if fits else [nn.AdaptiveAvgPool2d((min(height, side), min(width, side)))]


def local_critic(kind: str, units: int, width: int, shape: tuple[int, int, int]) -> nn.Module:
    """A critic of vectors (N, width) with places (N, L, C) of a map of `shape` (C, H, W); `units` is for `dot` alone."""
    makers: dict[str, Callable[[], nn.Module]] = {
        "dot": lambda: LocalDot(width, shape[0], units),
        "concat": lambda: Concat(width, shape[0], (HIDDEN, HIDDEN)),
        "linear": lambda: Concat(width, shape[0], ()),
        "bilinear": lambda: Bilinear(width, shape[0]),
    }
    return makers[kind]()


def global_critic(kind: str, units: int, width: int, shape: tuple[int, int, int]) -> nn.Module:
    """A critic of vectors (N, width) with whole maps (N, *shape); `units` is for `dot` alone."""
    if kind == "dot":
        return Global(map_encoder(shape, units), LinearDot(width, units))
    if kind == "concat":
        body, length = map_convolutions(shape)
        return Global(body, Concat(width, length, (HIDDEN, HIDDEN)))
    length = shape[0] * shape[1] * shape[2]
    return Global(nn.Flatten(), Concat(width, length, ()) if kind == "linear" else Bilinear(width, length))
