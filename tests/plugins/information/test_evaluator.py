"""The evaluator `mutual_information`: `bench_information.evaluator`."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from generators import seeded
from torch import Tensor

import benchmark
from bench_information import InformationParams, bench_evaluators
from bench_information.bounds import ceiling
from bench_information.critic import Pairs
from bench_information.evaluator import evaluate_information, pixels, standardize
from benchmark.testing.evaluators import check_evaluator

QUICK = InformationParams(steps=20, batch=32, units=16)


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


def test_evaluator_passes_the_conformance_checks() -> None:
    (spec,) = bench_evaluators()
    evaluation = check_evaluator(spec, QUICK)
    assert spec.protocol == "mutual_information@1"
    assert {metric.unit for metric in spec.metrics} == {"nats"}
    assert all(measurement.outcomes is None for measurement in evaluation.measurements)
    assert evaluation.details["ceiling"] == pytest.approx(math.log(40))
    assert evaluation.details["held_out"] == 8


def test_more_informative_vectors_score_higher_up_to_the_ceiling() -> None:
    train, test = random_images(400, 0), random_images(30, 1)
    params = InformationParams(steps=100, batch=64, units=32, lr=3e-3)

    def score(width: int) -> dict[str, float]:
        probe = fake_probe(train, pixels(train)[:, :width], test, pixels(test)[:, :width])
        return values(evaluate_information(probe, params))

    all_pixels, one_pixel = score(16), score(1)
    assert all_pixels["infonce"] > one_pixel["infonce"] + 0.5
    assert all_pixels["dv"] > one_pixel["dv"] + 0.5
    assert 0.8 * ceiling(30) < all_pixels["infonce"] <= ceiling(30)


def test_evaluator_uses_only_the_generator_of_the_probe() -> None:
    train, test = random_images(60, 0), random_images(20, 1)

    def score(seed: int) -> dict[str, float]:
        return values(evaluate_information(fake_probe(train, pixels(train), test, pixels(test), seed), QUICK))

    state = torch.random.get_rng_state()
    first = score(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(5)
    assert score(0) == first
    assert score(1) != first


def test_standardize_only_centers_constant_columns() -> None:
    train = Pairs(images=torch.ones(30, 2), vectors=torch.cat([torch.zeros(30, 1), torch.arange(30.0)[:, None]], dim=1))
    images, vectors = standardize(train, train)[0].images, standardize(train, train)[0].vectors
    assert torch.all(images == 0)
    assert torch.all(vectors[:, 0] == 0)
    assert vectors[:, 1].std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_pixels_averages_large_images_down() -> None:
    images = torch.zeros((2, 1, 64, 64), dtype=torch.uint8)
    images[:, :, ::2] = 255
    rows = pixels(images)
    assert rows.shape == (2, 32 * 32)
    torch.testing.assert_close(rows, torch.full_like(rows, 0.5))
    assert torch.equal(pixels(random_images(3, 0)), random_images(3, 0).flatten(1) / 255)


def test_too_few_images_are_an_error() -> None:
    few = random_images(19, 0)
    with pytest.raises(benchmark.UnsupportedError, match="at least 20 training images"):
        evaluate_information(fake_probe(few, pixels(few), few, pixels(few)), QUICK)


@pytest.mark.parametrize("invalid", [{"steps": 0}, {"batch": 1}, {"lr": 0.0}, {"units": 0}])
def test_parameter_out_of_range_is_an_error(invalid: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(invalid))):
        InformationParams(**invalid)
