"""The linear probe: `bench_probes.linear`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from peak_memory import PEAK_MEMORY
from probe_samples import clusters, evaluate, fake_probe, scores
from sklearn.datasets import load_digits

import benchmark
from bench_probes import linear
from bench_probes.params import LinearParams


def test_linear_separates_distant_clusters() -> None:
    train, test = clusters(200, 0, noise=0.1), clusters(50, 1, noise=0.1)
    evaluation = evaluate("linear", fake_probe(*train, *test))
    assert scores(evaluation) == {"accuracy": 1.0}
    assert evaluation.predictions["linear"].tolist() == test[1].tolist()
    assert evaluation.details["converged"]


def test_chosen_strength_is_inside_the_grid_for_digits() -> None:
    images, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(images).float()
    weights = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    for features in (images, (images @ weights).relu()):
        evaluation = evaluate("linear", fake_probe(features[:1437], labels[:1437], features[1437:], labels[1437:]))
        assert not evaluation.details["at_edge"]
        assert evaluation.details["all_converged"]
        assert scores(evaluation)["accuracy"] > 0.88


def test_classes_without_train_images_are_never_predicted() -> None:
    train, test = clusters(120, 0, classes=2), clusters(50, 1, classes=2)
    once = evaluate("linear", fake_probe(*train, *test))
    repeated = evaluate("linear", fake_probe(train[0], train[1] * 5 + 2, test[0], test[1] * 5 + 2))
    assert scores(once) == scores(repeated)
    assert (once.predictions["linear"] * 5 + 2).tolist() == repeated.predictions["linear"].tolist()


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_an_error(split: str, value: float) -> None:
    probe = fake_probe(*clusters(40, 0), *clusters(40, 1))
    getattr(probe, split).vectors[3, 2] = value
    with pytest.raises(benchmark.TrainingError, match=f"some {split} features at tap 'vector' are not finite"):
        evaluate("linear", probe)


WIDE = f"""{PEAK_MEMORY}
import torch
from types import SimpleNamespace as Fake
from bench_probes.linear import evaluate_linear
from bench_probes.params import LinearParams

torch.set_num_threads(2)
def split(count):
    generator = torch.Generator().manual_seed(count)
    features = torch.empty(count, 12288).normal_(generator=generator)
    return Fake(features=lambda: features, labels=torch.arange(count) % 10)
probe = Fake(train=split(50_000), test=split(10_000), tap="flat")
result = evaluate_linear(probe, LinearParams(strengths=(1.0, 0.1), iterations=2))
print(result.details["iterations"], peak_memory() / 2**30)
"""


@pytest.mark.slow
def test_50000_images_of_12288_features_need_less_than_6_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", WIDE], check=True, capture_output=True, text=True)
    iterations, gigabytes = done.stdout.split()
    assert int(iterations) > 0
    assert 2.9 < float(gigabytes) < 5.5


def test_linear_is_invariant_to_scale_and_shift_of_a_feature() -> None:
    (train, train_labels), (test, test_labels) = clusters(120, 0, noise=2.0), clusters(60, 1, noise=2.0)
    scale, shift = torch.logspace(-3, 3, 6), torch.tensor([5.0, -3.0, 0.0, 1.0, 2.0, -40.0])
    once = evaluate("linear", fake_probe(train, train_labels, test, test_labels))
    repeated = evaluate("linear", fake_probe(train * scale + shift, train_labels, test * scale + shift, test_labels))
    assert (once.predictions["linear"] == repeated.predictions["linear"]).mean() >= 0.98
    assert once.details["strength"] == repeated.details["strength"]


def test_constant_features_do_not_change_scores() -> None:
    (train, train_labels), (test, test_labels) = clusters(120, 0), clusters(60, 1)
    once = evaluate("linear", fake_probe(train, train_labels, test, test_labels))
    train, test = (
        torch.cat([part, torch.full((len(part), 2), 7.3), torch.zeros(len(part), 1)], 1) for part in (train, test)
    )
    assert scores(evaluate("linear", fake_probe(train, train_labels, test, test_labels))) == scores(once)


def test_hold_out_is_a_tenth_of_each_class() -> None:
    labels = np.repeat([0, 1, 2], [100, 40, 10])
    assert np.bincount(labels[linear.hold_out(labels)]).tolist() == [10, 4, 1]
    assert (linear.hold_out(labels) == linear.hold_out(labels)).all()


def test_hold_out_excludes_classes_with_one_image() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    assert np.bincount(labels[linear.hold_out(labels)], minlength=3).tolist() == [1, 0, 1]
    features = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    assert scores(evaluate("linear", fake_probe(features, labels, features, labels)))["accuracy"] == 1.0


def test_largest_strength_is_used_without_a_hold_out() -> None:
    features = torch.eye(3)
    evaluation = evaluate("linear", fake_probe(features, [0, 1, 2], features, [0, 1, 2]))
    assert evaluation.details["strength"] == 1.0
    assert not evaluation.details["at_edge"]


def test_largest_of_equally_accurate_strengths_is_chosen() -> None:
    train = clusters(100, 0, noise=0.01)
    evaluation = evaluate("linear", fake_probe(*train, *train), strengths=(1e-3, 1e-1, 1e-2))
    assert set(evaluation.details["hold_out_accuracy"].values()) == {1.0}
    assert evaluation.details["strength"] == 0.1
    assert evaluation.details["at_edge"]


def test_linear_works_with_two_classes_and_few_images() -> None:
    train, test = clusters(20, 0, classes=2, width=50), clusters(30, 1, classes=2, width=50)
    assert scores(evaluate("linear", fake_probe(*train, *test)))["accuracy"] > 0.9


def test_one_class_is_an_error() -> None:
    features = torch.ones(4, 2)
    with pytest.raises(benchmark.UnsupportedError, match="same class"):
        evaluate("linear", fake_probe(features, [0] * 4, features, [0] * 4))


def test_fit_that_does_not_converge_is_recorded() -> None:
    train = clusters(100, 0)
    details = evaluate("linear", fake_probe(*train, *train), iterations=1).details
    assert (details["converged"], details["all_converged"], details["iterations"]) == (False, False, 1)


@pytest.mark.parametrize("invalid", [{"strengths": ()}, {"strengths": (0.0,)}, {"iterations": 0}])
def test_parameter_out_of_range_is_an_error(invalid: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(invalid))}="):
        LinearParams(**invalid)
