"""Alignment, uniformity, nearest neighbors, CKA, clusters and views."""

from __future__ import annotations

import math

import pytest
import torch
from generators import seeded
from scipy import integrate, special
from unlabeled_samples import STILL, evaluate_scores, fake_probe, gaussian, rotation

import benchmark
from bench_unlabeled import params
from bench_unlabeled.hypersphere import pair_distances, potential
from bench_unlabeled.neighborhoods import fit_dimension, shared_neighbors, two_nn
from bench_unlabeled.similarity import cka, unbiased_hsic
from bench_unlabeled.views import draw_images, make_view


def test_identical_views_are_aligned_and_stable() -> None:
    features = gaussian(50, 8)
    bytes_of_them = fake_probe(features).test.images[:, 0, 0].float() / 255
    probe = fake_probe(bytes_of_them)
    probe.test.images = fake_probe(features).test.images
    assert evaluate_scores("alignment", probe, **STILL) == {"alignment": 0.0}
    assert evaluate_scores("stability", probe, **STILL) == {"stability": 1.0}


def test_alignment_is_the_mean_power_of_the_distance() -> None:
    views = torch.tensor([[[1.0, 0.0], [0.0, 5.0]], [[2.0, 0.0], [-1.0, 0.0]]])
    torch.testing.assert_close(pair_distances(views, 2.0), torch.tensor([2.0, 4.0], dtype=torch.float64))
    torch.testing.assert_close(pair_distances(views, 1.0), torch.tensor([2**0.5, 2.0], dtype=torch.float64))
    three = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    assert pair_distances(three, 2.0).item() == pytest.approx((2 + 4 + 2) / 3)


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_uniformity_of_a_circle_matches_the_integral(t: float) -> None:
    count = 2000
    angles = torch.arange(count) * (2 * math.pi / count)
    points = 4 * torch.stack([angles.cos(), angles.sin()], dim=1)
    whole, _ = integrate.quad(lambda angle: math.exp(-2 * t * (1 - math.cos(angle))) / (2 * math.pi), 0, 2 * math.pi)
    assert whole == pytest.approx(special.i0e(2 * t), rel=1e-9)
    without_itself = (count * whole - 1) / (count - 1)
    assert potential(points, t) == pytest.approx(math.log(without_itself), abs=1e-6)


def test_uniformity_of_one_point_is_zero() -> None:
    assert potential(torch.ones(5, 3), 2.0) == pytest.approx(0, abs=1e-9)
    assert potential(torch.tensor([[1.0, 0.0], [-3.0, 0.0]]), 2.0) == pytest.approx(-8, abs=1e-9)


@pytest.mark.parametrize(("width", "tolerance"), [(1, 0.05), (2, 0.06), (5, 0.1)])
def test_two_nn_estimates_the_dimension_of_a_cube(width: int, tolerance: float) -> None:
    cube = torch.rand(3000, width, generator=seeded())
    embedded = cube @ rotation(20)[:width] + 5
    local = two_nn(embedded, 0.1)
    assert local is not None
    assert local.dimension == pytest.approx(width, rel=tolerance)
    assert local.duplicates == (0 if width > 1 else pytest.approx(40, abs=20))  # limited by float32


def test_fit_dimension_recovers_the_dimension_of_exact_ratios() -> None:
    quantiles = torch.arange(1, 1001, dtype=torch.float64) / 1000
    ratios = (1 - quantiles[:900]) ** (-1 / 3)  # -log(1 - i / N) = 3 log mu
    largest = torch.full((100,), 50.0, dtype=torch.float64)
    all_ratios = torch.cat([largest, ratios.flip(0)])
    assert fit_dimension(all_ratios, 0.1) == (pytest.approx(3, rel=1e-12), 900)
    assert fit_dimension(torch.ones(50, dtype=torch.float64), 0.1) is None


def test_two_nn_leaves_out_and_counts_duplicates() -> None:
    points = gaussian(300, 2)
    local = two_nn(torch.cat([points, points[:20]]), 0.1)
    assert local is not None
    assert local.duplicates == 40
    assert two_nn(torch.cat([points[:8], points[:8]]), 0.1) is None


def test_shared_neighbors_exclude_the_image_itself() -> None:
    angles = torch.tensor([0.0, 0.1, 0.3, 1.5, 1.7, 2.0])
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    moved = circle.clone()
    moved[0] = circle[4]  # its neighbors are 3 and 5, none of 1 and 2
    overlap = shared_neighbors(circle, moved, 2)
    assert overlap.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_unrelated_views_share_neighbors_by_chance() -> None:
    overlap = shared_neighbors(gaussian(500, 30), gaussian(500, 30, 1), 10)
    assert overlap.mean().item() == pytest.approx(10 / 499, abs=0.01)


def test_cka_of_a_rotated_shifted_scaled_copy_is_one() -> None:
    features = gaussian(100, 12)
    assert cka(features, 3 * features @ rotation(12) + 4) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("width", [5, 400])
def test_cka_of_independent_features_is_near_zero(width: int) -> None:
    draws = [cka(gaussian(100, width, seed), gaussian(100, width, 1000 + seed)) for seed in range(20)]
    assert sum(draws) / 20 == pytest.approx(0, abs=0.02)  # type: ignore[arg-type]  # they vary
    assert min(draws) < 0 < max(draws)  # type: ignore[type-var]


def test_cka_of_half_shared_features_is_half() -> None:
    # x = [s, a] and y = [s, b] with s, a, b independent of width D: tr(Sxy Syx) / sqrt(..) = D / 2 D.
    shared, own, other = (gaussian(4000, 5, seed) for seed in range(3))
    value = cka(torch.cat([shared, own], dim=1), torch.cat([shared, other], dim=1))
    assert value == pytest.approx(0.5, abs=0.02)


def test_hsic_matches_the_published_formula() -> None:
    x, y = gaussian(9, 3).double(), gaussian(9, 4, 1).double()
    k, m = x @ x.T, y @ y.T
    k.fill_diagonal_(0)
    m.fill_diagonal_(0)
    ones = torch.ones(9, dtype=torch.float64)
    expected = ((k @ m).trace() + (ones @ k @ ones) * (ones @ m @ ones) / (8 * 7) - 2 / 7 * (ones @ k @ m @ ones)) / (
        9 * 6
    )
    assert unbiased_hsic(x, y)[0] == pytest.approx(float(expected), rel=1e-10)


def test_cka_taps_leaves_out_constant_taps() -> None:
    features = gaussian(40, 6)
    probe = fake_probe(features, twice=2 * features, dead=torch.ones(40, 3))
    values = evaluate_scores("cka_taps", probe)
    assert list(values) == ["cka@tap=twice"]
    assert values["cka@tap=twice"] == pytest.approx(1, abs=1e-5)
    with pytest.raises(benchmark.UnsupportedError, match="has only one"):
        evaluate_scores("cka_taps", fake_probe(features))


def test_clustering_scores_one_for_classes_and_zero_for_chance() -> None:
    labels = torch.arange(120) % 4
    features = 20 * torch.eye(4)[labels] + 0.1 * gaussian(120, 4)
    assert evaluate_scores("clustering", fake_probe(features, labels)) == pytest.approx({"nmi": 1, "ari": 1, "ami": 1})
    other = labels[torch.randperm(120, generator=seeded())]
    values = evaluate_scores("clustering", fake_probe(features, other))
    assert values["ari"] == pytest.approx(0, abs=0.05)
    assert values["ami"] == pytest.approx(0, abs=0.05)
    assert values["nmi"] > 0


def test_clustering_needs_two_classes() -> None:
    with pytest.raises(benchmark.UnsupportedError, match="at least two classes"):
        evaluate_scores("clustering", fake_probe(gaussian(30, 3), torch.zeros(30, dtype=torch.int64)))


def test_view_keeps_shape_and_range() -> None:
    images = torch.randint(0, 256, (6, 3, 8, 8), generator=seeded(), dtype=torch.uint8)
    still = make_view(images, params.ViewParams(**STILL), seeded())
    assert torch.equal(still, images.float() / 255)
    moved = make_view(images, params.ViewParams(), seeded())
    assert moved.shape == images.shape
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    assert not torch.equal(moved, still)


def test_draw_images_returns_sorted_distinct_positions() -> None:
    assert draw_images(5, 9, seeded()).tolist() == [0, 1, 2, 3, 4]
    positions = draw_images(100, 10, seeded())
    assert len(positions) == 10
    assert torch.equal(positions, positions.sort().values)
