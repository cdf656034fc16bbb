"""Bounds on mutual information: against a Gaussian pair of known information, and where they end."""

from __future__ import annotations

import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import benchmark
from bench_information import InformationParams, bench_evaluators
from bench_information.bounds import BOUNDS, ceiling, dv, infonce, summary
from bench_information.critic import Critic, Pairs, scored, trained_critic
from bench_information.evaluator import evaluate_information, pixels, standardized
from benchmark.testing.evaluators import check_evaluator

RHO = 0.8
TRUTH = -0.5 * math.log(1 - RHO**2)  # .510826 nats
QUICK = InformationParams(steps=20, batch=32, units=16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian_pairs(count: int, seed: int = 0) -> Pairs:
    """Standard Gaussian numbers with correlation .8."""
    x, noise = torch.randn((2, count, 1), generator=seeded(seed))
    return Pairs(images=RHO * x + math.sqrt(1 - RHO**2) * noise, vectors=x)


def true_scores(pairs: Pairs) -> Tensor:
    """Log ratio of densities of every vector with every image."""
    x, y = pairs.vectors, pairs.images.T
    return TRUTH - (RHO**2 * (x**2 + y**2) - 2 * RHO * x * y) / (2 * (1 - RHO**2))


def fake_probe(train: Tensor, train_vectors: Tensor, test: Tensor, test_vectors: Tensor, seed: int = 0) -> Any:
    def split(images: Tensor, vectors: Tensor) -> Any:
        return SimpleNamespace(images=images, features=lambda: vectors)

    return SimpleNamespace(
        train=split(train, train_vectors),
        test=split(test, test_vectors),
        device=torch.device("cpu"),
        generator=seeded(seed),
    )


def random_images(count: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (count, 1, 4, 4), generator=seeded(seed), dtype=torch.uint8)


def values(evaluation: benchmark.Evaluation) -> dict[str, float]:
    return {measurement.metric: measurement.value for measurement in evaluation.measurements}


# --- bounds -------------------------------------------------------------------------------------------------------------


def test_three_pairs_give_the_numbers_of_the_formulas() -> None:
    table = torch.tensor([[2.0, 0.0, 1.0], [0.5, 1.0, -1.0], [0.0, 0.0, 3.0]])
    others = [0.0, 1.0, 0.5, -1.0, 0.0, 0.0]
    expected = 2.0 - math.log(sum(map(math.exp, others)) / 6)
    assert dv(summary(table)).item() == pytest.approx(expected, abs=1e-6)
    softmax = table.double().softmax(dim=1).diagonal().log().mean().item()
    assert infonce(summary(table)).item() == pytest.approx(math.log(3) + softmax, abs=1e-6)


def test_a_critic_that_scores_all_pairs_alike_claims_nothing() -> None:
    table = torch.full((5, 5), 7.0)
    assert dv(summary(table)).item() == pytest.approx(0, abs=1e-5)
    assert infonce(summary(table)).item() == pytest.approx(0, abs=1e-5)


def test_the_true_scores_of_a_gaussian_pair_give_its_information() -> None:
    # One draw of 500 pairs is off by .8 / sqrt(500) = .036; the mean of 20 by .008.
    scores = [summary(true_scores(gaussian_pairs(500, seed))) for seed in range(20)]
    assert sum(dv(each).item() for each in scores) / 20 == pytest.approx(TRUTH, abs=0.03)
    assert sum(infonce(each).item() for each in scores) / 20 == pytest.approx(TRUTH, abs=0.03)


def test_infonce_ends_at_the_log_of_the_number_of_images_and_dv_does_not() -> None:
    for gap in (20.0, 200.0):
        scores = summary(gap * torch.eye(50))
        assert infonce(scores).item() == pytest.approx(ceiling(50), abs=1e-4)
        assert dv(scores).item() == pytest.approx(gap, abs=1e-4)
    assert ceiling(50) == pytest.approx(3.912023, abs=1e-6)


def test_rows_of_a_table_are_summed_up_as_the_whole_is() -> None:
    table = torch.randn(7, 7, generator=seeded())
    whole, part = summary(table), summary(table[3:5], first=3)
    torch.testing.assert_close(part.own, whole.own[3:5])
    torch.testing.assert_close(part.others, whole.others[3:5])


def test_large_tables_are_scored_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    critic, pairs = Critic(1, 1, 8), gaussian_pairs(10)
    whole = scored(critic, pairs)
    monkeypatch.setattr("bench_information.critic.ROWS", 3)
    parts = scored(critic, pairs)
    torch.testing.assert_close(parts.own, whole.own)
    torch.testing.assert_close(parts.others, whole.others)


# --- critics ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOUNDS)
def test_a_trained_critic_finds_the_information_of_a_gaussian_pair(name: str) -> None:
    params = InformationParams(steps=200, batch=128, units=32, lr=3e-3)
    critic, _ = trained_critic(gaussian_pairs(3000), gaussian_pairs(500, 1), BOUNDS[name], params, seeded())
    assert BOUNDS[name](scored(critic, gaussian_pairs(1000, 2))).item() == pytest.approx(TRUTH, abs=0.08)


@pytest.mark.parametrize("name", BOUNDS)
def test_where_nothing_is_shared_little_is_found(name: str) -> None:
    pairs = gaussian_pairs(300)
    unrelated = Pairs(images=pairs.images.roll(1, dims=0), vectors=pairs.vectors)
    params = InformationParams(steps=30, batch=64, units=16)
    critic, _ = trained_critic(
        unrelated.at(torch.arange(200)), unrelated.at(torch.arange(200, 300)), BOUNDS[name], params, seeded()
    )
    other = gaussian_pairs(500, 1)
    value = BOUNDS[name](scored(critic, Pairs(images=other.images.roll(1, dims=0), vectors=other.vectors)))
    assert -0.1 < value.item() < 0.05


def test_the_state_that_is_best_on_what_was_held_out_is_kept() -> None:
    # What is fitted says the opposite of what is held out: every step makes it worse there.
    fitted, held_out = gaussian_pairs(200), gaussian_pairs(200, 1)
    turned = Pairs(images=-held_out.images, vectors=held_out.vectors)
    params = InformationParams(steps=50, batch=100, units=16, lr=1e-2)
    assert trained_critic(fitted, turned, infonce, params, seeded())[1] == 5
    assert trained_critic(fitted, held_out, infonce, params, seeded())[1] > 5


# --- the evaluator ------------------------------------------------------------------------------------------------------


def test_the_evaluator_keeps_the_contract() -> None:
    (spec,) = bench_evaluators()
    found = check_evaluator(spec, QUICK)
    assert spec.protocol == "mutual_information@1"
    assert {metric.unit for metric in spec.metrics} == {"nats"}
    assert all(measurement.outcomes is None for measurement in found.measurements)
    assert found.details["ceiling"] == pytest.approx(math.log(40))
    assert found.details["held_out"] == 8


def test_a_vector_that_tells_more_of_the_image_scores_higher_and_none_passes_the_ceiling() -> None:
    train, test = random_images(400, 0), random_images(30, 1)
    params = InformationParams(steps=100, batch=64, units=32, lr=3e-3)

    def score(width: int) -> dict[str, float]:
        probe = fake_probe(train, pixels(train)[:, :width], test, pixels(test)[:, :width])
        return values(evaluate_information(probe, params))

    all_pixels, one_pixel = score(16), score(1)
    assert all_pixels["infonce"] > one_pixel["infonce"] + 0.5
    assert all_pixels["dv"] > one_pixel["dv"] + 0.5
    assert 0.8 * ceiling(30) < all_pixels["infonce"] <= ceiling(30)


def test_chance_comes_from_the_probe_alone() -> None:
    train, test = random_images(60, 0), random_images(20, 1)

    def score(seed: int) -> dict[str, float]:
        return values(evaluate_information(fake_probe(train, pixels(train), test, pixels(test), seed), QUICK))

    state = torch.random.get_rng_state()
    first = score(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    assert score(0) == first
    assert score(1) != first


def test_numbers_that_never_vary_do_no_harm() -> None:
    train = Pairs(images=torch.ones(30, 2), vectors=torch.cat([torch.zeros(30, 1), torch.arange(30.0)[:, None]], dim=1))
    images, vectors = standardized(train, train)[0].images, standardized(train, train)[0].vectors
    assert torch.all(images == 0)
    assert torch.all(vectors[:, 0] == 0)
    assert vectors[:, 1].std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_large_images_are_averaged_down_to_thirty_two_pixels() -> None:
    images = torch.zeros((2, 1, 64, 64), dtype=torch.uint8)
    images[:, :, ::2] = 255
    rows = pixels(images)
    assert rows.shape == (2, 32 * 32)
    torch.testing.assert_close(rows, torch.full_like(rows, 0.5))
    assert torch.equal(pixels(random_images(3, 0)), random_images(3, 0).flatten(1) / 255)


def test_too_few_images_are_refused_with_what_would_do() -> None:
    few = random_images(19, 0)
    with pytest.raises(benchmark.UnsupportedError, match="20 training images"):
        evaluate_information(fake_probe(few, pixels(few), few, pixels(few)), QUICK)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batch": 1}, {"lr": 0.0}, {"units": 0}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        InformationParams(**wrong)


def test_listing_the_evaluator_imports_no_torch() -> None:
    program = "import sys, bench_information as b; list(b.bench_evaluators()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
