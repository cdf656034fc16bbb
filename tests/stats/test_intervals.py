"""Intervals over test images, spread over seeds."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from benchmark.stats.intervals import bootstrap_mean, interval, spread, wilson

# --- Wilson -----------------------------------------------------------------------------------------------------------


def test_eight_of_ten_has_the_published_interval() -> None:
    assert wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def test_no_success_in_ten_reaches_up_to_z_squared_over_n_plus_z_squared() -> None:
    z2 = 1.959963984540054**2
    assert wilson(0, 10) == pytest.approx((0.0, z2 / (10 + z2)), abs=1e-12)


def test_nine_tenths_of_ten_thousand_is_known_to_six_thousandths() -> None:
    low, high = wilson(9000, 10_000)
    assert (high - low) / 2 == pytest.approx(0.0059, abs=1e-4)


@pytest.mark.parametrize("successes", range(8))
def test_failures_mirror_successes(successes: int) -> None:
    low, high = wilson(successes, 7)
    assert wilson(7 - successes, 7) == pytest.approx((1 - high, 1 - low), abs=1e-12)
    assert low <= successes / 7 <= high


@pytest.mark.parametrize("n", [1, 3, 49, 360, 10_000])
def test_the_extremes_stay_between_zero_and_one(n: int) -> None:
    assert wilson(0, n)[0] == 0.0
    assert wilson(n, n)[1] == 1.0
    assert 0 < wilson(0, n)[1] < 1
    assert 0 < wilson(n, n)[0] < 1


def test_a_higher_level_is_wider() -> None:
    assert wilson(30, 100, level=0.99)[0] < wilson(30, 100, level=0.8)[0]


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson(successes, n)


def test_wilson_covers_the_truth_at_its_level_on_average() -> None:
    # Exact, not simulated: the binomial probability of the counts whose interval holds the truth, averaged over it.
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


def test_the_bootstrap_covers_the_truth_at_its_level() -> None:
    generator = np.random.default_rng(3)
    held = [
        low <= 0.25 <= high
        for low, high in (bootstrap_mean(generator.beta(1, 3, 60), draws=400, seed=run) for run in range(600))
    ]
    # Standard error of 600 runs at 95 %: .009; the percentile bootstrap is a little narrow at n = 60.
    assert 0.91 <= np.mean(held) <= 0.975


def test_the_bootstrap_agrees_with_the_normal_interval_of_many_values() -> None:
    values = np.random.default_rng(0).random(4000)
    half = 1.959964 * values.std() / math.sqrt(4000)
    assert bootstrap_mean(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_mirrored_values_have_the_mirrored_interval() -> None:
    values = np.random.default_rng(1).random(50)
    low, high = bootstrap_mean(values)
    assert bootstrap_mean(1 - values) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_queries_without_a_value_are_left_out() -> None:
    values = np.random.default_rng(2).random(30)
    holes = np.insert(values, [0, 7, 30], np.nan)
    assert bootstrap_mean(holes) == bootstrap_mean(values)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(2).random(30)
    assert bootstrap_mean(values, seed=4) == bootstrap_mean(values, seed=4)
    assert bootstrap_mean(values, seed=4) != bootstrap_mean(values, seed=5)


def test_equal_values_have_no_width() -> None:
    assert bootstrap_mean(np.full(9, 0.5)) == (0.5, 0.5)


def test_a_bootstrap_of_many_queries_stays_small() -> None:
    values = np.random.default_rng(0).random(10_000)
    tracemalloc.start()
    bootstrap_mean(values, draws=250)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * 2**20


def test_a_bootstrap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean(np.array([np.nan]))


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_outside_its_range_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level="):
        wilson(1, 2, level)
    with pytest.raises(ValueError, match="level="):
        bootstrap_mean(np.ones(3), level)


# --- the interval of a score ------------------------------------------------------------------------------------------


def test_successes_get_the_wilson_interval() -> None:
    outcomes = np.array([True] * 8 + [False] * 2)
    assert interval(outcomes, 0.8, 10) == wilson(8, 10)


def test_zeros_and_ones_with_holes_are_successes() -> None:
    outcomes = np.array([1] * 8 + [0] * 2 + [np.nan] * 5, dtype=np.float32)
    assert interval(outcomes, 0.8, 10) == wilson(8, 10)


def test_other_numbers_are_bootstrapped() -> None:
    outcomes = np.array([0.25, 0.5, 1.0, 0.0, np.nan], dtype=np.float32)
    assert interval(outcomes, 0.4375, 4) == bootstrap_mean(outcomes)


@pytest.mark.parametrize(("outcomes", "n"), [(None, 10), (np.array([0.3]), 1), (np.array([np.nan]), 0)])
def test_where_nothing_can_be_said_there_is_no_interval(outcomes: np.ndarray | None, n: int) -> None:
    assert interval(outcomes, 0.3, n) == (None, None)


# --- spread over seeds ------------------------------------------------------------------------------------------------


def test_spread_divides_by_one_less_than_the_number_of_seeds() -> None:
    assert spread([0.5, 0.6, 0.7]) == pytest.approx((0.6, 0.1, 3))


def test_the_spread_of_one_seed_is_unknown() -> None:
    assert spread([0.5]) == (0.5, None, 1)


def test_the_spread_of_no_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="no seeds"):
        spread([])
