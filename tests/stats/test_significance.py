"""Whether two checkpoints, or two methods across seeds, differ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from sample_outcomes import random_outcomes, sample
from scipy import stats as reference

from benchmark.stats.significance import (
    SeedSpread,
    compare_checkpoints,
    compare_methods,
    compare_methods_by_score,
    pool_spread,
)


def test_checkpoints_match_the_interval_computed_by_hand() -> None:
    # 12 images right for A alone, 4 for B alone, of 100: Bonett and Price add one of each.
    a = np.repeat([1, 0, 1, 0], [12, 4, 60, 24])
    b = np.repeat([0, 1, 1, 0], [12, 4, 60, 24])
    result = compare_checkpoints(sample(a), sample(b))
    center = 8 / 102
    error = math.sqrt((18 / 102 - center**2) / 102)
    assert result.difference == pytest.approx(0.08)
    assert result.standard_error == pytest.approx(error)
    assert result.interval == pytest.approx((center - 1.959964 * error, center + 1.959964 * error), abs=1e-6)
    assert result.p == pytest.approx(2 * reference.norm.sf(center / error), abs=1e-6)
    assert result.verdict == "no evidence"  # McNemar's exact p is .077


def test_checkpoints_match_the_paired_t_test_for_graded_outcomes() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(50), generator.random(50)
    result = compare_checkpoints(sample(a), sample(b))
    expected = reference.ttest_rel(a, b)
    assert result.p == pytest.approx(expected.pvalue)
    assert result.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_checkpoints_average_several_seeds() -> None:
    a, b = random_outcomes(1, 0.8), random_outcomes(2, 0.7)
    result = compare_checkpoints(sample(a), sample(b))
    assert result.p == pytest.approx(reference.ttest_rel(a.mean(0), b.mean(0)).pvalue)
    assert result.seeds == (3, 3)


def test_checkpoints_that_are_equal_give_no_evidence() -> None:
    a = sample(random_outcomes(1, 0.9)[0])
    result = compare_checkpoints(a, a)
    low, high = result.interval or (0, 0)
    assert (result.difference, result.p, result.verdict) == (0.0, 1.0, "no evidence")
    assert low == -high < 0, "no unequal image does not make a difference of 0 certain"


def test_checkpoints_five_points_apart_differ() -> None:
    a = random_outcomes(1, 0.9)[0]
    b = a.copy()
    b[np.flatnonzero(a)[:20]] = 0  # 5 points of 400
    result = compare_checkpoints(sample(a), sample(b))
    assert result.difference == pytest.approx(0.05)
    assert result.verdict == "better"
    assert result.p is not None
    assert result.p < 1e-4


def test_p_value_is_at_least_that_of_a_sign_test() -> None:
    for unequal in range(1, 8):
        a, b = np.zeros(50), np.zeros(50)
        a[:unequal] = 1
        p = compare_checkpoints(sample(a), sample(b)).p
        assert p is not None
        assert p >= 2.0 ** (1 - unequal)
    both = compare_methods(sample(np.ones((3, 4))), sample(np.zeros((3, 4))))
    assert both.p == pytest.approx(2.0**-3)


def test_images_without_an_outcome_are_excluded_on_both_sides() -> None:
    a, b = random_outcomes(1, 0.8), random_outcomes(2, 0.6)
    holed_a, holed_b = a.copy(), b.copy()
    holed_a[:, 7] = np.nan
    holed_b[1, 9] = np.nan
    kept = [image for image in range(400) if image not in (7, 9)]
    for compare in (compare_checkpoints, compare_methods):
        assert compare(sample(holed_a), sample(holed_b)) == compare(sample(a[:, kept]), sample(b[:, kept]))


def test_invalid_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match="3 images against 4 cannot be paired"):
        compare_checkpoints(sample([1, 0, 1]), sample([1, 0, 1, 1]))
    with pytest.raises(ValueError, match="no image has an outcome on both sides"):
        compare_methods(sample([1, np.nan]), sample([np.nan, 1]))
    with pytest.raises(ValueError, match=r"level=95: a coverage lies between 0 and 1"):
        compare_checkpoints(sample([1, 0]), sample([0, 0])).at_level(95).interval  # noqa: B018
    with pytest.raises(ValueError, match="no scores"):
        compare_methods_by_score([], [0.5])


def test_methods_match_the_variance_computed_by_hand() -> None:
    a = np.array([[1, 1, 0, 1], [1, 0, 0, 1]], dtype=float)  # means .75 and .5
    b = np.array([[0, 1, 0, 1], [0, 0, 1, 0]], dtype=float)  # means .5 and .25
    result = compare_methods(sample(a), sample(b))
    # Residuals of A: images less their mean give 0, 1/2, 0, 0 up and down, less their mean 1/8.
    interaction_a = 2 * (3 / 64 + 9 / 64) / 3
    interaction_b = (2 * ((1 / 2 - 1 / 8) ** 2 + (1 / 2 - 1 / 8) ** 2 + (-1 / 2 - 1 / 8) ** 2 + (1 / 8) ** 2)) / 3
    seeds = (1 / 32 + 1 / 32) / 2
    gaps = np.array([1, 0, -1 / 2, 1 / 2])
    images = max(0.0, gaps.var(ddof=1) / 4 - (interaction_a + interaction_b) / 8)
    assert result.difference == pytest.approx(0.25)
    assert result.standard_error == pytest.approx(math.sqrt(max(seeds + images, 1 / 16)))


def test_methods_match_welchs_test_without_image_variance() -> None:
    # Every image has the same shift, so all variance is between seed means.
    generator = np.random.default_rng(4)
    shifts_a, shifts_b = generator.normal(5, 1, 3), generator.normal(3, 2, 5)
    a, b = np.tile(shifts_a[:, None], 1000), np.tile(shifts_b[:, None], 1000)
    result, expected = compare_methods(sample(a), sample(b)), reference.ttest_ind(shifts_a, shifts_b, equal_var=False)
    assert result.p == pytest.approx(expected.pvalue)
    assert result.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert compare_methods_by_score(shifts_a, shifts_b).p == pytest.approx(expected.pvalue)


def test_methods_without_seeds_match_the_paired_t_test() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(50), generator.random(50)
    result = compare_methods(sample(a, seedless=True), sample(b, seedless=True))
    assert result.p == pytest.approx(reference.ttest_rel(a, b).pvalue)


def test_methods_with_one_seed_are_not_testable() -> None:
    result = compare_methods(sample(random_outcomes(1, 0.9)[:1]), sample(random_outcomes(2, 0.5)))
    assert result.verdict == "checkpoint only"
    assert (result.p, result.interval, result.minimal_detectable, result.testable) == (None, None, None, False)
    assert result.difference > 0.3
    assert compare_methods_by_score([0.9], [0.5, 0.51]).verdict == "checkpoint only"
    assert compare_methods_by_score([0.9, 0.9], [0.5, 0.5]).verdict == "no evidence"


def test_pooled_spread_makes_one_seed_testable() -> None:
    a, b = sample(random_outcomes(1, 0.9)[:1]), sample(random_outcomes(2, 0.6)[:1])
    narrow = compare_methods(a, b, pooled=SeedSpread(standard_deviation=0.001, degrees_of_freedom=20))
    wide = compare_methods(a, b, pooled=SeedSpread(standard_deviation=0.2, degrees_of_freedom=20))
    assert (narrow.verdict, wide.verdict) == ("better", "no evidence")
    assert wide.degrees_of_freedom == pytest.approx(40, rel=0.1)


def test_pooled_spread_weights_rows_by_degrees_of_freedom() -> None:
    rows = [random_outcomes(seed, 0.7, (seeds, 300)) for seed, seeds in ((1, 3), (2, 5), (3, 1))]
    spread = pool_spread([sample(row) for row in rows])
    variances = [row.mean(axis=1).var(ddof=1) for row in rows[:2]]
    assert spread is not None
    assert spread.degrees_of_freedom == 6
    assert spread.standard_deviation**2 == pytest.approx((2 * variances[0] + 4 * variances[1]) / 6)
    assert spread.interaction == pytest.approx(0.21, rel=0.1)  # p (1 - p): images are independent over seeds here
    assert pool_spread([sample(rows[2])]) is None


def test_methods_whose_seeds_agree_by_luck_keep_an_interval() -> None:
    generator = np.random.default_rng(5)
    a, b = (np.array([generator.permutation(row) for row in np.tile(np.arange(100) < n, (3, 1))]) for n in (90, 80))
    result = compare_methods(sample(a), sample(b))
    assert result.standard_error is not None
    assert result.degrees_of_freedom is not None
    assert result.standard_error >= 0.01, "one image of a hundred"
    assert result.degrees_of_freedom < 5


def test_minimal_detectable_difference_shrinks_with_seeds_and_images() -> None:
    def detectable(seeds: int, images: int) -> float:
        result = [
            compare_methods(
                sample(random_outcomes(i, 0.9, (seeds, images))), sample(random_outcomes(99 + i, 0.9, (seeds, images)))
            )
            for i in range(20)
        ]
        return float(np.median([each.minimal_detectable or 0 for each in result]))

    assert detectable(5, 400) < detectable(3, 400)
    assert detectable(3, 4000) < detectable(3, 400)


@pytest.mark.parametrize("compare", [compare_checkpoints, compare_methods])
def test_swapped_sides_swap_signs(compare: Any) -> None:
    a, b = sample(random_outcomes(1, 0.9, (2, 300))), sample(random_outcomes(2, 0.7, (4, 300)))
    result, turned = compare(a, b), compare(b, a)
    assert turned == result.reversed()
    assert turned.reversed() == result
    assert (result.verdict, turned.verdict) == ("better", "worse")
    assert result.p == pytest.approx(turned.p)


def test_lower_is_better_inverts_the_verdict() -> None:
    a, b = sample(random_outcomes(1, 0.9)), sample(random_outcomes(2, 0.6))
    assert compare_checkpoints(a, b, higher_is_better=False).verdict == "worse"
    assert compare_methods(b, a, higher_is_better=False).verdict == "better"
