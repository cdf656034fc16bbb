"""Scores from the spectrum: `bench_unlabeled.spectra`, `bench_unlabeled.discriminants`."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from unlabeled_samples import evaluate_scores, fake_probe, gaussian

import benchmark
from bench_unlabeled.discriminants import discriminant_values
from bench_unlabeled.spectra import decay, participation_ratio, perplexity, spectrum


def test_isotropic_features_have_the_rank_of_their_width() -> None:
    features = gaussian(20000, 10)
    assert perplexity(spectrum(features).sqrt()) == pytest.approx(10, rel=2e-3)
    assert participation_ratio(spectrum(features, centered=True)) == pytest.approx(10, rel=5e-3)


def test_rank_does_not_depend_on_the_width() -> None:
    directions = torch.linalg.qr(gaussian(300, 4, 1).double()).Q
    orthogonal = torch.linalg.qr(gaussian(100, 4).double()).Q
    features = (orthogonal @ directions.T).float()  # four singular values of 1
    assert int((spectrum(features) > 0).sum()) == 4
    assert perplexity(spectrum(features).sqrt()) == pytest.approx(4, rel=1e-3)


def test_perplexity_matches_the_formula() -> None:
    shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    raised = [share + 1e-7 for share in shares.tolist()]
    expected = math.exp(-sum(p * math.log(p) for p in raised))
    assert perplexity(7 * shares) == pytest.approx(expected, rel=1e-12)


def test_spectrum_matches_the_singular_values() -> None:
    for shape in ((40, 9), (9, 40)):
        features = gaussian(*shape)
        exact = torch.linalg.svdvals(features.double()).square()
        torch.testing.assert_close(spectrum(features), exact, rtol=1e-8, atol=1e-8)
        centered = torch.linalg.svdvals((features - features.mean(dim=0)).double()).square()
        torch.testing.assert_close(spectrum(features, centered=True), centered, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.3])
def test_decay_of_a_power_law_is_its_exponent(alpha: float) -> None:
    values = torch.arange(1, 201, dtype=torch.float64) ** -alpha
    assert decay(values, 11, 100) == pytest.approx(alpha, rel=1e-9)
    assert decay(5 * values, 3, 200) == pytest.approx(alpha, rel=1e-9)


def test_alpha_req_recovers_the_exponent_of_the_covariance() -> None:
    basis = torch.linalg.qr(gaussian(400, 120).double() - gaussian(400, 120).double().mean(dim=0)).Q
    features = (basis * torch.arange(1, 121, dtype=torch.float64) ** -0.6).float()
    values = evaluate_scores("alpha_req", fake_probe(features))
    assert values["alpha"] == pytest.approx(1.2, abs=1e-3)
    assert values["distance_from_one"] == pytest.approx(0.2, abs=1e-3)


def test_alpha_req_needs_three_eigenvalues() -> None:
    with pytest.raises(benchmark.UnsupportedError, match="only 2 directions"):
        evaluate_scores("alpha_req", fake_probe(gaussian(30, 2)))


def embeddings_of(means: Tensor, noise: float, views: int = 6) -> Tensor:
    spread = noise * gaussian(len(means) * views, means.shape[1], 9).view(len(means), views, -1)
    return means[:, None] + spread - spread.mean(dim=1, keepdim=True)


def test_lidar_counts_the_directions_in_which_images_differ() -> None:
    isotropic = embeddings_of(gaussian(5000, 6), 0.1)
    assert perplexity(discriminant_values(isotropic, 1e-4)) == pytest.approx(6, rel=5e-3)  # type: ignore[arg-type]
    plane = torch.zeros(5000, 6)
    plane[:, :2] = gaussian(5000, 2)
    assert perplexity(discriminant_values(embeddings_of(plane, 0.0), 1e-4)) == pytest.approx(2, rel=5e-3)  # type: ignore[arg-type]


def test_lidar_normalizes_by_the_variance_within_images() -> None:
    scale = torch.tensor([1.0, 1.0, 1.0, 10.0])
    means, spread = gaussian(4000, 4) * scale, embeddings_of(torch.zeros(4000, 4), 0.3) * scale
    # Each direction discriminates equally, although one is ten times as large; the rank of the features is near 1.
    assert perplexity(discriminant_values(means[:, None] + spread, 1e-8)) == pytest.approx(4, rel=5e-3)  # type: ignore[arg-type]
    assert perplexity(spectrum(means)) < 1.5


@pytest.mark.parametrize("shape", [(12, 3, 20), (12, 3, 60), (5, 2, 11)])
def test_lidar_matches_its_definition(shape: tuple[int, int, int]) -> None:
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
    actual = discriminant_values(embeddings, 1e-2)
    assert actual is not None
    kept = min(count - 1, width)
    torch.testing.assert_close(actual.sort(descending=True).values[:kept], expected[:kept], rtol=1e-7, atol=1e-7)
