"""Holm's adjustment, the gate and rank intervals."""

from __future__ import annotations

import numpy as np
import pytest
from sample_outcomes import comparison_of, random_outcomes, sample

from benchmark.stats.multiple_testing import adjust, gate, holm, rank_intervals
from benchmark.stats.significance import SeedSpread


def test_holm_matches_values_computed_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == pytest.approx([0.03, 0.06, 0.06, None, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_adjusted_interval_excludes_zero_where_adjusted_p_is_small() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        family = [
            comparison_of(center, degrees_of_freedom=8.0)
            for center in generator.normal(0, 2.5, generator.integers(1, 8))
        ]
        for each in adjust(family):
            assert each.adjusted_p is not None
            assert (each.verdict != "no evidence") == (each.adjusted_p < 0.05)


def test_adjust_keeps_order_and_untestable_members() -> None:
    result = adjust([comparison_of(0.1), comparison_of(1.0, None, None, seeds=(1, 3)), comparison_of(9.0)])
    assert [each.difference for each in result] == [0.1, 1.0, 9.0]
    assert result[1].adjusted_p is None
    assert result[2].level == pytest.approx(0.975)
    assert result[0].level == pytest.approx(0.95)


def test_gate_needs_evidence_and_a_drop_beyond_the_margin() -> None:
    run = [
        comparison_of(-0.02, 0.001),
        comparison_of(-0.004, 0.0001),
        comparison_of(0.02, 0.001),
        comparison_of(-0.02, 0.1),
        comparison_of(-0.5, None, None, seeds=(1, 1)),
    ]
    assert gate(run) == ["regressed", "no evidence", "improved", "no evidence", "not testable"]
    assert gate(run, margin=0)[1] == "regressed"
    assert gate([comparison_of(0.02, 0.001, higher_is_better=False)]) == ["regressed"]


def test_gate_is_stricter_with_more_scores() -> None:
    loss = comparison_of(-0.02, 0.006, 30.0)
    assert gate([loss]) == ["regressed"]
    assert gate([loss, *(comparison_of(0.0, 0.005, 30.0) for _ in range(99))])[0] == "no evidence"


def test_rank_intervals_overlap_for_indistinguishable_rows() -> None:
    good, also_good, bad = random_outcomes(1, 0.9), random_outcomes(2, 0.9), random_outcomes(3, 0.5)
    one_seed = random_outcomes(4, 0.9)[:1]
    result = rank_intervals([sample(bad), sample(good), sample(one_seed), sample(also_good)])
    assert [str(each) for each in result] == ["3", "1-2", "None", "1-2"]
    turned = rank_intervals([sample(bad), sample(good), sample(also_good)], higher_is_better=False)
    assert [str(each) for each in turned] == ["1", "2-3", "2-3"]


def test_rank_intervals_rank_one_seed_only_with_a_known_spread() -> None:
    rows = [sample(random_outcomes(seed, share)[:1]) for seed, share in ((1, 0.9), (2, 0.5))]
    assert rank_intervals(rows) == [None, None]
    assert [
        str(each) for each in rank_intervals(rows, pooled=SeedSpread(standard_deviation=0.01, degrees_of_freedom=10))
    ] == ["1", "2"]
    pixels = rank_intervals([sample(random_outcomes(1, 0.9)[0], seedless=True), sample(random_outcomes(2, 0.5))])
    assert [str(each) for each in pixels] == ["1", "2"]
