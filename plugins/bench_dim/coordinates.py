"""Coordinate prediction: classify the position of a location, and the offset between two locations, from Y.

Hjelm et al. 2019, section 4.3: the cross-entropies of (row, column) given Y and a location's features, and of (row - row',
column - column') given Y and the features of two locations; both are used together. Rows and columns are two
classifications whose losses are added and averaged over locations, as in the authors' code, which has only the absolute
task. Recalled from the paper's appendix, not read: two hidden layers of 512 units with batch normalization (the released
code has one residual block instead). Each location has one partner, drawn in every step from all locations of the image;
this is a choice of this project.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 512
"""Units of each hidden layer (paper, appendix; recalled)."""


class Coordinates(nn.Module):
    """The absolute and the relative task for maps of one size.

    Args:
        width: D, length of Y.
        shape: (C, H, W) of the map.
    """

    def __init__(self, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, self.height, self.columns = shape
        self.absolute = _network(width + channels, self.height + self.columns)
        self.relative = _network(width + 2 * channels, 2 * self.height - 1 + 2 * self.columns - 1)

    def forward(
        self, vectors: Tensor, maps: Tensor, max_locations: int | None, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """`absolute` and `relative`: the cross-entropy of the row plus that of the column, in nats.

        Args:
            vectors: Y, (N, D).
            maps: (N, C, H, W).
            max_locations: locations per image that are used, drawn without replacement; None: all.
            generator: on the maps' device; draws the locations and the partner of each.
        """
        count, length = len(maps), self.height * self.columns
        index, partner = _draw_locations(count, length, max_locations, generator, maps.device)
        locations = maps.flatten(2).transpose(1, 2)
        own, other = _gather(locations, index), _gather(locations, partner)
        expanded = vectors[:, None].expand(-1, index.shape[1], -1)
        row, column = index // self.columns, index % self.columns
        row_offset = row - partner // self.columns + self.height - 1
        column_offset = column - partner % self.columns + self.columns - 1
        return {
            "absolute": _cross_entropy(self.absolute, [expanded, own], row, column, self.height),
            "relative": _cross_entropy(
                self.relative, [expanded, own, other], row_offset, column_offset, 2 * self.height - 1
            ),
        }

    def trivial_losses(self) -> dict[str, float]:
        """Losses of the best constant prediction: log H + log W, and the entropy of the difference of two uniform draws."""
        return {
            "absolute": math.log(self.height) + math.log(self.columns),
            "relative": _difference_entropy(self.height) + _difference_entropy(self.columns),
        }


def _network(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, HIDDEN):
        layers += [nn.Linear(width, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, outputs))


def _draw_locations(
    count: int, length: int, max_locations: int | None, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Indices (N, K) int64 of locations, and of a partner for each: any location of the same image, possibly itself."""
    if max_locations is None or max_locations >= length:
        index = torch.arange(length, device=device).expand(count, length)
    else:
        index = torch.rand((count, length), generator=generator, device=device).topk(max_locations, dim=1).indices
    return index, torch.randint(length, index.shape, generator=generator, device=device)


def _gather(locations: Tensor, index: Tensor) -> Tensor:
    """(N, L, C) at (N, K) -> (N, K, C)."""
    return locations.gather(1, index[:, :, None].expand(-1, -1, locations.shape[2]))


def _cross_entropy(network: nn.Module, inputs: list[Tensor], row: Tensor, column: Tensor, num_rows: int) -> Tensor:
    """Cross-entropy of (N, K) rows plus that of columns. The first `num_rows` logits are for the row."""
    logits = network(torch.cat(inputs, dim=2).flatten(0, 1))
    row_loss = F.cross_entropy(logits[:, :num_rows], row.flatten())
    return row_loss + F.cross_entropy(logits[:, num_rows:], column.flatten())


def _difference_entropy(length: int) -> float:
    """Entropy in nats of i - j for i, j uniform in 0..length - 1: difference d has probability (length - |d|) / length^2."""
    probabilities = [(length - abs(difference)) / length**2 for difference in range(1 - length, length)]
    return -sum(probability * math.log(probability) for probability in probabilities)
