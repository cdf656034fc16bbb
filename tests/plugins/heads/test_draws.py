"""Labeled images and parameters of the heads: `bench_heads.draws`, `bench_heads.parameters`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from head_samples import evaluate_head, probe_of, subject
from torch import Tensor

import benchmark
from bench_heads import draws, scoring, svm
from bench_heads.parameters import AetHeadParams, HeadParams, LabelParams, RotNetHeadParams, SvmParams
from benchmark.evaluation.evaluate import LabeledImages


@pytest.mark.parametrize("per_class", [1, 5, 13])
def test_per_class_chooses_that_many_images_of_each_class(per_class: int) -> None:
    data = subject()
    chosen = draws.labeled_positions(probe_of(data), per_class, torch.Generator().manual_seed(0))
    assert torch.bincount(data.train.labels[chosen]).tolist() == [per_class] * 3
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_draws_differ_and_larger_ones_contain_smaller_ones() -> None:
    probe = probe_of(subject())
    first, second = (draws.labeled_positions(probe, 5, generator) for generator in draws.generators(probe, 2))
    assert not torch.equal(first, second)
    small, large = (draws.labeled_positions(probe, count, torch.Generator().manual_seed(7)) for count in (3, 9))
    assert set(small.tolist()) < set(large.tolist())


def test_all_labels_are_used_by_default() -> None:
    assert torch.equal(draws.labeled_positions(probe_of(subject()), None, torch.Generator()), torch.arange(40))


@pytest.mark.parametrize("name", ["fc1", "svm"])
def test_class_with_too_few_images_is_an_error(name: str) -> None:
    with pytest.raises(benchmark.UnsupportedError, match="'class 1' has 13 training images"):
        evaluate_head(name, subject(), per_class=14)
    with pytest.raises(benchmark.UnsupportedError, match="'class 3' has 0 training images"):
        evaluate_head(name, subject(names=4), per_class=1)


@pytest.mark.parametrize("name", ["fc1", "svm"])
def test_single_class_is_an_error(name: str) -> None:
    with pytest.raises(benchmark.UnsupportedError, match="all training images have the same class"):
        evaluate_head(name, subject(classes=1, names=2))


@pytest.mark.parametrize("name", ["fc1", "svm"])
def test_unused_labels_do_not_change_predictions(name: str) -> None:
    data = subject()
    short: dict[str, Any] = {"epochs": 1, "augment": False} if name == "fc1" else {}
    seen: list[Tensor] = []

    def labeled_positions(*value: Any) -> Tensor:
        seen.append(draws.labeled_positions(*value))
        return seen[-1] if len(seen) == 1 else seen[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring if name == "fc1" else svm, "labeled_positions", labeled_positions)
        once = evaluate_head(name, data, per_class=4, **short)
        others = torch.ones(40, dtype=torch.bool)
        others[seen[0]] = False
        shifted = torch.where(others, (data.train.labels + 1) % 3, data.train.labels)
        mislabeled = dataclasses.replace(data, train=LabeledImages(images=data.train.images, labels=shifted))
        repeated = evaluate_head(name, mislabeled, per_class=4, **short)
    assert np.array_equal(once.predictions[name], repeated.predictions[name])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (LabelParams, {"per_class": 0}),
        (LabelParams, {"draws": 0}),
        (HeadParams, {"epochs": 0}),
        (AetHeadParams, {"epochs": -1}),
        (RotNetHeadParams, {"per_class": -2}),
        (SvmParams, {"c": 0.0}),
        (SvmParams, {"c": float("nan")}),
        (SvmParams, {"iterations": 0}),
    ],
)
def test_parameter_out_of_range_is_an_error(kind: type, value: dict[str, Any]) -> None:
    (name,) = value
    with pytest.raises(ValueError, match=f"{name}=.* is not valid"):
        kind(**value)
