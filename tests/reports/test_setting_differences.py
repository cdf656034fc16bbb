"""Differences between the settings of a record and of a published figure."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from sample_figures import PAPER, differing, record_of, scored, trained

from benchmark.api.recipes import with_epochs


def test_subset_is_given_in_training_images() -> None:
    assert differing(record_of(dataset="cifar10[subset=2000]", subset=2000)) == ("2000 training images",)


def test_epochs_are_given_with_the_published_number() -> None:
    assert "20 of 200 epochs" in differing(trained(epochs=20))
    assert "1500 of 200 epochs" in differing(trained(epochs=1500))


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("lr", 0.05, "lr=0.05"),
        ("weight_decay", 0.0, "weight_decay=0.0"),
        ("batch", 64, "batch=64"),
        ("momentum", 0.8, "momentum=0.8"),
        ("nesterov", False, "nesterov=false"),
        ("milestones", (60, 150), "milestones=60;150"),
        ("factor", 0.1, "factor=0.1"),
        ("linear_from", 180, "linear_from=180"),
        ("drop_last", True, "drop_last=true"),
        ("augment", "flip", "augment=flip"),
        ("pad", 2, "pad=2"),
        ("mean", (0.123456, 0.4, 0.3), "mean=0.123;0.4;0.3"),
        ("std", (1.0, 0.25, 0.25), "std=1;0.25;0.25"),
        ("clip", 1.0, "clip=1.0"),
        ("warmup", 10, "warmup=10"),
    ],
)
def test_differing_recipe_key_is_listed(key: str, value: object, word: str) -> None:
    assert differing(trained(**{key: value})) == (word,)


@pytest.mark.parametrize(
    ("changes", "word"), [({"optimizer": "adam"}, "optimizer=adam"), ({"schedule": "cosine"}, "schedule=cosine")]
)
def test_other_optimizer_or_schedule_hides_its_own_keys(changes: dict[str, str], word: str) -> None:
    ours = trained(**changes, momentum=0.5, beta1=0.5) if "optimizer" in changes else trained(**changes, factor=0.5)
    assert differing(ours) == (word,)


def test_keys_of_an_equal_optimizer_and_schedule_are_compared() -> None:
    theirs = dataclasses.replace(PAPER, optimizer="adam", beta1=0.5, schedule="cosine", final_lr=0.001)
    ours = dataclasses.replace(theirs, beta1=0.9, beta2=0.99, final_lr=0.0)
    assert set(differing(record_of(recipe=ours), recipe=theirs)) == {"beta1=0.9", "beta2=0.99", "final_lr=0.0"}


@pytest.mark.parametrize(
    ("theirs", "ours", "words"),
    [
        ({"schedule": "linear"}, {"schedule": "linear", "final_lr": 0.05}, {"final_lr=0.05"}),
        ({"optimizer": "adamw", "beta1": 0.5}, {"optimizer": "adamw"}, {"beta1=0.9"}),
        ({"weight_decay": 0}, {"weight_decay": 0.0}, set()),
        ({}, {"epochs": 100, "milestones": (1, 2)}, {"100 of 200 epochs", "milestones=1;2"}),
        ({"linear_from": 180}, {"epochs": 100, "milestones": (30, 60, 80)}, {"100 of 200 epochs", "linear_from=none"}),
    ],
    ids=["final_lr", "adamw", "integer", "milestones", "linear tail"],
)
def test_recipes_of_the_same_kind_are_compared(theirs: dict[str, Any], ours: dict[str, Any], words: set[str]) -> None:
    assert set(differing(trained(**ours), recipe=dataclasses.replace(PAPER, **theirs))) == words


@pytest.mark.parametrize("epochs", [1, 20, 150, 400])
def test_stretched_recipe_differs_only_in_epochs(epochs: int) -> None:
    theirs = dataclasses.replace(PAPER, warmup=10, linear_from=180)
    assert differing(record_of(recipe=with_epochs(theirs, epochs)), recipe=theirs) == (f"{epochs} of 200 epochs",)


def test_figure_without_recipe_and_untrained_record_do_not_differ() -> None:
    assert differing(record_of(recipe=None), recipe=None) == ()


def test_differing_parameters_are_listed() -> None:
    ours = record_of(
        scored(evaluator="head[epochs=10,rates=0.5]", params={"epochs": 10, "rates": [0.5]}),
        method_params={"turns": 8, "weight": 1.0},
        encoder_params={"blocks": 5, "init": "default"},
    )
    words = {"turns=8", "blocks=5", "init=default", "head epochs=10", "head rates=0.5"}
    assert set(differing(ours)) == words


def test_other_pooling_is_listed() -> None:
    ours = record_of(scored(evaluator="svm[pool=average]", pool="average"))
    assert differing(ours, evaluator="svm") == ("svm pool=average",)
    assert differing(record_of(scored(evaluator="svm")), evaluator="svm") == ()


def test_all_differences_are_listed_together() -> None:
    ours = record_of(
        scored(evaluator="svm[per_class=5,pool=average]", pool="average", params={"per_class": 5}),
        dataset="cifar10-jpeg[subset=500]",
        subset=500,
        method_params={"turns": 2, "weight": 1.0},
        encoder_params={"blocks": 3, "init": "own"},
        recipe=dataclasses.replace(with_epochs(PAPER, 5), lr=0.01),
    )
    assert set(differing(ours, evaluator="svm")) == {
        *("images of cifar10-jpeg", "500 training images", "5 of 200 epochs", "lr=0.01"),
        *("turns=2", "blocks=3", "svm per_class=5", "svm pool=average"),
    }


def test_image_size_is_a_condition() -> None:
    record = record_of(dataset="cifar10-jpeg")
    record.cell["image_shape"] = [1, 64, 64]
    assert differing(record) != differing(record_of(dataset="cifar10-jpeg"))


def test_folder_named_cifar10_is_not_cifar10() -> None:
    record = record_of(dataset="cifar10")
    record.cell["dataset"]["name"] = "folder"
    assert differing(record) != ()


def test_earlier_protocol_is_a_condition() -> None:
    assert differing(record_of(scored(protocol="head@0"))) != ()
