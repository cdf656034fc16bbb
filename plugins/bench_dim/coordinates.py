"""Coordinate prediction: from Y, where does a place of the map lie, and how do two places lie to each other?

Hjelm et al. 2019, section 4.3: cross-entropies of (row, column) given Y and a place's features, and of (row - row', column -
column') given Y and two places' features, both used together. Rows and columns are two classifications whose losses are
added, averaged over places: so in the authors' code, which has the absolute task alone. Recalled from the paper's
appendix, not at hand: two hidden layers of 512 with batch norm (the released code has one residual block instead). One
partner for each place, drawn anew from all places of the image, is this project's choice.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 512
"""Units of each hidden layer (paper, appendix; recalled)."""


class Coordinates(nn.Module):
    """Both tasks for maps of one size.

    Args:
        width: D, length of Y.
        shape: (C, H, W) of the map.
    """

    def __init__(self, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, self.height, self.columns = shape
        self.absolute = _network(width + channels, self.height + self.columns)
        self.relative = _network(width + 2 * channels, 2 * self.height - 1 + 2 * self.columns - 1)

    def forward(self, vectors: Tensor, maps: Tensor, most: int | None, generator: torch.Generator) -> dict[str, Tensor]:
        """`absolute` and `relative`: each the cross-entropy of the row plus that of the column, in nats.

        Args:
            vectors: Y, (N, D).
            maps: (N, C, H, W).
            most: places of an image that take part, drawn without replacement; None for all of them.
            generator: on the maps' device; draws these and every place's partner.
        """
        count, length = len(maps), self.height * self.columns
        where, partner = _drawn(count, length, most, generator, maps.device)
        places = maps.flatten(2).transpose(1, 2)
        own, other = _at(places, where), _at(places, partner)
        summary = vectors[:, None].expand(-1, where.shape[1], -1)
        row, column = where // self.columns, where % self.columns
        rows_off = row - partner // self.columns + self.height - 1
        columns_off = column - partner % self.columns + self.columns - 1
        return {
            "absolute": _error(self.absolute, [summary, own], row, column, self.height),
            "relative": _error(self.relative, [summary, own, other], rows_off, columns_off, 2 * self.height - 1),
        }

    def trivial_losses(self) -> dict[str, float]:
        """The best answer that looks at nothing: log H + log W, and the entropy of differences of two uniform draws."""
        return {
            "absolute": math.log(self.height) + math.log(self.columns),
            "relative": _difference_entropy(self.height) + _difference_entropy(self.columns),
        }


def _network(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, HIDDEN):
        layers += [nn.Linear(width, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, outputs))


def _drawn(
    count: int, length: int, most: int | None, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Places (N, K) int64 of each image, and a partner for each: any place of the same image, itself included."""
    if most is None or most >= length:
        where = torch.arange(length, device=device).expand(count, length)
    else:
        where = torch.rand((count, length), generator=generator, device=device).topk(most, dim=1).indices
    return where, torch.randint(length, where.shape, generator=generator, device=device)


def _at(places: Tensor, where: Tensor) -> Tensor:
    """(N, L, C) at (N, K) -> (N, K, C)."""
    return places.gather(1, where[:, :, None].expand(-1, -1, places.shape[2]))


def _error(network: nn.Module, inputs: list[Tensor], row: Tensor, column: Tensor, rows: int) -> Tensor:
    """Cross-entropy of (N, K) rows plus that of columns; the first `rows` logits are for the row."""
    logits = network(torch.cat(inputs, dim=2).flatten(0, 1))
    return F.cross_entropy(logits[:, :rows], row.flatten()) + F.cross_entropy(logits[:, rows:], column.flatten())


def _difference_entropy(length: int) -> float:
    """Entropy in nats of i - j for i and j uniform in 0..length - 1: differences d have chance (length - |d|) / length^2."""
    chances = [(length - abs(difference)) / length**2 for difference in range(1 - length, length)]
    return -sum(chance * math.log(chance) for chance in chances)
