"""What holds for `linear`, `knn` and `retrieval` alike."""

from __future__ import annotations

import pytest
import torch
from probe_samples import clusters, evaluate, fake_probe, scores, spec


@pytest.mark.parametrize("name", ["linear", "knn", "retrieval"])
def test_predictions_do_not_depend_on_test_labels(name: str) -> None:
    train, test = clusters(60, 0), clusters(40, 1)
    once = evaluate(name, fake_probe(*train, *test))
    repeated = evaluate(name, fake_probe(*train, test[0], test[1].flip(0)))
    assert scores(once) != scores(repeated)
    assert once.predictions.keys() == repeated.predictions.keys()
    assert all((once.predictions[key] == repeated.predictions[key]).all() for key in once.predictions)


@pytest.mark.parametrize("name", ["linear", "knn", "retrieval"])
def test_scores_are_declared_and_are_means_of_their_outcomes(name: str) -> None:
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
def test_features_are_not_changed(name: str) -> None:
    (train, train_labels), (test, test_labels) = clusters(60, 0), clusters(40, 1)
    evaluate(name, fake_probe(train, train_labels, test, test_labels))
    assert torch.equal(train, clusters(60, 0)[0])
    assert torch.equal(test, clusters(40, 1)[0])


@pytest.mark.parametrize("name", ["linear", "knn", "retrieval"])
def test_evaluation_is_deterministic(name: str) -> None:
    once, repeated = (evaluate(name, fake_probe(*clusters(60, 0), *clusters(40, 1))) for _ in range(2))
    assert scores(once) == scores(repeated)
    assert once.details == repeated.details
