"""A critic that says which image a vector comes from: both through two hidden layers, then a dot product."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench_information import InformationParams
from bench_information.bounds import Scores, summary

CHECKS = 10
"""How often within a training the bound is looked at on what was held out."""
ROWS = 512
"""Rows of a table that are scored at a time."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Images with their vectors, row by row, both standardized."""

    images: Tensor
    """(N, P) float32."""
    vectors: Tensor
    """(N, D) float32."""

    def __len__(self) -> int:
        return len(self.vectors)

    def at(self, rows: Tensor) -> Pairs:
        """Some of them."""
        return Pairs(images=self.images[rows], vectors=self.vectors[rows])


class Critic(nn.Module):
    """Scores (N, M) of vectors (N, D) with images (M, P): f(vector) . g(image) / sqrt(units).

    Separable, because a table of N x N pairs through one network of pairs costs N times as much.
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
def scored(critic: Critic, pairs: Pairs) -> Scores:
    """Every vector against every image, a few rows at a time."""
    blocks = []
    for first in range(0, len(pairs), ROWS):
        rows = critic(pairs.vectors[first : first + ROWS], pairs.images)
        blocks.append(summary(rows, first))
    return Scores(own=torch.cat([block.own for block in blocks]), others=torch.cat([block.others for block in blocks]))


@torch.enable_grad()
def trained_critic(
    fitted: Pairs,
    held_out: Pairs,
    bound: Callable[[Scores], Tensor],
    params: InformationParams,
    generator: torch.Generator,
) -> tuple[Critic, int]:
    """A critic with the largest bound on the held-out pairs, of those that its training came by.

    The gradient of `dv` is that of the batch's own bound, slightly biased: batches have N (N - 1) unrelated pairs, so the
    moving average of Belghazi et al. 2018, section 3.2, was left out.

    Args:
        fitted: what it is trained on, 2 or more pairs.
        held_out: what chooses when to stop, 2 or more pairs.
        bound: what is maximized.
        params: how.
        generator: on the CPU; the only source of chance, and no global state is changed.

    Returns:
        The critic and the step after which it was that good.
    """
    critic = _fresh(fitted, params.units, generator)
    optimizer = torch.optim.Adam(critic.parameters(), params.lr)
    every = max(1, params.steps // CHECKS)
    best, at, kept = -float("inf"), 0, copy.deepcopy(critic)
    for step in range(1, params.steps + 1):
        rows = torch.randperm(len(fitted), generator=generator)[: params.batch].to(fitted.vectors.device)
        batch = fitted.at(rows)
        loss = -bound(summary(critic(batch.vectors, batch.images)))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(
            critic.parameters(), 1.0
        )  # one unrelated pair with a high score is all of dv's gradient
        optimizer.step()
        if step % every == 0 or step == params.steps:
            value = float(bound(scored(critic, held_out)))
            if value > best:
                best, at, kept = value, step, copy.deepcopy(critic)
    return kept, at


def _fresh(pairs: Pairs, units: int, generator: torch.Generator) -> Critic:
    """New weights, drawn from the generator by way of a seed."""
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = Critic(pairs.images.shape[1], pairs.vectors.shape[1], units)
    return critic.to(pairs.vectors.device)
