"""Evaluators of frozen features."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import bench_probes
import benchmark
from bench_probes import knn, linear, neighbors, regression, retrieval
from bench_probes.params import LinearParams, NeighborsParams, RetrievalParams


@dataclasses.dataclass
class FakeSplit:
    vectors: Tensor
    labels: Tensor

    def features(self, tap: str | None = None, pool: str | None = None) -> Tensor:
        return self.vectors


def fake_probe(train: Tensor, train_labels: Any, test: Tensor, test_labels: Any) -> Any:
    return SimpleNamespace(
        train=FakeSplit(train, torch.as_tensor(train_labels)),
        test=FakeSplit(test, torch.as_tensor(test_labels)),
        tap="vector",
    )


def clusters(count: int, seed: int, classes: int = 4, width: int = 6, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    centers = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    return centers[labels] + noise * torch.randn(count, width, generator=generator), labels


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spec(name: str) -> Any:
    return {spec.name: spec for spec in bench_probes.bench_evaluators()}[name]


def scores(evaluation: Any) -> dict[str, float]:
    return {measurement.metric: measurement.value for measurement in evaluation.measurements}


def evaluate(name: str, probe: Any, **params: Any) -> Any:
    return spec(name).evaluate(probe, spec(name).params(**params))


class Watcher(TorchDispatchMode):
    """Counts numbers that the host reads from a tensor, and remembers the largest tensor that was made."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.largest = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.reads += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and not func.is_view:
            self.largest = max(self.largest, made.numel())
        return made


def test_the_package_imports_no_torch() -> None:
    code = "import sys, bench_probes; list(bench_probes.bench_evaluators()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["linear", "knn", "retrieval"])
def test_permuted_test_labels_leave_predictions_alone(name: str) -> None:
    train, test = clusters(60, 0), clusters(40, 1)
    once = evaluate(name, fake_probe(*train, *test))
    again = evaluate(name, fake_probe(*train, test[0], test[1].flip(0)))
    assert scores(once) != scores(again)
    assert once.predictions.keys() == again.predictions.keys()
    assert all((once.predictions[key] == again.predictions[key]).all() for key in once.predictions)


@pytest.mark.parametrize("name", ["linear", "knn", "retrieval"])
def test_scores_are_the_means_of_their_outcomes_and_declared(name: str) -> None:
    evaluation = evaluate(name, fake_probe(*clusters(60, 0), *clusters(40, 1)))
    declared = {metric.name for metric in spec(name).metrics}
    headline = next(metric.headline for metric in spec(name).metrics if metric.headline)
    assert headline in scores(evaluation)
    assert {measurement.metric.partition("@")[0] for measurement in evaluation.measurements} == declared
    for measurement in evaluation.measurements:
        assert measurement.outcomes.shape == (40,)
        assert measurement.n == 40
        assert measurement.value == pytest.approx(measurement.outcomes.mean(), abs=1e-6)


@pytest.mark.parametrize("name", ["linear", "knn", "retrieval"])
def test_features_are_left_as_they_were(name: str) -> None:
    (train, train_labels), (test, test_labels) = clusters(60, 0), clusters(40, 1)
    evaluate(name, fake_probe(train, train_labels, test, test_labels))
    assert torch.equal(train, clusters(60, 0)[0])
    assert torch.equal(test, clusters(40, 1)[0])


@pytest.mark.parametrize("name", ["linear", "knn", "retrieval"])
def test_the_same_features_give_the_same_evaluation(name: str) -> None:
    once, again = (evaluate(name, fake_probe(*clusters(60, 0), *clusters(40, 1))) for _ in range(2))
    assert scores(once) == scores(again)
    assert once.details == again.details


# --- neighbors -------------------------------------------------------------------------------------------------------


def test_faiss_and_blocked_products_find_the_same_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 4 * 200 * 7)  # blocks of 7 queries
    queries, gallery = neighbors.unit_length(clusters(50, 0)[0]), neighbors.unit_length(clusters(200, 1)[0])
    by_faiss = neighbors.search_by_faiss(queries, gallery, 12)
    by_blocks = neighbors.search_by_blocks(queries, gallery, 12)
    assert torch.equal(by_faiss[1], by_blocks[1])
    torch.testing.assert_close(by_faiss[0], by_blocks[0])
    torch.testing.assert_close(by_faiss[1], (queries @ gallery.T).argsort(dim=1, descending=True)[:, :12])


@pytest.mark.parametrize("search", ["search_by_faiss", "search_by_blocks"])
@pytest.mark.parametrize("k", [1, 3, 9, 150])
def test_ties_go_to_the_lower_gallery_index(search: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "search_by_faiss", getattr(neighbors, search))
    gallery = torch.zeros(300, 2)
    gallery[:, 0] = torch.arange(300) % 2
    queries = torch.tensor([[1.0, 0.0]]).repeat(30, 1)
    _, indices = neighbors.nearest(queries, gallery, k)
    assert torch.equal(indices, torch.arange(1, 2 * k, 2).expand(30, k))


@pytest.mark.parametrize("rows", [1, 7, 60, 300])
@pytest.mark.parametrize("k", [1, 20, 300])
def test_a_gallery_searched_in_parts_gives_the_neighbors_of_the_whole(
    rows: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small whole numbers: many cosines are equal, and all are exact in either way."""
    chance = torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.one_hot(torch.randint(0, 6, (300,), generator=chance)).float()
    gallery *= 2.0 ** torch.randint(-2, 3, (300, 1), generator=chance)
    queries = torch.randint(-3, 4, (40, 6), generator=chance).float()
    monkeypatch.setattr(neighbors, "COPY_BYTES", 4 * 6 * rows)
    similarities, indices = neighbors.nearest_by_cosine(queries, gallery, k)
    wanted = neighbors.unit_length(queries) @ neighbors.unit_length(gallery).T
    expected = wanted.sort(dim=1, descending=True, stable=True)
    assert torch.equal(indices, expected.indices[:, :k])
    torch.testing.assert_close(similarities, expected.values[:, :k])


def test_a_large_gallery_is_not_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "COPY_BYTES", 4 * 64 * 50)  # 50 rows
    queries, gallery = torch.ones(10, 64), torch.ones(400, 64)
    with Watcher() as watcher:
        neighbors.nearest_by_cosine(queries, gallery, 3)
    assert watcher.largest == 50 * 64


def test_ranking_is_a_stable_sort_of_either_sign() -> None:
    similarities = torch.randint(-3, 4, (20, 50), generator=torch.Generator().manual_seed(0)) / 4.0
    similarities[3, 7], similarities[4, 9] = -torch.inf, -0.0
    expected = similarities.sort(dim=1, descending=True, stable=True).indices
    assert torch.equal(neighbors.ranked(similarities), expected)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_ranking_in_threads_is_ranking(rows: int) -> None:
    similarities = torch.randint(-9, 9, (rows, 400), generator=torch.Generator().manual_seed(0)) / 8.0
    torch.set_num_threads(3)
    expected = similarities.sort(dim=1, descending=True, stable=True).indices
    assert torch.equal(neighbors.ranked(similarities), expected)


def test_retrieval_holds_a_block_and_not_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 32 * 400 * 10)  # blocks of 10 queries
    features, labels = clusters(400, 0)
    with Watcher() as watcher:
        evaluate("retrieval", fake_probe(features, labels, features, labels))
    assert watcher.largest <= 400 * 10


def test_zero_vectors_stay_zero() -> None:
    assert torch.equal(neighbors.unit_length(torch.zeros(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize("k", [0, 6])
def test_more_neighbors_than_there_are_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match="gallery of 5"):
        neighbors.nearest(torch.ones(1, 2), torch.ones(5, 2), k)
    with pytest.raises(ValueError, match=f"k={k} neighbors"):
        neighbors.nearest_by_cosine(torch.ones(1, 2), torch.ones(5, 2), k)


# --- knn --------------------------------------------------------------------------------------------------------------


def test_one_neighbor_in_its_own_gallery_is_always_right() -> None:
    features, labels = clusters(80, 0, noise=5.0)
    found = scores(evaluate("knn", fake_probe(features, labels, features, labels)))
    assert found["accuracy@k=1"] == found["vote_accuracy@k=1"] == 1.0
    assert found["accuracy@k=20"] < 1.0 or found["vote_accuracy@k=20"] < 1.0


def test_a_near_neighbor_outweighs_two_far_ones() -> None:
    # Cosines 1, 0, 0: weights exp(1 / .07) against 2.
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    found = scores(evaluate("knn", fake_probe(train, [0, 1, 1], torch.tensor([[3.0, 0.0]]), [0]), k=(3,)))
    assert found == {"accuracy@k=3": 1.0, "vote_accuracy@k=3": 0.0}


def test_a_high_temperature_turns_weighted_votes_into_plain_ones() -> None:
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    probe = fake_probe(train, [0, 1, 1], torch.tensor([[3.0, 0.0]]), [1])
    assert scores(evaluate("knn", probe, k=(3,), temperature=100.0)) == {"accuracy@k=3": 1.0, "vote_accuracy@k=3": 1.0}


def test_equal_votes_go_to_the_class_of_the_nearest() -> None:
    classes = torch.tensor([[2, 0, 0, 2], [1, 0, 0, 1], [0, 1, 1, 2]])
    won = knn.vote(classes, torch.ones(3, 4, dtype=torch.float64), [1, 2, 3, 4])
    assert won[1].tolist() == [2, 1, 0]
    assert won[2].tolist() == [2, 1, 0]
    assert won[3].tolist() == [0, 0, 1]
    assert won[4].tolist() == [2, 1, 1]


def test_votes_do_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = torch.randint(5, (40, 9), generator=torch.Generator().manual_seed(0))
    weights = torch.rand(40, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = knn.vote(classes, weights, [4, 9])
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 500)
    parts = knn.vote(classes, weights, [4, 9])
    assert all(torch.equal(whole[k], parts[k]) for k in (4, 9))
    sums = [np.bincount(classes[row].numpy(), weights[row].numpy(), 5) for row in range(40)]
    assert whole[9].tolist() == [int(row.argmax()) for row in sums]


def test_more_votes_than_images_are_left_out() -> None:
    features, labels = clusters(12, 0)
    probe = fake_probe(features, labels, features, labels)
    assert list(scores(evaluate("knn", probe))) == [
        f"{name}@k={k}" for k in (1, 5, 10) for name in ("accuracy", "vote_accuracy")
    ]
    assert list(scores(evaluate("knn", probe, k=(20, 200)))) == ["accuracy@k=12", "vote_accuracy@k=12"]


def test_a_tiny_temperature_does_not_overflow() -> None:
    features, labels = clusters(30, 0)
    evaluation = evaluate("knn", fake_probe(features, labels, features, labels), k=(5,), temperature=1e-4)
    assert scores(evaluation)["accuracy@k=5"] == 1.0


@pytest.mark.parametrize("wrong", [{"k": ()}, {"k": (0,)}, {"k": (5, 5)}, {"temperature": 0.0}])
def test_impossible_neighbors_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        NeighborsParams(**wrong)


# --- linear -----------------------------------------------------------------------------------------------------------


def test_separated_clusters_are_told_apart() -> None:
    train, test = clusters(200, 0, noise=0.1), clusters(50, 1, noise=0.1)
    evaluation = evaluate("linear", fake_probe(*train, *test))
    assert scores(evaluation) == {"accuracy": 1.0}
    assert evaluation.predictions["linear"].tolist() == test[1].tolist()
    assert evaluation.details["converged"]


def test_the_chosen_strength_lies_inside_the_grid_for_digits() -> None:
    images, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(images).float()
    weights = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    for features in (images, (images @ weights).relu()):
        evaluation = evaluate("linear", fake_probe(features[:1437], labels[:1437], features[1437:], labels[1437:]))
        assert not evaluation.details["at_edge"]
        assert evaluation.details["all_converged"]
        assert scores(evaluation)["accuracy"] > 0.88


def objective(features: Tensor, labels: Any, weights: Any, bias: Any, strength: float) -> Tensor:
    """Mean cross-entropy + strength / 2 * |weights|^2 in float64; one row of weights is that of the second class."""
    weights, bias = (torch.as_tensor(given, dtype=torch.float64) for given in (weights, bias))
    logits = features.double() @ weights.T + bias
    if len(weights) == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    fit = torch.nn.functional.cross_entropy(logits, torch.as_tensor(labels))
    return fit + strength / 2 * weights.square().sum()


def digits(classes: int = 10) -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    kept = labels < classes
    features = torch.from_numpy(images[kept]).float()
    mixing = torch.randn(64, 96, generator=torch.Generator().manual_seed(0))
    # Correlated, with means far from zero and a constant feature among them.
    return torch.cat([features, (features @ mixing).relu() / 100 + 3], dim=1), torch.from_numpy(labels[kept])


def solved(features: Tensor, labels: Tensor, strength: float, iterations: int = 200) -> tuple[Tensor, Tensor, Any]:
    rows = torch.ones(len(labels), dtype=torch.bool)
    problem = linear.problem_of(features, labels, rows, regression.curvature(features))
    fit = regression.solve(problem, strength, torch.zeros(int(labels.max()) + 1, features.shape[1] + 1), iterations)
    return fit.point[:, :-1], fit.point[:, -1], fit


def scikit_learns(features: Tensor, labels: Tensor, strength: float) -> tuple[Any, Any, Any]:
    """Its optimum in float64, to a gradient of 1e-9: standardized features, weights, bias."""
    standardized = StandardScaler().fit_transform(features.double().numpy())
    classifier = LogisticRegression(C=1 / (strength * len(labels)), tol=1e-9, max_iter=100_000)
    classifier.fit(standardized, labels.numpy())
    return torch.from_numpy(standardized), classifier.coef_, classifier.intercept_


@functools.cache
def optimum(classes: int, strength: float) -> tuple[Any, Any, Any]:
    """Of the digits: sought once for all ways of finding it."""
    return scikit_learns(*digits(classes), strength)


@pytest.mark.parametrize("way", ["all directions", "some directions", "no copy", "a poor guide"])
@pytest.mark.parametrize("strength", [1.0, 1e-2, 1e-4])
@pytest.mark.parametrize("classes", [2, 10])
def test_a_fit_ends_at_scikit_learns_optimum(
    classes: int, strength: float, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = digits(classes)
    if way == "some directions":
        monkeypatch.setattr(regression, "LARGEST_BASIS", 100)
        monkeypatch.setattr(regression, "SMALL_SAMPLE", 90)
    if way == "no copy":
        monkeypatch.setattr(regression, "LARGEST_COPY", 0)
    if way == "a poor guide":
        poor = regression.Curvature(basis=torch.eye(160)[:, :3], variances=torch.ones(3), rest=torch.tensor(0.3))
        monkeypatch.setattr(regression, "curvature", lambda _: poor)
    weights, bias, fit = solved(features, labels, strength, iterations=5000)
    standardized, best_weights, best_bias = optimum(classes, strength)
    if classes == 2:
        weights, bias = weights[1:] - weights[:1], bias[1:] - bias[:1]
    assert fit.converged
    smallest = objective(standardized, labels, best_weights, best_bias, strength)
    assert -1e-7 < objective(standardized, labels, weights, bias, strength) - smallest < 5e-6
    # An image on which they differ lies so near the border that 0.1 of a logit decides.
    ours = (standardized @ weights.double().T + bias.double()).numpy()
    theirs = standardized.numpy() @ best_weights.T + best_bias
    margins = np.abs(theirs[:, 0]) if classes == 2 else np.diff(np.sort(theirs, axis=1)[:, -2:], axis=1)[:, 0]
    same = (ours > 0) == (theirs > 0) if classes == 2 else ours.argmax(axis=1) == theirs.argmax(axis=1)
    assert same.reshape(-1)[margins > 0.1].all()
    assert (margins > 0.1).mean() > 0.9


def test_the_gap_that_is_told_is_about_the_gap_that_is() -> None:
    features, labels = digits()
    standardized, *best = scikit_learns(features, labels, 1e-2)
    smallest = objective(standardized, labels, *best, 1e-2)
    for iterations in (3, 5, 10, 15, 200):
        weights, bias, fit = solved(features, labels, 1e-2, iterations)
        gap = float(objective(standardized, labels, weights, bias, 1e-2) - smallest)
        assert fit.gap / 3 < gap < fit.gap * 3
        assert fit.converged == (iterations == 200) == (fit.gap <= 1e-6)


def test_the_covariance_saves_half_of_the_iterations_or_more() -> None:
    features, labels = digits()
    problem = linear.problem_of(features, labels, torch.ones(len(labels)).bool(), regression.curvature(features))
    blind = regression.Curvature(basis=torch.eye(160)[:, :1], variances=torch.ones(1), rest=torch.tensor(1.0))
    guided, unguided = (
        regression.solve(dataclasses.replace(problem, curvature=guide), 1e-2, torch.zeros(10, 161), 1000)
        for guide in (problem.curvature, blind)
    )
    assert guided.converged
    assert unguided.converged
    assert 2 * guided.iterations < unguided.iterations


def test_rows_that_are_not_fitted_do_not_matter_but_have_logits() -> None:
    features, labels = digits()
    rows = torch.arange(len(labels)) % 4 > 0
    guide, start = regression.curvature(features), torch.zeros(10, 161)
    fits = []
    for others in (0.0, 1e6):
        changed = torch.where(rows[:, None], features, others)
        fits.append(regression.solve(linear.problem_of(changed, labels, rows, guide), 1e-2, start, 200))
    assert torch.equal(fits[0].point, fits[1].point)
    assert torch.equal(fits[0].logits[:, rows], fits[1].logits[:, rows])
    assert not torch.equal(fits[0].logits[:, ~rows], fits[1].logits[:, ~rows])


def test_classes_that_train_lacks_are_never_predicted() -> None:
    train, test = clusters(120, 0, classes=2), clusters(50, 1, classes=2)
    once = evaluate("linear", fake_probe(*train, *test))
    again = evaluate("linear", fake_probe(train[0], train[1] * 5 + 2, test[0], test[1] * 5 + 2))
    assert scores(once) == scores(again)
    assert (once.predictions["linear"] * 5 + 2).tolist() == again.predictions["linear"].tolist()


def test_an_iteration_reads_a_few_numbers_however_many_steps_are_remembered() -> None:
    features, labels = digits()
    problem = linear.problem_of(features, labels, torch.ones(len(labels)).bool(), regression.curvature(features))
    with Watcher() as watcher:
        fit = regression.solve(problem, 1e-3, torch.zeros(10, 161), 200)
    assert fit.iterations >= 10
    # The gap, and slope and bend at each point of a line search.
    assert fit.iterations <= watcher.reads <= 7 * (fit.iterations + 1)


def test_large_features_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = digits()
    probe = fake_probe(features, labels, features, labels)
    with Watcher() as small:
        evaluate("linear", probe, iterations=3)
    assert small.largest >= features.numel()
    monkeypatch.setattr(regression, "LARGEST_COPY", 0)
    monkeypatch.setattr(regression, "SAMPLE", 400)
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 2**16)
    with Watcher() as large:
        evaluate("linear", probe, iterations=3)
    assert large.largest <= features.numel() / 4


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_end_in_a_sentence(split: str, value: float) -> None:
    probe = fake_probe(*clusters(40, 0), *clusters(40, 1))
    getattr(probe, split).vectors[3, 2] = value
    with pytest.raises(benchmark.TrainingError, match=f"some {split} features are not finite"):
        evaluate("linear", probe)


WIDE = """
import resource, torch
from types import SimpleNamespace as Fake
from bench_probes.linear import evaluate_linear
from bench_probes.params import LinearParams

torch.set_num_threads(2)
def split(count):
    generator = torch.Generator().manual_seed(count)
    features = torch.empty(count, 12288).normal_(generator=generator)
    return Fake(features=lambda: features, labels=torch.arange(count) % 10)
probe = Fake(train=split(50_000), test=split(10_000), tap="flat")
found = evaluate_linear(probe, LinearParams(strengths=(1.0, 0.1), iterations=2))
print(found.details["iterations"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_50000_images_of_12288_features_fit_into_6_gigabytes_together_with_their_features() -> None:
    done = subprocess.run([sys.executable, "-c", WIDE], check=True, capture_output=True, text=True)
    iterations, gigabytes = done.stdout.split()
    assert int(iterations) > 0
    assert 2.9 < float(gigabytes) < 5.5


def test_the_scale_and_shift_of_a_feature_change_nothing() -> None:
    (train, train_labels), (test, test_labels) = clusters(120, 0, noise=2.0), clusters(60, 1, noise=2.0)
    scale, shift = torch.logspace(-3, 3, 6), torch.tensor([5.0, -3.0, 0.0, 1.0, 2.0, -40.0])
    once = evaluate("linear", fake_probe(train, train_labels, test, test_labels))
    again = evaluate("linear", fake_probe(train * scale + shift, train_labels, test * scale + shift, test_labels))
    assert (once.predictions["linear"] == again.predictions["linear"]).mean() >= 0.98
    assert once.details["strength"] == again.details["strength"]


def test_constant_features_do_no_harm() -> None:
    (train, train_labels), (test, test_labels) = clusters(120, 0), clusters(60, 1)
    once = evaluate("linear", fake_probe(train, train_labels, test, test_labels))
    train, test = (
        torch.cat([part, torch.full((len(part), 2), 7.3), torch.zeros(len(part), 1)], 1) for part in (train, test)
    )
    assert scores(evaluate("linear", fake_probe(train, train_labels, test, test_labels))) == scores(once)


def test_a_tenth_of_each_class_is_held_out() -> None:
    labels = np.repeat([0, 1, 2], [100, 40, 10])
    assert np.bincount(labels[linear.hold_out(labels)]).tolist() == [10, 4, 1]
    assert (linear.hold_out(labels) == linear.hold_out(labels)).all()


def test_a_class_with_one_image_is_never_held_out() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    assert np.bincount(labels[linear.hold_out(labels)], minlength=3).tolist() == [1, 0, 1]
    features = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    assert scores(evaluate("linear", fake_probe(features, labels, features, labels)))["accuracy"] == 1.0


def test_the_strongest_is_taken_where_nothing_can_be_held_out() -> None:
    features = torch.eye(3)
    evaluation = evaluate("linear", fake_probe(features, [0, 1, 2], features, [0, 1, 2]))
    assert evaluation.details["strength"] == 1.0
    assert not evaluation.details["at_edge"]


def test_of_equally_accurate_strengths_the_strongest_is_chosen() -> None:
    train = clusters(100, 0, noise=0.01)
    evaluation = evaluate("linear", fake_probe(*train, *train), strengths=(1e-3, 1e-1, 1e-2))
    assert set(evaluation.details["hold_out_accuracy"].values()) == {1.0}
    assert evaluation.details["strength"] == 0.1
    assert evaluation.details["at_edge"]


def test_two_classes_are_enough_and_fewer_images_than_features_too() -> None:
    train, test = clusters(20, 0, classes=2, width=50), clusters(30, 1, classes=2, width=50)
    assert scores(evaluate("linear", fake_probe(*train, *test)))["accuracy"] > 0.9


def test_one_class_is_refused() -> None:
    features = torch.ones(4, 2)
    with pytest.raises(benchmark.UnsupportedError, match="one class"):
        evaluate("linear", fake_probe(features, [0] * 4, features, [0] * 4))


def test_a_fit_that_is_cut_short_says_so_without_a_warning() -> None:
    train = clusters(100, 0)
    details = evaluate("linear", fake_probe(*train, *train), iterations=1).details
    assert (details["converged"], details["all_converged"], details["iterations"]) == (False, False, 1)


@pytest.mark.parametrize("wrong", [{"strengths": ()}, {"strengths": (0.0,)}, {"iterations": 0}])
def test_impossible_fits_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        LinearParams(**wrong)


# --- retrieval --------------------------------------------------------------------------------------------------------


def test_a_ranking_by_hand() -> None:
    # Relevant at ranks 1, 3 and 4: average precision (1 + 2/3 + 3/4) / 3; two of the first three are relevant.
    hits = torch.tensor([[True, False, True, True, False], [False, True, False, False, False], [False] * 5])
    found = retrieval.ranking_scores(hits, RetrievalParams(precision_at=(2,), recall_at=(1, 2)))
    nan = float("nan")
    expected = {
        "map": [(1 + 2 / 3 + 3 / 4) / 3, 1 / 2, nan],
        "r_precision": [2 / 3, 0.0, nan],
        "precision@k=2": [1 / 2, 1 / 2, nan],
        "recall@k=1": [1.0, 0.0, nan],
        "recall@k=2": [1.0, 1.0, nan],
    }
    assert found.keys() == expected.keys()
    for metric, values in expected.items():
        assert found[metric].tolist() == pytest.approx(values, nan_ok=True)


def test_average_precision_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "BLOCK_BYTES", 32 * 60 * 7)  # blocks of 7 queries
    features, labels = clusters(60, 0, noise=2.0)
    evaluation = evaluate("retrieval", fake_probe(features, labels, features, labels))
    cosines = torch.nn.functional.cosine_similarity(features[:, None], features[None], dim=2).double()
    for query, average_precision in enumerate(evaluation.measurements[0].outcomes):
        others = torch.arange(60) != query
        expected = average_precision_score((labels == labels[query])[others], cosines[query][others])
        assert average_precision == pytest.approx(expected, abs=1e-6)
    nearest = (cosines - 9 * torch.eye(60)).argsort(dim=1, descending=True)[:, :10]
    assert evaluation.predictions["neighbors"].tolist() == nearest.tolist()


def test_a_query_never_retrieves_itself_even_among_duplicates() -> None:
    features = torch.ones(30, 3)
    neighbor_ids = evaluate("retrieval", fake_probe(features, [0] * 30, features, [0] * 30)).predictions["neighbors"]
    assert neighbor_ids[0].tolist() == list(range(1, 11))
    assert neighbor_ids[20].tolist() == list(range(10))
    assert not (neighbor_ids == np.arange(30)[:, None]).any()


def test_queries_alone_in_their_class_are_left_out() -> None:
    features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    evaluation = evaluate("retrieval", fake_probe(features, [0, 0, 1], features, [0, 0, 1]))
    assert scores(evaluation) == {
        "map": 1.0,
        "r_precision": 1.0,
        "precision@k=2": 0.5,
        "recall@k=1": 1.0,
    }
    for measurement in evaluation.measurements:
        assert measurement.n == 2
        assert np.isnan(measurement.outcomes).tolist() == [False, False, True]


def test_hits_are_yes_or_no_where_every_query_has_one() -> None:
    features, labels = clusters(40, 0)
    evaluation = evaluate("retrieval", fake_probe(features, labels, features, labels))
    kinds = {measurement.metric: measurement.outcomes.dtype for measurement in evaluation.measurements}
    assert kinds["recall@k=1"] == np.bool_
    assert kinds["map"] == np.float32


def test_classes_of_one_image_each_are_refused() -> None:
    features = torch.eye(3)
    with pytest.raises(benchmark.UnsupportedError, match="two test images"):
        evaluate("retrieval", fake_probe(features, [0, 1, 2], features, [0, 1, 2]))


@pytest.mark.parametrize("wrong", [{"precision_at": (0,)}, {"recall_at": ()}])
def test_impossible_cuts_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        RetrievalParams(**wrong)
