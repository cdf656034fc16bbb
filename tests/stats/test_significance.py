"""Whether two scores differ: paired on images, trained again, many at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as reference

from benchmark.stats.comparison import Comparison, minimal
from benchmark.stats.multiple_testing import adjust, gate, holm, rank_intervals
from benchmark.stats.significance import SeedOutcomes, Spread, paired, pooled_spread, retrained, retrained_scores


def sample(values: Any, seedless: bool = False) -> SeedOutcomes:
    return SeedOutcomes(outcomes=np.atleast_2d(np.asarray(values, dtype=float)), seedless=seedless)


def yes_or_no(seed: int, share: float, shape: tuple[int, ...] = (3, 400)) -> NDArray[np.float64]:
    return (np.random.default_rng(seed).random(shape) < share).astype(float)


# --- these checkpoints ------------------------------------------------------------------------------------------------


def test_a_paired_difference_by_hand() -> None:
    # 12 images right for A alone, 4 for B alone, of 100: Bonett and Price add one of each.
    a = np.repeat([1, 0, 1, 0], [12, 4, 60, 24])
    b = np.repeat([0, 1, 1, 0], [12, 4, 60, 24])
    found = paired(sample(a), sample(b))
    center = 8 / 102
    error = math.sqrt((18 / 102 - center**2) / 102)
    assert found.difference == pytest.approx(0.08)
    assert found.error == pytest.approx(error)
    assert found.interval == pytest.approx((center - 1.959964 * error, center + 1.959964 * error), abs=1e-6)
    assert found.p == pytest.approx(2 * reference.norm.sf(center / error), abs=1e-6)
    assert found.verdict == "no evidence"  # McNemar's exact p is .077


def test_numbers_between_are_compared_by_students_t() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(50), generator.random(50)
    found = paired(sample(a), sample(b))
    expected = reference.ttest_rel(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))


def test_several_seeds_are_these_trainings_and_are_averaged() -> None:
    a, b = yes_or_no(1, 0.8), yes_or_no(2, 0.7)
    found = paired(sample(a), sample(b))
    assert found.p == pytest.approx(reference.ttest_rel(a.mean(0), b.mean(0)).pvalue)
    assert found.seeds == (3, 3)


def test_a_checkpoint_beside_itself_gives_no_evidence() -> None:
    a = sample(yes_or_no(1, 0.9)[0])
    found = paired(a, a)
    low, high = found.interval or (0, 0)
    assert (found.difference, found.p, found.verdict) == (0.0, 1.0, "no evidence")
    assert low == -high < 0, "no unequal image does not make a difference of 0 certain"


def test_five_points_are_found() -> None:
    a = yes_or_no(1, 0.9)[0]
    b = a.copy()
    b[np.flatnonzero(a)[:20]] = 0  # 5 points of 400
    found = paired(sample(a), sample(b))
    assert found.difference == pytest.approx(0.05)
    assert found.verdict == "better"
    assert found.p is not None
    assert found.p < 1e-4


def test_a_p_value_is_never_below_that_of_a_sign_test() -> None:
    for unequal in range(1, 8):
        a, b = np.zeros(50), np.zeros(50)
        a[:unequal] = 1
        p = paired(sample(a), sample(b)).p
        assert p is not None
        assert p >= 2.0 ** (1 - unequal)
    both = retrained(sample(np.ones((3, 4))), sample(np.zeros((3, 4))))
    assert both.p == pytest.approx(2.0**-3)


def test_images_without_outcomes_count_on_neither_side() -> None:
    a, b = yes_or_no(1, 0.8), yes_or_no(2, 0.6)
    holed_a, holed_b = a.copy(), b.copy()
    holed_a[:, 7] = np.nan
    holed_b[1, 9] = np.nan
    kept = [image for image in range(400) if image not in (7, 9)]
    for compare in (paired, retrained):
        assert compare(sample(holed_a), sample(holed_b)) == compare(sample(a[:, kept]), sample(b[:, kept]))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="3 images against 4 cannot be paired"):
        paired(sample([1, 0, 1]), sample([1, 0, 1, 1]))
    with pytest.raises(ValueError, match="no image has an outcome on both sides"):
        retrained(sample([1, np.nan]), sample([np.nan, 1]))
    with pytest.raises(ValueError, match=r"level=95 cannot be"):
        paired(sample([1, 0]), sample([0, 0])).at(95).interval  # noqa: B018
    with pytest.raises(ValueError, match="no scores"):
        retrained_scores([], [0.5])


# --- trained again ----------------------------------------------------------------------------------------------------


def test_the_variance_of_training_again_by_hand() -> None:
    a = np.array([[1, 1, 0, 1], [1, 0, 0, 1]], dtype=float)  # means .75 and .5
    b = np.array([[0, 1, 0, 1], [0, 0, 1, 0]], dtype=float)  # means .5 and .25
    found = retrained(sample(a), sample(b))
    # Residuals of A: images less their mean give 0, 1/2, 0, 0 up and down, less their mean 1/8.
    interaction_a = 2 * (3 / 64 + 9 / 64) / 3
    interaction_b = (2 * ((1 / 2 - 1 / 8) ** 2 + (1 / 2 - 1 / 8) ** 2 + (-1 / 2 - 1 / 8) ** 2 + (1 / 8) ** 2)) / 3
    seeds = (1 / 32 + 1 / 32) / 2
    gaps = np.array([1, 0, -1 / 2, 1 / 2])
    images = max(0.0, gaps.var(ddof=1) / 4 - (interaction_a + interaction_b) / 8)
    assert found.difference == pytest.approx(0.25)
    assert found.error == pytest.approx(math.sqrt(max(seeds + images, 1 / 16)))


def test_without_image_variance_it_is_welchs_test_on_seed_means() -> None:
    # Every image sees the same shift, so that images say nothing and seed means everything.
    generator = np.random.default_rng(4)
    shifts_a, shifts_b = generator.normal(5, 1, 3), generator.normal(3, 2, 5)
    a, b = np.tile(shifts_a[:, None], 1000), np.tile(shifts_b[:, None], 1000)
    found, expected = retrained(sample(a), sample(b)), reference.ttest_ind(shifts_a, shifts_b, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert retrained_scores(shifts_a, shifts_b).p == pytest.approx(expected.pvalue)


def test_sides_without_chance_are_compared_on_images_alone() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.random(50), generator.random(50)
    found = retrained(sample(a, seedless=True), sample(b, seedless=True))
    assert found.p == pytest.approx(reference.ttest_rel(a, b).pvalue)


def test_one_seed_is_not_testable() -> None:
    found = retrained(sample(yes_or_no(1, 0.9)[:1]), sample(yes_or_no(2, 0.5)))
    assert found.verdict == "checkpoint only"
    assert (found.p, found.interval, found.minimal, found.testable) == (None, None, None, False)
    assert found.difference > 0.3
    assert retrained_scores([0.9], [0.5, 0.51]).verdict == "checkpoint only"
    assert retrained_scores([0.9, 0.9], [0.5, 0.5]).verdict == "no evidence"


def test_a_spread_from_elsewhere_makes_one_seed_testable() -> None:
    a, b = sample(yes_or_no(1, 0.9)[:1]), sample(yes_or_no(2, 0.6)[:1])
    narrow = retrained(a, b, pooled=Spread(deviation=0.001, degrees=20))
    wide = retrained(a, b, pooled=Spread(deviation=0.2, degrees=20))
    assert (narrow.verdict, wide.verdict) == ("better", "no evidence")
    assert wide.degrees == pytest.approx(40, rel=0.1)


def test_the_pooled_spread_weighs_rows_by_their_degrees_of_freedom() -> None:
    rows = [yes_or_no(seed, 0.7, (seeds, 300)) for seed, seeds in ((1, 3), (2, 5), (3, 1))]
    spread = pooled_spread([sample(row) for row in rows])
    variances = [row.mean(axis=1).var(ddof=1) for row in rows[:2]]
    assert spread is not None
    assert spread.degrees == 6
    assert spread.deviation**2 == pytest.approx((2 * variances[0] + 4 * variances[1]) / 6)
    assert spread.interaction == pytest.approx(0.21, rel=0.1)  # p (1 - p): images are independent over seeds here
    assert pooled_spread([sample(rows[2])]) is None


def test_seeds_that_agree_by_luck_do_not_make_certainty() -> None:
    generator = np.random.default_rng(5)
    a, b = (np.array([generator.permutation(row) for row in np.tile(np.arange(100) < n, (3, 1))]) for n in (90, 80))
    found = retrained(sample(a), sample(b))
    assert found.error is not None
    assert found.degrees is not None
    assert found.error >= 0.01, "one image of a hundred"
    assert found.degrees < 5


def test_more_seeds_and_images_see_smaller_differences() -> None:
    def seen(seeds: int, images: int) -> float:
        found = [
            retrained(sample(yes_or_no(i, 0.9, (seeds, images))), sample(yes_or_no(99 + i, 0.9, (seeds, images))))
            for i in range(20)
        ]
        return float(np.median([each.minimal or 0 for each in found]))

    assert seen(5, 400) < seen(3, 400)
    assert seen(3, 4000) < seen(3, 400)


@pytest.mark.parametrize("compare", [paired, retrained])
def test_turning_the_sides_turns_signs(compare: Any) -> None:
    a, b = sample(yes_or_no(1, 0.9, (2, 300))), sample(yes_or_no(2, 0.7, (4, 300)))
    found, turned = compare(a, b), compare(b, a)
    assert turned == found.turned()
    assert turned.turned() == found
    assert (found.verdict, turned.verdict) == ("better", "worse")
    assert found.p == pytest.approx(turned.p)


def test_where_less_is_better_less_is_better() -> None:
    a, b = sample(yes_or_no(1, 0.9)), sample(yes_or_no(2, 0.6))
    assert paired(a, b, higher_is_better=False).verdict == "worse"
    assert retrained(b, a, higher_is_better=False).verdict == "better"


# --- p-values, intervals and minimal differences ----------------------------------------------------------------------


def difference(center: float, error: float | None = 1.0, degrees: float | None = 4.0, **changes: Any) -> Comparison:
    fields: dict[str, Any] = {"question": "trained again", "images": 100, "seeds": (3, 3), **changes}
    return Comparison(difference=center, center=center, error=error, degrees=degrees, **fields)


def test_an_interval_at_one_minus_p_ends_at_zero() -> None:
    found = difference(3.0)
    low, _ = found.at(1 - (found.p or 0)).interval or (1, 1)
    assert low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("degrees", [2.0, 4.0, 30.0, 1e6])
@pytest.mark.parametrize("level", [0.95, 0.9958])
def test_the_minimal_difference_is_found_with_the_power_it_claims(degrees: float, level: float) -> None:
    size = minimal(2.0, degrees, level)
    critical = reference.t.ppf((1 + level) / 2, degrees)
    assert reference.nct.sf(critical, degrees, size / 2.0) == pytest.approx(0.8, abs=1e-4)


# --- many at once -----------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None, 0.005]) == pytest.approx([0.03, 0.06, 0.06, None, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_an_adjusted_interval_leaves_out_zero_exactly_where_the_adjusted_p_value_says_so() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        family = [difference(center, degrees=8.0) for center in generator.normal(0, 2.5, generator.integers(1, 8))]
        for each in adjust(family):
            assert each.adjusted_p is not None
            assert (each.verdict != "no evidence") == (each.adjusted_p < 0.05)


def test_a_family_keeps_its_order_and_its_untestable_members() -> None:
    found = adjust([difference(0.1), difference(1.0, None, None, seeds=(1, 3)), difference(9.0)])
    assert [each.difference for each in found] == [0.1, 1.0, 9.0]
    assert found[1].adjusted_p is None
    assert found[2].level == pytest.approx(0.975)
    assert found[0].level == pytest.approx(0.95)


def test_a_gate_speaks_of_losses_beyond_its_margin_that_are_sure() -> None:
    run = [
        difference(-0.02, 0.001),
        difference(-0.004, 0.0001),
        difference(0.02, 0.001),
        difference(-0.02, 0.1),
        difference(-0.5, None, None, seeds=(1, 1)),
    ]
    assert gate(run) == ["regressed", "no evidence", "improved", "no evidence", "not testable"]
    assert gate(run, margin=0)[1] == "regressed"
    assert gate([difference(0.02, 0.001, higher_is_better=False)]) == ["regressed"]


def test_more_scores_ask_for_more_of_each() -> None:
    loss = difference(-0.02, 0.006, 30.0)
    assert gate([loss]) == ["regressed"]
    assert gate([loss, *(difference(0.0, 0.005, 30.0) for _ in range(99))])[0] == "no evidence"


def test_rows_that_cannot_be_told_apart_share_places() -> None:
    good, also_good, bad = yes_or_no(1, 0.9), yes_or_no(2, 0.9), yes_or_no(3, 0.5)
    alone = yes_or_no(4, 0.9)[:1]
    found = rank_intervals([sample(bad), sample(good), sample(alone), sample(also_good)])
    assert [str(each) for each in found] == ["3", "1-2", "None", "1-2"]
    turned = rank_intervals([sample(bad), sample(good), sample(also_good)], higher_is_better=False)
    assert [str(each) for each in turned] == ["1", "2-3", "2-3"]


def test_one_seed_has_a_rank_where_the_spread_is_known() -> None:
    rows = [sample(yes_or_no(seed, share)[:1]) for seed, share in ((1, 0.9), (2, 0.5))]
    assert rank_intervals(rows) == [None, None]
    assert [str(each) for each in rank_intervals(rows, pooled=Spread(deviation=0.01, degrees=10))] == ["1", "2"]
    pixels = rank_intervals([sample(yes_or_no(1, 0.9)[0], seedless=True), sample(yes_or_no(2, 0.5))])
    assert [str(each) for each in pixels] == ["1", "2"]
