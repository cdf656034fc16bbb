"""Coverage, false alarms and power of intervals, verdicts and the gate, by simulation.

`simulated_outcomes` describes the model and the measurements behind it. Each cell has three scores (linear, knn, retrieval).
Their seed standard deviations are .0057, .0116 and .0176, as measured on digits; or .002 each, as published for SimCLR on
CIFAR-10 with 10,000 test images. The simulation's seeds are fixed.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from simulated_outcomes import KNN, LINEAR, RETRIEVAL, Drawn, Kind, images, normal, trained

from benchmark.stats.comparison import Comparison
from benchmark.stats.intervals import wilson
from benchmark.stats.multiple_testing import GateVerdict, gate
from benchmark.stats.significance import SeedOutcomes, compare_checkpoints, compare_methods, pool_spread

MEASURED = (LINEAR, KNN, RETRIEVAL)
PUBLISHED = tuple(dataclasses.replace(kind, deviation=0.002) for kind in MEASURED)
SPREADS = {"as measured here": MEASURED, "as published": PUBLISHED}
CELLS = 4
"""Cells of a run, with three scores each."""
SHARED_INTERACTION = 0.3
"""Correlation of the seed x image interaction between the scores of a cell."""


def report(text: str) -> None:
    """Prints the measured figures, shown by pytest -s; docs/explanation/two-questions.md lists them."""
    sys.stdout.write(f"\n{text}\n")


def pair(generator: np.random.Generator, kind: Kind, seeds: int, n: int, gain: float = 0.02) -> tuple[Drawn, Drawn]:
    """Two methods on the same images; the first is better by `gain`."""
    shared = normal(generator, n)
    return (
        trained(generator, kind, seeds, images(generator, kind, shared), shift=gain),
        trained(generator, kind, seeds, images(generator, kind, shared)),
    )


def covers(comparison: Comparison, truth: float) -> bool:
    assert comparison.interval is not None
    return comparison.interval[0] <= truth <= comparison.interval[1]


def coverage_of_compare_methods(kind: Kind, seeds: int, n: int, runs: int, chance: int) -> float:
    generator = np.random.default_rng(chance)
    covered = 0
    for _ in range(runs):
        a, b = pair(generator, kind, seeds, n)
        comparison = compare_methods(SeedOutcomes(outcomes=a.outcomes), SeedOutcomes(outcomes=b.outcomes))
        covered += covers(comparison, a.truth - b.truth)
    return covered / runs


def coverage_of_compare_checkpoints(kind: Kind, n: int, runs: int, chance: int) -> float:
    """The truth of a checkpoint is its score over all images."""
    generator = np.random.default_rng(chance)
    covered = 0
    for _ in range(runs):
        a, b = pair(generator, kind, 1, n)
        comparison = compare_checkpoints(SeedOutcomes(outcomes=a.outcomes), SeedOutcomes(outcomes=b.outcomes))
        covered += covers(comparison, float(a.checkpoints[0] - b.checkpoints[0]))
    return covered / runs


def coverage_of_wilson(kind: Kind, n: int, runs: int, chance: int) -> float:
    generator = np.random.default_rng(chance)
    covered = 0
    for _ in range(runs):
        drawn = trained(generator, kind, 1, images(generator, kind, normal(generator, n)))
        low, high = wilson(int(drawn.outcomes.sum()), n)
        covered += low <= drawn.checkpoints[0] <= high
    return covered / runs


def runs_of_a_gate(
    kinds: Sequence[Kind], seeds: int, n: int, runs: int, chance: int, drop: float = 0.0
) -> Iterator[list[Comparison]]:
    """A baseline and a new run of the same four cells with other seeds; the scores of the first cell drop by `drop`."""
    generator = np.random.default_rng(chance)
    for _ in range(runs):
        shared = normal(generator, n)
        comparisons = []
        for cell in range(CELLS):
            together = normal(generator, 2, seeds, n)
            for kind in kinds:
                easy = images(generator, kind, shared)
                sides = []
                for side in range(2):
                    rest = normal(generator, seeds, n) * np.float32((1 - SHARED_INTERACTION) ** 0.5)
                    rest += together[side] * np.float32(SHARED_INTERACTION**0.5)
                    shift = -drop if side == 0 and cell == 0 else 0.0
                    drawn = trained(generator, kind, seeds, easy, shift=shift, rest=rest)
                    sides.append(SeedOutcomes(outcomes=drawn.outcomes))
                comparisons.append(compare_methods(*sides))
        yield comparisons


def alarms(verdicts: Sequence[Sequence[GateVerdict]], *words: GateVerdict) -> float:
    """Fraction of runs in which any score has one of these verdicts."""
    return float(np.mean([bool(set(each) & set(words)) for each in verdicts]))


def crossed_bootstrap(
    a: SeedOutcomes, b: SeedOutcomes, generator: np.random.Generator, draws: int = 400
) -> tuple[float, float]:
    """An alternative that is not used: the percentile bootstrap over seeds of A, seeds of B and images."""
    n = a.outcomes.shape[1]
    weights = generator.multinomial(n, np.full(n, 1 / n), draws) / n
    means = []
    for side in (a.outcomes, b.outcomes):
        seeds = len(side)
        drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
        means.append((drawn * (weights @ side.T)).sum(axis=1))
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return float(low), float(high)


# --- quick ------------------------------------------------------------------------------------------------------------


def test_simulation_reproduces_the_measured_correlations() -> None:
    generator = np.random.default_rng(0)
    for kind, same, other in ((LINEAR, 0.385, 0.303), (KNN, 0.405, 0.26), (RETRIEVAL, 0.711, 0.364)):
        steady = dataclasses.replace(kind, deviation=0.0)
        a, b = pair(generator, steady, 2, 100_000, gain=0.0)
        assert a.outcomes.mean() == pytest.approx(kind.mean, abs=0.004)
        assert np.corrcoef(a.outcomes)[0, 1] == pytest.approx(same, abs=0.03)
        assert np.corrcoef(a.outcomes[0], b.outcomes[0])[0, 1] == pytest.approx(other, abs=0.03)
        many = trained(generator, kind, 4000, np.zeros(1, np.float32))
        assert many.checkpoints.mean() == pytest.approx(many.truth, abs=0.001)
        assert many.checkpoints.std() == pytest.approx(kind.deviation, rel=0.1)


def test_method_intervals_cover_the_truth_at_three_seeds() -> None:
    assert 0.92 <= coverage_of_compare_methods(KNN, 3, 360, 400, chance=1) <= 0.98  # standard error .011


def test_gate_seldom_alarms_without_a_change() -> None:
    verdicts = [gate(run, margin=0.0) for run in runs_of_a_gate(MEASURED, 3, 360, 60, chance=2)]
    assert alarms(verdicts, "regressed") <= 0.1


def test_gate_detects_a_large_drop() -> None:
    verdicts = [gate(run) for run in runs_of_a_gate(PUBLISHED, 5, 2000, 10, chance=3, drop=0.1)]
    assert alarms(verdicts, "regressed") == 1.0


# --- slow -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("n", [360, 10_000])
def test_method_intervals_cover_95_percent(n: int, seeds: int, spread: str) -> None:
    """3,000 runs of each score: standard error .004."""
    coverage = {kind: coverage_of_compare_methods(kind, seeds, n, 3000, chance=11) for kind in SPREADS[spread]}
    report(f"methods, n={n}, {seeds} seeds, {spread}: {[round(each, 4) for each in coverage.values()]}")
    assert all(0.93 <= each <= 0.97 for each in coverage.values()), coverage


@pytest.mark.slow
@pytest.mark.parametrize("n", [360, 10_000])
def test_wilson_and_checkpoint_intervals_cover_95_percent(n: int) -> None:
    """4,000 runs of each: standard error .0035."""
    coverage = {("wilson", kind): coverage_of_wilson(kind, n, 4000, chance=12) for kind in (LINEAR, KNN)}
    coverage |= {("paired", kind): coverage_of_compare_checkpoints(kind, n, 4000, chance=13) for kind in MEASURED}
    report(f"n={n}: {[(name, round(each, 4)) for (name, _), each in coverage.items()]}")
    assert all(0.93 <= each <= 0.97 for each in coverage.values()), coverage


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_crossed_bootstrap_is_miscalibrated(seeds: int) -> None:
    """It covers too little where seeds matter, else too much. 400 runs of 400 draws: standard error .011 to .02."""
    coverage = {}
    for n, kind in ((360, LINEAR), (2000, KNN), (2000, RETRIEVAL)):
        generator = np.random.default_rng(14)
        covered = 0
        for _ in range(400):
            a, b = pair(generator, kind, seeds, n)
            low, high = crossed_bootstrap(
                SeedOutcomes(outcomes=a.outcomes), SeedOutcomes(outcomes=b.outcomes), generator
            )
            covered += low <= a.truth - b.truth <= high
        coverage[n, kind.mean] = covered / 400
    report(f"crossed percentile bootstrap, {seeds} seeds: {coverage}")
    assert coverage[2000, RETRIEVAL.mean] < 0.92
    assert coverage[360, LINEAR.mean] > 0.955


@pytest.mark.slow
def test_one_seed_with_a_pooled_spread_covers_95_percent() -> None:
    """The spread is pooled over 5 rows of 3 seeds with the same spread: 10 degrees of freedom. 1,500 runs."""
    for n in (360, 10_000):
        generator = np.random.default_rng(15)
        covered = 0
        for _ in range(1500):
            a, b = pair(generator, KNN, 1, n)
            rows = [trained(generator, KNN, 3, images(generator, KNN, normal(generator, n))) for _ in range(5)]
            pooled = pool_spread([SeedOutcomes(outcomes=row.outcomes) for row in rows])
            samples = [SeedOutcomes(outcomes=side.outcomes) for side in (a, b)]
            covered += covers(compare_methods(*samples, pooled=pooled), a.truth - b.truth)
        report(f"one seed, pooled, n={n}: {covered / 1500:.4f}")
        assert 0.93 <= covered / 1500 <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("n", [360, 10_000])
def test_gate_false_alarms_stay_near_the_nominal_rate(n: int, seeds: int, spread: str) -> None:
    """1,000 runs of 12 scores without a change, at a nominal 5 %."""
    comparisons = list(runs_of_a_gate(SPREADS[spread], seeds, n, 1000, chance=16))
    rates = {}
    for margin in (0.0, 0.005):
        verdicts = [gate(run, margin=margin) for run in comparisons]
        rates[margin] = (alarms(verdicts, "regressed"), alarms(verdicts, "regressed", "improved"))
    report(f"gate, n={n}, {seeds} seeds, {spread}: margin -> regressed, either: {rates}")
    assert all(either <= 0.065 for _, either in rates.values())


@pytest.mark.slow
def test_gate_power_grows_with_seeds_and_drop() -> None:
    """200 runs each at n = 10,000, margin .005: one of four cells loses 1 or 2 points on its three scores."""
    lines = ["spread            seeds  drop  any score  linear  knn  retrieval | linear unadjusted, 5 %"]
    any_of = {}
    for spread, kinds in SPREADS.items():
        for seeds in (3, 5):
            for drop in (0.01, 0.02):
                runs = list(runs_of_a_gate(kinds, seeds, 10_000, 200, chance=17, drop=drop))
                verdicts = np.array([gate(run) for run in runs])[:, :3] == "regressed"
                unadjusted = np.mean([run[0].verdict == "worse" for run in runs])
                any_of[spread, seeds, drop] = verdicts.any(axis=1).mean()
                parts = "  ".join(f"{each:.3f}" for each in verdicts.mean(axis=0))
                lines.append(
                    f"{spread:<17} {seeds}  {drop}  {any_of[spread, seeds, drop]:.3f}  {parts} | {unadjusted:.3f}"
                )
    report("\n".join(lines))
    assert any_of["as published", 5, 0.02] >= 0.95
    assert any_of["as published", 5, 0.02] >= any_of["as published", 3, 0.02] >= any_of["as measured here", 3, 0.02]
