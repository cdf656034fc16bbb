"""What holds for all scores without labels: contract, degenerate features, invariances, parameters."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from generators import seeded
from unlabeled_samples import SPECS, evaluate_scores, fake_probe, gaussian, rotation

import benchmark
from bench_unlabeled import params, products
from bench_unlabeled.discriminants import discriminant_values
from bench_unlabeled.spectra import perplexity
from benchmark.testing.conformance import ConformanceError
from benchmark.testing.evaluators import check_evaluator

SCALE_INVARIANT = ("rankme", "alpha_req", "dimension", "uniformity", "alignment", "stability", "clustering")
"""Evaluators that are invariant to scale."""


@pytest.mark.parametrize("name", SPECS)
def test_evaluator_passes_the_conformance_checks(name: str) -> None:
    evaluation = check_evaluator(SPECS[name])
    assert SPECS[name].protocol == f"{name}@1"
    assert SPECS[name].labels == ("all" if name == "clustering" else "none")
    with_interval = {each.metric for each in evaluation.measurements if each.outcomes is not None}
    assert with_interval == ({name} if name in ("alignment", "stability") else set())
    assert all(each.n == 40 for each in evaluation.measurements)


def test_conformance_detects_undeclared_use_of_labels() -> None:
    misdeclared = dataclasses.replace(SPECS["clustering"], labels="none")
    with pytest.raises(ConformanceError, match="declares labels='none'"):
        check_evaluator(misdeclared)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("width", [3, 200])
def test_evaluator_runs_with_few_images_or_many_features(name: str, width: int) -> None:
    probe = fake_probe(gaussian(30, width), second=gaussian(30, 5, 1))
    assert all(math.isfinite(value) for value in evaluate_scores(name, probe).values())


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_constant_features_are_an_error_or_have_a_defined_value(name: str, value: float) -> None:
    same = torch.full((30, 6), value)
    probe = fake_probe(same, second=same, encode=lambda images: torch.full((len(images), 6), value))
    defined = {"rankme": 1.0, "uniformity": 0.0, "alignment": 0.0}
    if value and name in defined:
        assert evaluate_scores(name, probe)[name] == pytest.approx(defined[name], abs=1e-4)
    else:
        with pytest.raises(benchmark.UnsupportedError, match=r"collapsed|not zero|distinct"):
            evaluate_scores(name, probe)


@pytest.mark.parametrize("name", SCALE_INVARIANT)
def test_score_is_invariant_to_rotation_and_scale(name: str) -> None:
    features, orthogonal = gaussian(60, 8), rotation(8)
    before = evaluate_scores(name, fake_probe(features))
    moved = fake_probe(3 * features @ orthogonal, encode=lambda images: 3 * images[:, 0, 0] @ orthogonal)
    moved.test.images = fake_probe(features).test.images
    assert evaluate_scores(name, moved) == pytest.approx(before, rel=1e-3, abs=1e-5)


def test_lidar_is_invariant_to_rotation_but_not_to_scale() -> None:
    embeddings = gaussian(40, 5)[:, None] + 0.01 * gaussian(40 * 4, 5, 1).view(40, 4, 5)
    before = perplexity(discriminant_values(embeddings, 1e-4))  # type: ignore[arg-type]  # they vary
    rotated = perplexity(discriminant_values(embeddings @ rotation(5) + 2, 1e-4))  # type: ignore[arg-type]
    large = perplexity(discriminant_values(100 * embeddings, 1e-4))  # type: ignore[arg-type]
    assert rotated == pytest.approx(before, rel=1e-4)
    assert large != pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("name", ["lidar", "alignment", "stability"])
def test_views_use_only_the_generator_of_the_probe(name: str) -> None:
    def score(seed: int) -> dict[str, float]:
        probe = fake_probe(gaussian(40, 8))
        probe.generator = seeded(seed)
        return evaluate_scores(name, probe)

    torch.manual_seed(5)
    first = score(0)
    torch.manual_seed(6)
    assert score(0) == first
    assert score(1) != first


def test_score_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    features, other = gaussian(30, 50), gaussian(30, 7, 1)
    before = {name: evaluate_scores(name, fake_probe(features, second=other)) for name in SPECS}
    monkeypatch.setattr(products, "BLOCK_BYTES", 8 * 50 * 3)
    assert before == {
        name: pytest.approx(evaluate_scores(name, fake_probe(features, second=other)), rel=1e-6) for name in SPECS
    }


@pytest.mark.parametrize(
    ("kind", "invalid"),
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
def test_parameter_out_of_range_is_an_error(kind: type, invalid: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(invalid))):
        kind(**invalid)
