"""Intervals over test images, and the spread over seeds."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from benchmark.stats.intervals import bootstrap_mean, interval, spread, wilson

# --- Wilson -----------------------------------------------------------------------------------------------------------


def test_wilson_matches_the_published_interval_of_eight_in_ten() -> None:
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def test_wilson_of_no_success_ends_at_z2_over_n_plus_z2() -> None:
    z2 = 1.959963984540054**2
    assert wilson(0, 10) == pytest.approx((0.0, z2 / (10 + z2)), abs=1e-12)


def test_wilson_half_width_at_ten_thousand_images() -> None:
    low, high = wilson(9000, 10_000)
    assert (high - low) / 2 == pytest.approx(0.0059, abs=1e-4)


@pytest.mark.parametrize("n", [1, 7, 360])
def test_wilson_matches_scipy(n: int) -> None:
    for successes in range(n + 1):
        expected = binomtest(successes, n).proportion_ci(method="wilson")
        assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-15)


@pytest.mark.parametrize("successes", range(8))
def test_wilson_is_symmetric_in_successes_and_failures(successes: int) -> None:
    low, high = wilson(successes, 7)
    assert wilson(7 - successes, 7) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    assert low <= successes / 7 <= high


@pytest.mark.parametrize("n", [1, 3, 49, 360, 10_000])
def test_wilson_stays_in_zero_one_at_the_extremes(n: int) -> None:
    assert wilson(0, n)[0] == 0.0
    assert wilson(n, n)[1] == 1.0
    assert 0 < wilson(0, n)[1] < 1
    assert 0 < wilson(n, n)[0] < 1


def test_wilson_is_wider_at_a_higher_level() -> None:
    assert wilson(30, 100, level=0.99)[0] < wilson(30, 100, level=0.8)[0]


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_rejects_invalid_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson(successes, n)


def test_wilson_covers_its_level_on_average() -> None:
    # Exact, not simulated: the probability of the counts whose interval covers the true proportion, averaged over proportions.
    n, shares = 40, np.linspace(0.02, 0.98, 97)
    intervals = np.array([wilson(successes, n) for successes in range(n + 1)])
    ways = np.array([math.comb(n, successes) for successes in range(n + 1)], dtype=float)
    counts = np.arange(n + 1)
    covered = [
        (ways * p**counts * (1 - p) ** (n - counts))[(intervals[:, 0] <= p) & (p <= intervals[:, 1])].sum()
        for p in shares
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)


# --- bootstrap --------------------------------------------------------------------------------------------------------


def test_bootstrap_covers_its_level() -> None:
    generator = np.random.default_rng(3)
    held = [
        low <= 0.25 <= high
        for low, high in (bootstrap_mean(generator.beta(1, 3, 60), draws=400, seed=run) for run in range(600))
    ]
    # Standard error of 600 runs at 95 %: .009. The percentile bootstrap is slightly too narrow at n = 60.
    assert 0.91 <= np.mean(held) <= 0.975


def test_bootstrap_matches_the_normal_interval_for_many_values() -> None:
    values = np.random.default_rng(0).random(4000)
    half = 1.959964 * values.std() / math.sqrt(4000)
    assert bootstrap_mean(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_bootstrap_matches_scipy() -> None:
    values = np.random.default_rng(0).random(360)
    expected = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=2000, random_state=np.random.default_rng(5)
    )
    low, high = expected.confidence_interval
    assert bootstrap_mean(values, seed=5) == pytest.approx((low, high), abs=1e-14)


def test_bootstrap_mirrors_mirrored_values() -> None:
    values = np.random.default_rng(1).random(50)
    low, high = bootstrap_mean(values)
    assert bootstrap_mean(1 - values) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_bootstrap_excludes_nan() -> None:
    values = np.random.default_rng(2).random(30)
    holes = np.insert(values, [0, 7, 30], np.nan)
    assert bootstrap_mean(holes) == bootstrap_mean(values)


def test_bootstrap_depends_only_on_values_and_seed() -> None:
    values = np.random.default_rng(2).random(30)
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)


def test_bootstrap_of_equal_values_has_no_width() -> None:
    assert bootstrap_mean(np.full(9, 0.5)) == (0.5, 0.5)


def test_bootstrap_memory_stays_small() -> None:
    values = np.random.default_rng(0).random(10_000)
    tracemalloc.start()
    bootstrap_mean(values, draws=250)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20


def test_bootstrap_rejects_no_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean(np.array([np.nan]))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_intervals_reject_an_invalid_level(level: float) -> None:
    with pytest.raises(ValueError, match="level="):
        wilson(1, 2, level)
    with pytest.raises(ValueError, match="level="):
        bootstrap_mean(np.ones(3), level)


# --- the interval of a score ------------------------------------------------------------------------------------------


def test_interval_of_booleans_is_wilson() -> None:
    outcomes = np.array([True] * 8 + [False] * 2)
    assert interval(outcomes, 0.8, 10) == wilson(8, 10)


def test_interval_of_zeros_ones_and_nan_is_wilson() -> None:
    outcomes = np.array([1] * 8 + [0] * 2 + [np.nan] * 5, dtype=np.float32)
    assert interval(outcomes, 0.8, 10) == wilson(8, 10)


def test_interval_of_other_numbers_is_bootstrapped() -> None:
    outcomes = np.array([0.25, 0.5, 1.0, 0.0, np.nan], dtype=np.float32)
    assert interval(outcomes, 0.4375, 4) == bootstrap_mean(outcomes)


@pytest.mark.parametrize(("outcomes", "n"), [(None, 10), (np.array([0.3]), 1), (np.array([np.nan]), 0)])
def test_interval_is_absent_without_enough_outcomes(outcomes: np.ndarray | None, n: int) -> None:
    assert interval(outcomes, 0.3, n) == (None, None)


# --- spread over seeds ------------------------------------------------------------------------------------------------


def test_spread_uses_the_sample_standard_deviation() -> None:
    assert spread([0.5, 0.6, 0.7]) == pytest.approx((0.6, 0.1, 3))


def test_spread_of_one_seed_is_unknown() -> None:
    assert spread([0.5]) == (0.5, None, 1)


def test_spread_rejects_no_seeds() -> None:
    with pytest.raises(ValueError, match="no seeds"):
        spread([])
