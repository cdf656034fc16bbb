"""Identity: the id hashes all training settings, once in the documented form, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from itertools import combinations

import pytest

from benchmark.api.identity import canonical_json, cell_id, dataset_json, plugin_json
from benchmark.api.recipes import Recipe

SETTINGS = {
    "method": plugin_json("aet", {"transform": "affine"}),
    "encoder": plugin_json("resnet18", {"width": 1.0}),
    "dataset": dataset_json("digits-1", 100),
    "recipe": canonical_json(asdict(Recipe(milestones=(3, 5), mean=(0.5,)))),
    "seed": 3,
}
CHANGES = [
    {"method": plugin_json("aet", {"transform": "projective"})},
    {"method": plugin_json("dim", {"transform": "affine"})},
    {"encoder": plugin_json("resnet18", {"width": 2.0})},
    {"dataset": dataset_json("digits-2", 100)},
    {"dataset": dataset_json("digits-1", None)},
    {"recipe": canonical_json(asdict(replace(Recipe(), lr=0.01)))},
    {"seed": 4},
    {"seed": None},
    {"smoke": True},
]


@pytest.mark.parametrize(("seed", "smoke"), [(3, {}), (None, {}), (3, {"smoke": 4})])
def test_id_is_the_hash_of_one_sorted_json_object(seed: int | None, smoke: dict[str, int]) -> None:
    recipe = asdict(Recipe(milestones=(3, 5), mean=(0.5,)))
    settings = {
        "method": {"name": "aet", "params": {"transform": "affine"}},
        "encoder": {"name": "resnet18", "params": {"width": 1.0}},
        "dataset": {"fingerprint": "digits-1", "subset": 100},
        "recipe": recipe,
        "seed": seed,
        **smoke,
    }
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    assert cell_id(**{**SETTINGS, "seed": seed}, smoke=bool(smoke)) == hashlib.sha256(text.encode()).hexdigest()


def test_each_setting_changes_the_id() -> None:
    ids = [cell_id(**{**SETTINGS, **change}) for change in [{}, *CHANGES]]
    assert all(one != other for one, other in combinations(ids, 2))


def test_order_of_parameters_does_not_change_the_text() -> None:
    assert plugin_json("m", {"a": 1, "b": (1, 2)}) == plugin_json("m", {"b": [1, 2], "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"lr": value})
