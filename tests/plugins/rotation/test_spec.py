"""The spec of RotNet: parameters, supported settings, recipes, contract."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from method_samples import make_setting

import benchmark
from bench_rotation import RotationParams, bench_methods, recipe, supports
from benchmark.testing.methods import check_method


@pytest.mark.parametrize("turns", [2, 4, 8])
def test_method_passes_the_conformance_checks(turns: Any) -> None:
    (spec,) = bench_methods()
    check_method(spec, RotationParams(turns=turns))


def test_three_turns_are_an_error() -> None:
    with pytest.raises(ValueError, match="2, 4 or 8"):
        RotationParams(turns=3)  # type: ignore[arg-type]  # the command line passes any integer


def test_paper_recipe_is_the_released_configuration() -> None:
    paper = recipe(make_setting(RotationParams()))
    assert (paper.epochs, paper.batch, paper.optimizer, paper.lr) == (200, 128, "sgd", 0.1)
    assert (paper.momentum, paper.nesterov, paper.weight_decay) == (0.9, True, 5e-4)
    assert (paper.schedule, paper.milestones, paper.factor) == ("milestones", (60, 120, 160), 0.2)
    assert (paper.augment, paper.pad, paper.drop_last) == ("crop-flip", 4, False)  # 391 steps an epoch
    assert paper.mean == pytest.approx((0.49137, 0.48235, 0.44667), abs=1e-5)
    assert paper.std == pytest.approx((0.24706, 0.24353, 0.26157), abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "resnet18"},
        {"image_shape": (1, 32, 32)},
        {"image_shape": (3, 96, 96)},
        {"encoder_params": SimpleNamespace(init="aet", pool_after_block3=False)},
        {"encoder_params": SimpleNamespace(init="default", pool_after_block3=True)},
    ],
)
def test_paper_recipe_exists_only_for_published_settings(change: dict[str, Any]) -> None:
    with pytest.raises(benchmark.UnsupportedError, match=r"blocknet\[init=default\]"):
        recipe(make_setting(RotationParams(), **change))


def test_quick_recipe_has_more_epochs_for_more_images() -> None:
    small = recipe(
        make_setting(RotationParams(), budget="quick", dataset="digits", num_images=1437, image_shape=(1, 8, 8))
    )
    large = recipe(make_setting(RotationParams(), budget="quick"))
    assert (small.epochs, large.epochs) == (6, 20)
    assert (small.pad, large.pad) == (1, 4)


def test_quick_recipe_does_not_flip_digits() -> None:
    assert recipe(make_setting(RotationParams(), budget="quick", dataset="digits")).augment == "crop"
    assert recipe(make_setting(RotationParams(), budget="quick")).augment == "crop-flip"


def test_supports_only_square_images_unless_turns_is_two() -> None:
    oblong = make_setting(RotationParams(), image_shape=(3, 32, 48))
    assert supports(make_setting(RotationParams())) is None
    assert "32 x 48" in (supports(oblong) or "")
    assert supports(replace(oblong, method_params=RotationParams(turns=2))) is None


def test_plugin_provides_rotation() -> None:
    (spec,) = bench_methods()
    assert (spec.name, spec.labels, spec.params) == ("rotation", "none", RotationParams)
