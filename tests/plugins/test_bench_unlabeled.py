"""Scores without labels: against closed forms, under rotation and scale, and what each refuses."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy import integrate, special
from torch import Tensor

import benchmark
from bench_unlabeled import bench_evaluators, params, products
from bench_unlabeled.discriminants import discriminant_values
from bench_unlabeled.hypersphere import pair_distances, potential
from bench_unlabeled.neighborhoods import dimension_of, shared_neighbors, two_nn
from bench_unlabeled.similarity import cka, unbiased_hsic
from bench_unlabeled.spectra import decay, participation_ratio, perplexity, spectrum
from bench_unlabeled.views import drawn, view
from benchmark.testing.conformance import ConformanceError
from benchmark.testing.evaluators import check_evaluator

SPECS = {spec.name: spec for spec in bench_evaluators()}
STILL = {"pad": 0, "flip": False, "jitter": 0.0}
"""Views that are the image itself."""
AS_LARGE = ("rankme", "alpha_req", "dimension", "uniformity", "alignment", "stability", "clustering")
"""Those that claim to be the same at another scale."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=seeded(seed))


def rotation(width: int, seed: int = 7) -> Tensor:
    return torch.linalg.qr(gaussian(width, width, seed).double()).Q.float()


def fake_probe(
    features: Tensor, labels: Tensor | None = None, encode: Callable[[Tensor], Tensor] | None = None, **taps: Tensor
) -> Any:
    """A probe whose images are bytes of the features' own numbers, so that an encoder can be written down."""
    count = len(features)
    images = (features[:, None, None] * 64 + 128).clamp(0, 255).byte()
    known = {"out": features, **taps}

    def of(images: Tensor, pool: str = "none") -> Tensor:
        return (encode or (lambda each: each[:, 0, 0]))(images)

    layout = benchmark.Layout(
        taps=tuple(benchmark.Tap(name=name, kind="vector", shape=(known[name].shape[1],)) for name in known),
        output="out",
        probe="out",
    )
    split = SimpleNamespace(
        images=images,
        labels=torch.arange(count) % 4 if labels is None else labels,
        features=lambda tap=None: known[tap or "out"],
    )
    return SimpleNamespace(
        train=split,
        test=split,
        tap="out",
        pool="average",
        layout=layout,
        class_names=("a", "b", "c", "d"),
        device=torch.device("cpu"),
        generator=seeded(3),
        encode=of,
    )


def found(name: str, probe: Any, **changes: Any) -> dict[str, float]:
    spec = SPECS[name]
    evaluation = spec.evaluate(probe, spec.params(**changes))
    assert {each.metric.partition("@")[0] for each in evaluation.measurements} <= {each.name for each in spec.metrics}
    return {each.metric: each.value for each in evaluation.measurements}


# --- contract ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECS)
def test_each_evaluator_keeps_the_contract_and_those_without_labels_see_none(name: str) -> None:
    evaluation = check_evaluator(SPECS[name])
    assert SPECS[name].protocol == f"{name}@1"
    assert SPECS[name].labels == ("all" if name == "clustering" else "none")
    with_interval = {each.metric for each in evaluation.measurements if each.outcomes is not None}
    assert with_interval == ({name} if name in ("alignment", "stability") else set())
    assert all(each.n == 40 for each in evaluation.measurements)


def test_a_score_that_says_it_needs_no_labels_and_does_is_found_out() -> None:
    liar = dataclasses.replace(SPECS["clustering"], labels="none")
    with pytest.raises(ConformanceError, match="declares labels='none'"):
        check_evaluator(liar)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("width", [3, 200])
def test_each_runs_with_few_images_and_with_more_features_than_images(name: str, width: int) -> None:
    probe = fake_probe(gaussian(30, width), second=gaussian(30, 5, 1))
    assert all(math.isfinite(value) for value in found(name, probe).values())


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_features_that_are_the_same_for_all_images_are_refused_or_have_a_defined_value(name: str, value: float) -> None:
    same = torch.full((30, 6), value)
    probe = fake_probe(same, second=same, encode=lambda images: torch.full((len(images), 6), value))
    defined = {"rankme": 1.0, "uniformity": 0.0, "alignment": 0.0}
    if value and name in defined:
        assert found(name, probe)[name] == pytest.approx(defined[name], abs=1e-4)
    else:
        with pytest.raises(benchmark.UnsupportedError, match=r"collapsed|all are zero|all features are zero|different"):
            found(name, probe)


@pytest.mark.parametrize("name", AS_LARGE)
def test_rotation_and_scale_change_nothing_where_that_is_claimed(name: str) -> None:
    features, turn = gaussian(60, 8), rotation(8)
    before = found(name, fake_probe(features))
    moved = fake_probe(3 * features @ turn, encode=lambda images: 3 * images[:, 0, 0] @ turn)
    moved.test.images = fake_probe(features).test.images
    assert found(name, moved) == pytest.approx(before, rel=1e-3, abs=1e-5)


def test_lidar_is_the_same_for_rotated_features_and_another_for_larger_ones() -> None:
    embeddings = gaussian(40, 5)[:, None] + 0.01 * gaussian(40 * 4, 5, 1).view(40, 4, 5)
    before = perplexity(discriminant_values(embeddings, 1e-4))  # type: ignore[arg-type]  # they vary
    turned = perplexity(discriminant_values(embeddings @ rotation(5) + 2, 1e-4))  # type: ignore[arg-type]
    large = perplexity(discriminant_values(100 * embeddings, 1e-4))  # type: ignore[arg-type]
    assert turned == pytest.approx(before, rel=1e-4)
    assert large != pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("name", ["lidar", "alignment", "stability"])
def test_views_are_drawn_from_the_probe_alone(name: str) -> None:
    def score(seed: int) -> dict[str, float]:
        probe = fake_probe(gaussian(40, 8))
        probe.generator = seeded(seed)
        return found(name, probe)

    torch.manual_seed(5)
    first = score(0)
    torch.manual_seed(6)
    assert score(0) == first
    assert score(1) != first


def test_wide_features_give_the_same_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    features, other = gaussian(30, 50), gaussian(30, 7, 1)
    before = {name: found(name, fake_probe(features, second=other)) for name in SPECS}
    monkeypatch.setattr(products, "BLOCK_BYTES", 8 * 50 * 3)
    assert before == {name: pytest.approx(found(name, fake_probe(features, second=other)), rel=1e-6) for name in SPECS}


def test_listing_the_evaluators_imports_no_torch() -> None:
    program = "import sys, bench_unlabeled as b; list(b.bench_evaluators()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (params.LidarParams, {"views": 1}),
        (params.LidarParams, {"images": 1}),
        (params.LidarParams, {"delta": 0.0}),
        (params.AlignmentParams, {"views": 1}),
        (params.AlignmentParams, {"alpha": 0.0}),
        (params.AlignmentParams, {"jitter": 1.5}),
        (params.StabilityParams, {"k": 0}),
        (params.StabilityParams, {"pad": -1}),
        (params.UniformityParams, {"t": 0.0}),
        (params.DimensionParams, {"discard": 1.0}),
        (params.DecayParams, {"last": 12}),
        (params.SimilarityParams, {"images": 3}),
        (params.ClusteringParams, {"starts": 0}),
    ],
)
def test_parameters_out_of_range_are_refused(kind: type, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        kind(**wrong)


# --- spectra ----------------------------------------------------------------------------------------------------------


def test_isotropic_features_have_the_rank_and_the_dimension_of_their_width() -> None:
    features = gaussian(20000, 10)
    assert perplexity(spectrum(features).sqrt()) == pytest.approx(10, rel=2e-3)
    assert participation_ratio(spectrum(features, centerd=True)) == pytest.approx(10, rel=5e-3)


def test_rank_r_features_have_rank_r_however_wide_they_are() -> None:
    directions = torch.linalg.qr(gaussian(300, 4, 1).double()).Q
    orthogonal = torch.linalg.qr(gaussian(100, 4).double()).Q
    features = (orthogonal @ directions.T).float()  # four singular values of 1
    assert int((spectrum(features) > 0).sum()) == 4
    assert perplexity(spectrum(features).sqrt()) == pytest.approx(4, rel=1e-3)


def test_the_rank_of_known_singular_values_is_the_papers_formula() -> None:
    shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    raised = [share + 1e-7 for share in shares.tolist()]
    expected = math.exp(-sum(p * math.log(p) for p in raised))
    assert perplexity(7 * shares) == pytest.approx(expected, rel=1e-12)


def test_both_ways_to_the_spectrum_are_the_singular_values() -> None:
    for shape in ((40, 9), (9, 40)):
        features = gaussian(*shape)
        exact = torch.linalg.svdvals(features.double()).square()
        torch.testing.assert_close(spectrum(features), exact, rtol=1e-8, atol=1e-8)
        centerd = torch.linalg.svdvals((features - features.mean(dim=0)).double()).square()
        torch.testing.assert_close(spectrum(features, centerd=True), centerd, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.3])
def test_a_power_law_has_its_exponent(alpha: float) -> None:
    values = torch.arange(1, 201, dtype=torch.float64) ** -alpha
    assert decay(values, 11, 100) == pytest.approx(alpha, rel=1e-9)
    assert decay(5 * values, 3, 200) == pytest.approx(alpha, rel=1e-9)


def test_features_with_a_power_law_in_their_covariance_are_fitted_by_it() -> None:
    basis = torch.linalg.qr(gaussian(400, 120).double() - gaussian(400, 120).double().mean(dim=0)).Q
    features = (basis * torch.arange(1, 121, dtype=torch.float64) ** -0.6).float()
    values = found("alpha_req", fake_probe(features))
    assert values["alpha"] == pytest.approx(1.2, abs=1e-3)
    assert values["distance_from_one"] == pytest.approx(0.2, abs=1e-3)


def test_a_decay_needs_three_eigenvalues() -> None:
    with pytest.raises(benchmark.UnsupportedError, match="2 directions"):
        found("alpha_req", fake_probe(gaussian(30, 2)))


# --- lidar ------------------------------------------------------------------------------------------------------------


def embeddings_of(means: Tensor, noise: float, views: int = 6) -> Tensor:
    spread = noise * gaussian(len(means) * views, means.shape[1], 9).view(len(means), views, -1)
    return means[:, None] + spread - spread.mean(dim=1, keepdim=True)


def test_lidar_counts_the_directions_in_which_images_differ() -> None:
    isotropic = embeddings_of(gaussian(5000, 6), 0.1)
    assert perplexity(discriminant_values(isotropic, 1e-4)) == pytest.approx(6, rel=5e-3)  # type: ignore[arg-type]
    plane = torch.zeros(5000, 6)
    plane[:, :2] = gaussian(5000, 2)
    assert perplexity(discriminant_values(embeddings_of(plane, 0.0), 1e-4)) == pytest.approx(2, rel=5e-3)  # type: ignore[arg-type]


def test_directions_that_vary_as_much_within_images_count_less() -> None:
    scale = torch.tensor([1.0, 1.0, 1.0, 10.0])
    means, spread = gaussian(4000, 4) * scale, embeddings_of(torch.zeros(4000, 4), 0.3) * scale
    # Each direction discriminates alike, though one is ten times as large: a rank of the features would be near 1.
    assert perplexity(discriminant_values(means[:, None] + spread, 1e-8)) == pytest.approx(4, rel=5e-3)  # type: ignore[arg-type]
    assert perplexity(spectrum(means)) < 1.5


@pytest.mark.parametrize("shape", [(12, 3, 20), (12, 3, 60), (5, 2, 11)])
def test_lidar_is_what_the_definition_gives(shape: tuple[int, int, int]) -> None:
    count, views, width = shape
    embeddings = gaussian(count * views, width).view(shape) + 2 * gaussian(count, width, 1)[:, None]
    exact = embeddings.double()
    means = exact.mean(dim=1)
    around = means - means.mean(dim=0)
    between = around.T @ around / count
    deviations = (exact - means[:, None]).flatten(0, 1)
    within = deviations.T @ deviations / (count * views) + 1e-2 * torch.eye(width, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(within)
    root = vectors @ (values**-0.5).diag() @ vectors.T
    expected = torch.linalg.eigvalsh(root @ between @ root).clamp_min(0).sort(descending=True).values
    got = discriminant_values(embeddings, 1e-2)
    assert got is not None
    kept = min(count - 1, width)
    torch.testing.assert_close(got.sort(descending=True).values[:kept], expected[:kept], rtol=1e-7, atol=1e-7)


# --- sphere -----------------------------------------------------------------------------------------------------------


def test_identical_views_are_aligned_and_stable() -> None:
    features = gaussian(50, 8)
    bytes_of_them = fake_probe(features).test.images[:, 0, 0].float() / 255
    probe = fake_probe(bytes_of_them)
    probe.test.images = fake_probe(features).test.images
    assert found("alignment", probe, **STILL) == {"alignment": 0.0}
    assert found("stability", probe, **STILL) == {"stability": 1.0}


def test_alignment_is_the_mean_power_of_the_distance_between_unit_vectors() -> None:
    views = torch.tensor([[[1.0, 0.0], [0.0, 5.0]], [[2.0, 0.0], [-1.0, 0.0]]])
    torch.testing.assert_close(pair_distances(views, 2.0), torch.tensor([2.0, 4.0], dtype=torch.float64))
    torch.testing.assert_close(pair_distances(views, 1.0), torch.tensor([2**0.5, 2.0], dtype=torch.float64))
    three = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    assert pair_distances(three, 2.0).item() == pytest.approx((2 + 4 + 2) / 3)


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_points_on_the_circle_have_the_uniformity_of_the_integral(t: float) -> None:
    count = 2000
    angles = torch.arange(count) * (2 * math.pi / count)
    points = 4 * torch.stack([angles.cos(), angles.sin()], dim=1)
    whole, _ = integrate.quad(lambda angle: math.exp(-2 * t * (1 - math.cos(angle))) / (2 * math.pi), 0, 2 * math.pi)
    assert whole == pytest.approx(special.i0e(2 * t), rel=1e-9)
    without_itself = (count * whole - 1) / (count - 1)
    assert potential(points, t) == pytest.approx(math.log(without_itself), abs=1e-6)


def test_one_point_is_least_uniform_and_opposite_ones_are_known() -> None:
    assert potential(torch.ones(5, 3), 2.0) == pytest.approx(0, abs=1e-9)
    assert potential(torch.tensor([[1.0, 0.0], [-3.0, 0.0]]), 2.0) == pytest.approx(-8, abs=1e-9)


# --- neighbors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "tolerance"), [(1, 0.05), (2, 0.06), (5, 0.1)])
def test_two_nn_finds_the_dimension_of_a_cube_in_a_larger_space(width: int, tolerance: float) -> None:
    cube = torch.rand(3000, width, generator=seeded())
    embedded = cube @ rotation(20)[:width] + 5
    local = two_nn(embedded, 0.1)
    assert local is not None
    assert local.dimension == pytest.approx(width, rel=tolerance)
    assert local.duplicates == (0 if width > 1 else pytest.approx(40, abs=20))  # as near as float32 can tell


def test_ratios_that_follow_the_law_give_its_dimension_back() -> None:
    quantiles = torch.arange(1, 1001, dtype=torch.float64) / 1000
    ratios = (1 - quantiles[:900]) ** (-1 / 3)  # -log(1 - i / N) = 3 log mu
    largest = torch.full((100,), 50.0, dtype=torch.float64)
    everything = torch.cat([largest, ratios.flip(0)])
    assert dimension_of(everything, 0.1) == (pytest.approx(3, rel=1e-12), 900)
    assert dimension_of(torch.ones(50, dtype=torch.float64), 0.1) is None


def test_duplicates_are_left_out_of_two_nn_and_counted() -> None:
    points = gaussian(300, 2)
    local = two_nn(torch.cat([points, points[:20]]), 0.1)
    assert local is not None
    assert local.duplicates == 40
    assert two_nn(torch.cat([points[:8], points[:8]]), 0.1) is None


def test_shared_neighbors_are_counted_without_the_image_itself() -> None:
    angles = torch.tensor([0.0, 0.1, 0.3, 1.5, 1.7, 2.0])
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    moved = circle.clone()
    moved[0] = circle[4]  # its neighbors are 3, 5 and itself: of 1 and 2 none is left
    overlap = shared_neighbors(circle, moved, 2)
    assert overlap.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_unrelated_views_share_neighbors_by_chance() -> None:
    overlap = shared_neighbors(gaussian(500, 30), gaussian(500, 30, 1), 10)
    assert overlap.mean().item() == pytest.approx(10 / 499, abs=0.01)


# --- cka --------------------------------------------------------------------------------------------------------------


def test_a_rotated_shifted_scaled_copy_has_a_cka_of_one() -> None:
    features = gaussian(100, 12)
    assert cka(features, 3 * features @ rotation(12) + 4) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("width", [5, 400])
def test_independent_features_have_a_cka_near_zero_however_wide(width: int) -> None:
    draws = [cka(gaussian(100, width, seed), gaussian(100, width, 1000 + seed)) for seed in range(20)]
    assert sum(draws) / 20 == pytest.approx(0, abs=0.02)  # type: ignore[arg-type]  # they vary
    assert min(draws) < 0 < max(draws)  # type: ignore[type-var]


def test_features_that_share_half_of_their_variance_have_a_known_cka() -> None:
    # x = [s, a] and y = [s, b] with s, a, b independent of width D: tr(Sxy Syx) / sqrt(..) = D / 2 D.
    shared, own, other = (gaussian(4000, 5, seed) for seed in range(3))
    value = cka(torch.cat([shared, own], dim=1), torch.cat([shared, other], dim=1))
    assert value == pytest.approx(0.5, abs=0.02)


def test_hsic_is_the_published_formula() -> None:
    x, y = gaussian(9, 3).double(), gaussian(9, 4, 1).double()
    k, m = x @ x.T, y @ y.T
    k.fill_diagonal_(0)
    m.fill_diagonal_(0)
    ones = torch.ones(9, dtype=torch.float64)
    expected = ((k @ m).trace() + (ones @ k @ ones) * (ones @ m @ ones) / (8 * 7) - 2 / 7 * (ones @ k @ m @ ones)) / (
        9 * 6
    )
    assert unbiased_hsic(x, y)[0] == pytest.approx(float(expected), rel=1e-10)


def test_cka_names_the_other_taps_and_leaves_out_what_does_not_vary() -> None:
    features = gaussian(40, 6)
    probe = fake_probe(features, twice=2 * features, dead=torch.ones(40, 3))
    values = found("cka_taps", probe)
    assert list(values) == ["cka@tap=twice"]
    assert values["cka@tap=twice"] == pytest.approx(1, abs=1e-5)
    with pytest.raises(benchmark.UnsupportedError, match="one only"):
        found("cka_taps", fake_probe(features))


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_clusters_that_are_the_classes_score_one_and_chance_scores_none() -> None:
    labels = torch.arange(120) % 4
    features = 20 * torch.eye(4)[labels] + 0.1 * gaussian(120, 4)
    assert found("clustering", fake_probe(features, labels)) == pytest.approx({"nmi": 1, "ari": 1, "ami": 1})
    other = labels[torch.randperm(120, generator=seeded())]
    values = found("clustering", fake_probe(features, other))
    assert values["ari"] == pytest.approx(0, abs=0.05)
    assert values["ami"] == pytest.approx(0, abs=0.05)
    assert values["nmi"] > 0


def test_one_class_has_no_clusters_to_be_found() -> None:
    with pytest.raises(benchmark.UnsupportedError, match="one only"):
        found("clustering", fake_probe(gaussian(30, 3), torch.zeros(30, dtype=torch.int64)))


# --- views ------------------------------------------------------------------------------------------------------------


def test_a_view_keeps_shape_and_range_and_is_the_image_where_nothing_moves() -> None:
    images = torch.randint(0, 256, (6, 3, 8, 8), generator=seeded(), dtype=torch.uint8)
    still = view(images, params.ViewParams(**STILL), seeded())
    assert torch.equal(still, images.float() / 255)
    moved = view(images, params.ViewParams(), seeded())
    assert moved.shape == images.shape
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    assert not torch.equal(moved, still)


def test_images_are_drawn_once_in_order_and_all_where_there_are_few() -> None:
    assert drawn(5, 9, seeded()).tolist() == [0, 1, 2, 3, 4]
    places = drawn(100, 10, seeded())
    assert len(places) == 10
    assert torch.equal(places, places.sort().values)
