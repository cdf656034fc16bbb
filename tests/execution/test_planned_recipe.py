"""The recipe of a planned cell: overrides, scaling and checks."""

from __future__ import annotations

import pytest
from light_catalog import ids_of, light_plan

from benchmark.api.recipes import Recipe
from benchmark.errors import UnknownNameError, UsageError


@pytest.mark.parametrize("methods", ["aet", "untrained", "local"])
def test_unknown_recipe_key_is_rejected_even_if_nothing_is_trained(methods: str) -> None:
    with pytest.raises(UnknownNameError, match="no recipe key called 'learning_rate'") as caught:
        light_plan(methods, "vec", overrides={"learning_rate": 0.1})
    assert "batch, beta1" in str(caught.value)


@pytest.mark.parametrize("methods", ["aet", "untrained", "local"])
def test_recipe_value_of_the_wrong_type_is_rejected_even_if_nothing_is_trained(methods: str) -> None:
    with pytest.raises(UsageError, match=r"the recipe \(--set\): lr=fast is not valid; lr is a number"):
        light_plan(methods, "vec", overrides={"lr": "fast"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("epochs", 10**12),
        ("pad", 10**9),
        ("batch", 1),
        ("lr", 0),
        ("lr", -1),
        ("lr", float("nan")),
        ("pad", -1),
        ("warmup", -1),
        ("weight_decay", -0.1),
        ("momentum", 1),
        ("beta2", 1.5),
        ("clip", 0),
        ("std", (0.2, 0.0, 0.2)),
    ],
)
def test_recipe_number_out_of_range_is_rejected(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=key):
        light_plan(overrides={key: value})


def test_augment_none_is_a_choice_and_clip_none_is_no_value() -> None:
    recipe = light_plan(overrides={"augment": None, "clip": None}).cells[0].cell.recipe
    assert (recipe.augment, recipe.clip) == ("none", None)


def test_normalization_of_another_number_of_channels_is_a_skip() -> None:
    result = light_plan(overrides={"mean": (0.5,)})
    assert [skip.reason for skip in result.skips] == ["the recipe's mean has 1 numbers, but images have 3 channels"]


def test_epochs_scale_the_schedule_and_set_replaces_single_numbers() -> None:
    recipe = light_plan(epochs=20, overrides={"warmup": 1}).cells[0].cell.recipe
    assert (recipe.epochs, recipe.milestones, recipe.warmup) == (20, (8, 16), 1)


def test_method_without_training_takes_only_normalization_from_the_recipe() -> None:
    plain = ids_of("untrained")
    assert ids_of("untrained", epochs=50, overrides={"lr": 1, "batch": 8}, budget="paper") == plain
    normalized = light_plan("untrained", overrides={"mean": (0.5,) * 3, "std": (0.5,) * 3, "lr": 1})
    assert normalized.cells[0].cell.recipe == Recipe(epochs=0, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert normalized.cells[0].cell.id != plain[0]
