"""A critic that scores pairs of a vector and an image: a network with two hidden layers for each, then a dot product."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench_information import InformationParams
from bench_information.bounds import RowScores, reduce_rows

CHECKS = 10
"""Number of times that the bound is computed on the held-out pairs during a training."""
ROWS = 512
"""Rows of a table that are scored at once."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Images with their vectors; row i of both belongs to the same image."""

    images: Tensor
    """(N, P) float32."""
    vectors: Tensor
    """(N, D) float32."""

    def __len__(self) -> int:
        return len(self.vectors)

    def select(self, rows: Tensor) -> Pairs:
        """A selection of the pairs."""
        return Pairs(images=self.images[rows], vectors=self.vectors[rows])


class Critic(nn.Module):
    """Scores (N, M) of vectors (N, D) with images (M, P): f(vector) . g(image) / sqrt(units).

    It is separable, because one network on N x N pairs costs N times as much.
    """

    def __init__(self, pixels: int, width: int, units: int) -> None:
        super().__init__()
        self.of_images = _network(pixels, units)
        self.of_vectors = _network(width, units)
        self.scale = units**-0.5

    def forward(self, vectors: Tensor, images: Tensor) -> Tensor:
        """(N, D), (M, P) -> (N, M)."""
        scores: Tensor = self.of_vectors(vectors) @ self.of_images(images).T * self.scale
        return scores


def _network(inputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, units)
    )


@torch.no_grad()
def score_pairs(critic: Critic, pairs: Pairs, rows_at_once: int = ROWS) -> RowScores:
    """Scores every vector with every image, in blocks of rows."""
    blocks = []
    for first in range(0, len(pairs), rows_at_once):
        rows = critic(pairs.vectors[first : first + rows_at_once], pairs.images)
        blocks.append(reduce_rows(rows, first))
    return RowScores(
        own=torch.cat([block.own for block in blocks]), others=torch.cat([block.others for block in blocks])
    )


@torch.enable_grad()
def train_critic(
    fitted: Pairs,
    held_out: Pairs,
    bound: Callable[[RowScores], Tensor],
    params: InformationParams,
    generator: torch.Generator,
) -> tuple[Critic, int]:
    """Trains a critic and returns it as it was when its bound on the held-out pairs was largest.

    The gradient of `dv` is that of the batch's bound, which is slightly biased. Batches have N (N - 1) unrelated pairs, so
    the moving average of Belghazi et al. 2018, section 3.2, is left out.

    Args:
        fitted: training pairs, 2 or more.
        held_out: pairs that choose the step, 2 or more.
        bound: the objective.
        params: settings of the training.
        generator: on the CPU; the only source of random numbers. No global state changes.

    Returns:
        The critic, and the step after which the held-out bound was largest.
    """
    critic = _new_critic(fitted, params.units, generator)
    optimizer = torch.optim.Adam(critic.parameters(), params.lr)
    interval = max(1, params.steps // CHECKS)
    best, best_step, best_critic = -float("inf"), 0, copy.deepcopy(critic)
    for step in range(1, params.steps + 1):
        rows = torch.randperm(len(fitted), generator=generator)[: params.batch].to(fitted.vectors.device)
        batch = fitted.select(rows)
        loss = -bound(reduce_rows(critic(batch.vectors, batch.images)))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        # A single unrelated pair with a high score can dominate the gradient of dv.
        nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
        optimizer.step()
        if step % interval == 0 or step == params.steps:
            value = float(bound(score_pairs(critic, held_out)))
            if value > best:
                best, best_step, best_critic = value, step, copy.deepcopy(critic)
    return best_critic, best_step


def _new_critic(pairs: Pairs, units: int, generator: torch.Generator) -> Critic:
    """A critic with random weights; the generator draws their seed."""
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = Critic(pairs.images.shape[1], pairs.vectors.shape[1], units)
    return critic.to(pairs.vectors.device)
