"""The interval, p-value and minimal detectable difference of a comparison."""

from __future__ import annotations

import pytest
from sample_outcomes import comparison_of
from scipy import stats as reference

from benchmark.stats.comparison import minimal_detectable_difference


def test_interval_at_level_one_minus_p_ends_at_zero() -> None:
    result = comparison_of(3.0)
    low, _ = result.at_level(1 - (result.p or 0)).interval or (1, 1)
    assert low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("degrees", [2.0, 4.0, 30.0, 1e6])
@pytest.mark.parametrize("level", [0.95, 0.9958])
def test_minimal_detectable_difference_has_the_stated_power(degrees: float, level: float) -> None:
    size = minimal_detectable_difference(2.0, degrees, level)
    critical = reference.t.ppf((1 + level) / 2, degrees)
    assert reference.nct.sf(critical, degrees, size / 2.0) == pytest.approx(0.8, abs=1e-4)
