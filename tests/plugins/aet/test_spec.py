"""The spec of AET: parameters, identity, supported settings, recipes, contract."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from method_samples import make_setting

import benchmark
from bench_aet import AETParams, bench_methods, recipe, supports
from bench_aet.transforms import FAMILIES
from benchmark.api.parameters import as_dict, label
from benchmark.testing.methods import check_method


@pytest.mark.parametrize(
    "params",
    [{"transform": "affine"}, {"transform": "projective"}, {"transform": "similarity"}, {"loss": "image"}],
    ids=str,
)
def test_method_passes_the_conformance_checks(params: dict[str, Any]) -> None:
    (spec,) = bench_methods()
    check_method(spec, AETParams(**params))


def test_identity_contains_the_loss_only_if_it_is_not_the_default() -> None:
    (spec,) = bench_methods()
    assert spec.identity is not None
    old = {"transform": "projective", "fill": "gray", "statistics": "separate"}
    assert spec.identity(AETParams()) == old
    assert spec.version == 1
    assert label("aet", spec.identity(AETParams()), as_dict(AETParams())) == "aet"
    assert spec.identity(AETParams(loss="image")) == {**old, "loss": "image"}
    assert label("aet", spec.identity(AETParams(loss="image")), as_dict(AETParams())) == "aet[loss=image]"


def test_paper_recipe_is_the_released_script() -> None:
    paper = recipe(make_setting(AETParams()))
    assert (paper.epochs, paper.batch, paper.optimizer, paper.lr) == (1500, 512, "sgd", 0.1)
    assert (paper.momentum, paper.nesterov, paper.weight_decay) == (0.9, True, 5e-4)
    assert (paper.augment, paper.pad, paper.drop_last) == ("crop-flip", 4, False)  # 98 steps an epoch
    assert paper.mean == (0.4914, 0.4822, 0.4465)
    assert paper.std == (0.2023, 0.1994, 0.2010)


def test_paper_recipe_has_the_released_learning_rates() -> None:
    from benchmark.training.optimizer import learning_rate

    paper = recipe(make_setting(AETParams()))
    expected = {0: 0.1, 239: 0.1, 240: 0.02, 480: 0.004, 640: 0.0008, 800: 1.6e-4, 999: 1.6e-4, 1000: 1.597e-4}
    expected |= {1250: 8.47e-5, 1499: 1e-5}
    rates = {epoch: learning_rate(paper, epoch * 98, 98) for epoch in expected}
    assert rates == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "resnet18"},
        {"image_shape": (1, 32, 32)},
        {"image_shape": (3, 96, 96)},
        {"encoder_params": SimpleNamespace(blocks=4, init="default", pool_after_block3=False)},
        {"encoder_params": SimpleNamespace(blocks=3, init="aet", pool_after_block3=False)},
    ],
)
def test_paper_recipe_exists_only_for_published_settings(change: dict[str, Any]) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=r"with blocknet \(default parameters\)"):
        recipe(make_setting(AETParams(), **change))


@pytest.mark.parametrize(
    ("params", "message"), [({"transform": "similarity"}, "affine and projective"), ({"loss": "image"}, "loss=image")]
)
def test_paper_recipe_exists_only_for_published_params(params: dict[str, Any], message: str) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=message):
        recipe(make_setting(AETParams(**params)))


def test_quick_recipe_has_more_epochs_for_more_images() -> None:
    small = recipe(make_setting(AETParams(), budget="quick", dataset="digits", num_images=1437, image_shape=(1, 8, 8)))
    large = recipe(make_setting(AETParams(), budget="quick"))
    assert (small.epochs, small.pad, small.augment) == (6, 1, "crop")
    assert (large.epochs, large.pad, large.augment) == (20, 4, "crop-flip")


def test_supports_only_square_images() -> None:
    assert supports(make_setting(AETParams())) is None
    assert "32 x 48" in (supports(make_setting(AETParams(), image_shape=(3, 32, 48))) or "")


def test_plugin_provides_aet_with_projective_as_default() -> None:
    (spec,) = bench_methods()
    assert (spec.name, spec.labels, spec.params) == ("aet", "none", AETParams)
    assert AETParams().transform == "projective"


def test_transform_names_every_family() -> None:
    from typing import get_args, get_type_hints

    assert set(get_args(get_type_hints(AETParams)["transform"])) == set(FAMILIES)
