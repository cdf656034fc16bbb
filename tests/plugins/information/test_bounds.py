"""Lower bounds on mutual information: `bench_information.bounds`, `bench_information.critic`."""

from __future__ import annotations

import math

import pytest
import torch
from generators import seeded
from torch import Tensor

from bench_information import InformationParams
from bench_information.bounds import BOUNDS, ceiling, dv, infonce, reduce_rows
from bench_information.critic import Critic, Pairs, score_pairs, train_critic

RHO = 0.8


TRUTH = -0.5 * math.log(1 - RHO**2)  # .510826 nats


def gaussian_pairs(count: int, seed: int = 0) -> Pairs:
    """Standard Gaussian numbers with correlation .8."""
    x, noise = torch.randn((2, count, 1), generator=seeded(seed))
    return Pairs(images=RHO * x + math.sqrt(1 - RHO**2) * noise, vectors=x)


def true_scores(pairs: Pairs) -> Tensor:
    """Log density ratio of every vector with every image."""
    x, y = pairs.vectors, pairs.images.T
    return TRUTH - (RHO**2 * (x**2 + y**2) - 2 * RHO * x * y) / (2 * (1 - RHO**2))


def test_bounds_of_three_pairs_match_the_formulas() -> None:
    table = torch.tensor([[2.0, 0.0, 1.0], [0.5, 1.0, -1.0], [0.0, 0.0, 3.0]])
    others = [0.0, 1.0, 0.5, -1.0, 0.0, 0.0]
    expected = 2.0 - math.log(sum(map(math.exp, others)) / 6)
    assert dv(reduce_rows(table)).item() == pytest.approx(expected, abs=1e-6)
    softmax = table.double().softmax(dim=1).diagonal().log().mean().item()
    assert infonce(reduce_rows(table)).item() == pytest.approx(math.log(3) + softmax, abs=1e-6)


def test_bounds_of_constant_scores_are_zero() -> None:
    table = torch.full((5, 5), 7.0)
    assert dv(reduce_rows(table)).item() == pytest.approx(0, abs=1e-5)
    assert infonce(reduce_rows(table)).item() == pytest.approx(0, abs=1e-5)


def test_bounds_of_true_scores_are_the_information() -> None:
    # The standard error is .8 / sqrt(500) = .036 for 500 pairs, and .008 for the mean of 20.
    scores = [reduce_rows(true_scores(gaussian_pairs(500, seed))) for seed in range(20)]
    assert sum(dv(each).item() for each in scores) / 20 == pytest.approx(TRUTH, abs=0.03)
    assert sum(infonce(each).item() for each in scores) / 20 == pytest.approx(TRUTH, abs=0.03)


def test_infonce_is_limited_by_log_n_and_dv_is_not() -> None:
    for gap in (20.0, 200.0):
        scores = reduce_rows(gap * torch.eye(50))
        assert infonce(scores).item() == pytest.approx(ceiling(50), abs=1e-4)
        assert dv(scores).item() == pytest.approx(gap, abs=1e-4)
    assert ceiling(50) == pytest.approx(3.912023, abs=1e-6)


def test_reduce_rows_of_a_block_matches_the_whole_table() -> None:
    table = torch.randn(7, 7, generator=seeded())
    whole, part = reduce_rows(table), reduce_rows(table[3:5], first=3)
    torch.testing.assert_close(part.own, whole.own[3:5])
    torch.testing.assert_close(part.others, whole.others[3:5])


def test_score_pairs_does_not_depend_on_the_block_size() -> None:
    torch.manual_seed(0)
    critic, pairs = Critic(1, 1, 8), gaussian_pairs(10)
    whole = score_pairs(critic, pairs)
    parts = score_pairs(critic, pairs, rows_at_once=3)
    torch.testing.assert_close(parts.own, whole.own)
    torch.testing.assert_close(parts.others, whole.others)


@pytest.mark.parametrize("name", BOUNDS)
def test_trained_critic_estimates_the_information_of_a_gaussian_pair(name: str) -> None:
    params = InformationParams(steps=200, batch=128, units=32, lr=3e-3)
    critic, _ = train_critic(gaussian_pairs(3000), gaussian_pairs(500, 1), BOUNDS[name], params, seeded())
    assert BOUNDS[name](score_pairs(critic, gaussian_pairs(1000, 2))).item() == pytest.approx(TRUTH, abs=0.08)


@pytest.mark.parametrize("name", BOUNDS)
def test_trained_critic_estimates_no_information_of_unrelated_pairs(name: str) -> None:
    pairs = gaussian_pairs(300)
    unrelated = Pairs(images=pairs.images.roll(1, dims=0), vectors=pairs.vectors)
    params = InformationParams(steps=30, batch=64, units=16)
    critic, _ = train_critic(
        unrelated.select(torch.arange(200)), unrelated.select(torch.arange(200, 300)), BOUNDS[name], params, seeded()
    )
    other = gaussian_pairs(500, 1)
    value = BOUNDS[name](score_pairs(critic, Pairs(images=other.images.roll(1, dims=0), vectors=other.vectors)))
    assert -0.1 < value.item() < 0.05


def test_critic_is_the_best_on_the_held_out_pairs() -> None:
    # The held-out pairs have the opposite correlation, so every step decreases their bound.
    fitted, held_out = gaussian_pairs(200), gaussian_pairs(200, 1)
    negated = Pairs(images=-held_out.images, vectors=held_out.vectors)
    params = InformationParams(steps=50, batch=100, units=16, lr=1e-2)
    assert train_critic(fitted, negated, infonce, params, seeded())[1] == 5
    assert train_critic(fitted, held_out, infonce, params, seeded())[1] > 5
