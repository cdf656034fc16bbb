"""Rank correlations over clusters, against scipy and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as reference

from benchmark.stats.rank_correlation import ClusterPairs, rank_correlations


@pytest.mark.parametrize("levels", [5, 1000])
def test_correlations_match_scipy_with_and_without_ties(levels: int) -> None:
    draw = np.random.default_rng(0)
    x = draw.integers(levels, size=60).astype(float)
    y = x + draw.integers(levels, size=60)
    spearman, kendall = rank_correlations(x, y, np.arange(60))
    assert spearman.value == pytest.approx(reference.spearmanr(x, y).statistic, abs=1e-12)
    assert kendall.value == pytest.approx(reference.kendalltau(x, y).statistic, abs=1e-12)


def test_cluster_weights_match_an_explicit_resample() -> None:
    draw = np.random.default_rng(1)
    x, y, clusters = draw.normal(size=20), draw.normal(size=20), np.arange(20) // 4
    weights = np.array([[2.0, 0.0, 1.0, 1.0, 1.0]])
    written = np.concatenate([np.flatnonzero(clusters == cluster) for cluster in (0, 0, 2, 3, 4)])
    spearman, kendall = ClusterPairs(x, y, clusters, 5).correlations(weights)
    assert spearman[0] == pytest.approx(reference.spearmanr(x[written], y[written]).statistic, abs=1e-12)
    assert kendall[0] == pytest.approx(reference.kendalltau(x[written], y[written]).statistic, abs=1e-12)


def test_monotone_relation_gives_plus_or_minus_one() -> None:
    x = np.arange(30.0)
    for direction in (1, -1):
        for result in rank_correlations(x, direction * np.exp(x / 10), np.arange(30)):
            assert (result.value, result.low, result.high) == pytest.approx((direction, direction, direction))


def test_interval_over_clusters_ignores_copies_within_a_cluster() -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(size=20)
    y = x + draw.normal(size=20)
    copied_x, copied_y = np.repeat(x, 4), np.repeat(y, 4)
    for clustered, naive, once in zip(
        rank_correlations(copied_x, copied_y, np.repeat(np.arange(20), 4)),
        rank_correlations(copied_x, copied_y, np.arange(80)),
        rank_correlations(x, y, np.arange(20)),
        strict=True,
    ):
        assert None not in (clustered.low, clustered.high, naive.low, naive.high, once.low, once.high)
        assert clustered.value == pytest.approx(naive.value)
        assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)  # type: ignore[operator]
        # Four copies of a point carry no more information than the point.
        assert (clustered.low, clustered.high) == pytest.approx((once.low, once.high), abs=0.02)


def test_intervals_cover_near_their_level() -> None:
    truth, hits = 6 / np.pi * np.arcsin(0.5 / 2), 0  # Spearman's of Gaussians with correlation .5
    draw = np.random.default_rng(3)
    for trial in range(150):
        shared = draw.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=40)
        noisy = np.repeat(shared, 3, axis=0)  # three identical taps
        result, _ = rank_correlations(noisy[:, 0], noisy[:, 1], np.repeat(np.arange(40), 3), draws=400, seed=trial)
        assert result.low is not None
        assert result.high is not None
        hits += result.low <= truth <= result.high
    assert 0.88 <= hits / 150 <= 0.99


def test_few_clusters_have_no_interval_and_a_constant_score_no_value() -> None:
    x = np.arange(12.0)
    few, _ = rank_correlations(x, x, np.arange(12) % 4)
    assert (few.value, few.low, few.high) == (1.0, None, None)
    constant, tau = rank_correlations(np.ones(12), x, np.arange(12))
    assert constant.value is tau.value is constant.low is None
    with pytest.raises(ValueError, match="equal numbers of each"):
        rank_correlations(x, x[:3], np.arange(12))


def test_small_blocks_give_the_same_correlations() -> None:
    draw = np.random.default_rng(4)
    x, y, clusters = draw.normal(size=50), draw.normal(size=50), np.arange(50) // 5
    whole = rank_correlations(x, y, clusters)
    for block, each in zip(rank_correlations(x, y, clusters, block=170), whole, strict=True):
        assert (block.value, block.low, block.high) == pytest.approx((each.value, each.low, each.high))
