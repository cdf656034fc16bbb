"""Leakage checks: an evaluator that uses test labels is detected, and so are labels and test images in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sample_jobs import run_done, third_party_job
from torch import Tensor

import benchmark
from benchmark.api.catalog import Catalog, load_catalog
from benchmark.api.cells import Item, ScoreRequest
from benchmark.api.encoders import Layout, Tap
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.evaluation.evaluate import LabeledImages, Subject
from benchmark.evaluation.leakage import LeakageChecks, depends_on_test_labels
from benchmark.training.step import TrainingStep

# --- evaluators that use test labels ----------------------------------------------------------------------------------


class ClassFeatures:
    """Features that are far apart for different classes."""

    def __init__(self, labels: dict[str, Tensor]) -> None:
        self.layout = Layout(taps=(Tap(name="v", kind="vector", shape=(4,)),), output="v", probe="v")
        generator = torch.Generator().manual_seed(0)
        self.features = {
            split: torch.nn.functional.one_hot(each, 4).float() + 0.3 * torch.randn(len(each), 4, generator=generator)
            for split, each in labels.items()
        }

    def read(self, split: str, tap: str, pool: Any) -> Tensor:
        return self.features[split]

    def encode(self, images: Tensor, tap: str) -> Tensor:
        raise AssertionError("no evaluator of this file encodes images")


def subject() -> Subject:
    generator = torch.Generator().manual_seed(1)
    labels = {
        split: torch.randint(0, 4, (count,), generator=generator) for split, count in (("train", 400), ("test", 200))
    }
    blank = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    train, test = (
        LabeledImages(images=blank.expand(len(labels[split]), -1, -1, -1), labels=labels[split])
        for split in ("train", "test")
    )
    return Subject(source=ClassFeatures(labels), train=train, test=test, class_names=tuple("abcd"), fingerprint="made")


REQUEST = ScoreRequest(tap="v", pool="average", evaluator=Item(name="tried", label="tried"), protocol="tried@1")

Predict = Callable[[Any], Any]


def evaluator_of(predict: Predict) -> EvaluatorSpec:
    def evaluate(probe: Any, params: Any) -> benchmark.Evaluation:
        predicted = predict(probe)
        correct = np.ones(len(probe.test.labels), dtype=bool)
        measured = benchmark.Measurement(metric="accuracy", value=1.0, n=len(correct), outcomes=correct)
        named = {} if predicted is None else {"tried": predicted}
        return benchmark.Evaluation(measurements=(measured,), predictions=named)

    return EvaluatorSpec(name="tried", summary="", evaluate=evaluate, metrics=(benchmark.Metric(name="accuracy"),))


def nearest_mean(probe: Any) -> Any:
    features, labels = probe.train.features(), probe.train.labels
    means = torch.stack([features[labels == label].mean(dim=0) for label in range(4)])
    return torch.cdist(probe.test.features(), means).argmin(dim=1).numpy()


def predict_test_labels(probe: Any) -> Any:
    return probe.test.labels.numpy()


def best_of_two_on_test(probe: Any) -> Any:
    guesses = [nearest_mean(probe), (nearest_mean(probe) + 1) % 4]
    accuracy = float((guesses[0] == probe.test.labels.numpy()).mean())
    return guesses[0] if accuracy > 0.6 else guesses[1]


def unsupported(probe: Any) -> Any:
    raise benchmark.UnsupportedError("too few images")


@pytest.mark.parametrize(
    ("predict", "depends"),
    [
        (nearest_mean, False),
        (predict_test_labels, True),
        (best_of_two_on_test, True),
        (lambda probe: None, None),
        (lambda probe: np.random.default_rng().random(len(probe.test.labels)), None),
        (unsupported, None),
    ],
    ids=["from features", "test labels", "best setting on test", "no predictions", "not deterministic", "unsupported"],
)
def test_dependence_on_test_labels_is_detected(predict: Predict, depends: bool | None) -> None:
    assert depends_on_test_labels(subject(), REQUEST, evaluator_of(predict), None) is depends


def checked(predict: Predict, *, calls: int = 1, seconds: float = 0.1, encoded: bool = False) -> dict[str, Any]:
    checks = LeakageChecks()
    for _ in range(calls):
        checks.check(subject(), REQUEST, evaluator_of(predict), None, seconds=seconds, encoded=encoded)
    return checks.merged_with({})


@pytest.mark.parametrize(
    ("predict", "options", "names"),
    [
        (nearest_mean, {}, ("audited",)),
        (predict_test_labels, {}, ("audited", "chosen_on_test")),
        (nearest_mean, {"encoded": True}, ("audited", "augmented")),
        (predict_test_labels, {"seconds": 1000.0}, ()),
        (unsupported, {}, ()),
    ],
    ids=["clean", "test labels", "augmented", "slow", "undecided"],
)
def test_checks_name_the_evaluators(predict: Predict, options: dict[str, Any], names: tuple[str, ...]) -> None:
    every = ("audited", "chosen_on_test", "augmented")
    assert checked(predict, **options) == {key: ["tried"] if key in names else [] for key in every}


def test_evaluator_is_tried_once_for_all_taps() -> None:
    calls = []

    def counted(probe: Any) -> Any:
        calls.append(probe)
        return nearest_mean(probe)

    checked(counted, calls=3)
    assert len(calls) == 2  # with the labels and with permuted labels


def test_checks_are_merged_with_those_of_the_record() -> None:
    checks = LeakageChecks(audited={"knn"}, augmented={"linear"})
    assert checks.merged_with({"audited": ["conv", "knn"], "frozen": True}) == {
        "audited": ["conv", "knn"],
        "chosen_on_test": [],
        "augmented": ["linear"],
    }


# --- in a record ------------------------------------------------------------------------------------------------------


def test_clean_cell_has_clean_checks(third_party: Path, tmp_path: Path) -> None:
    checks = run_done(third_party_job(tmp_path / "runs")).checks
    assert checks["labels_unseen"] is True
    assert checks["frozen"] is True
    assert checks["overlap"]["of"] > 0
    assert checks["audited"] == ["centroid"]
    assert checks["chosen_on_test"] == checks["augmented"] == []


def test_labels_that_reach_a_method_without_labels_are_recorded(
    third_party: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TrainingStep.make_batch

    def leaking(self: Any, raw: Tensor, index: Tensor, progress: float) -> benchmark.Batch:
        return dataclasses.replace(real(self, raw, index, progress), labels=index)

    monkeypatch.setattr(TrainingStep, "make_batch", leaking)
    assert run_done(third_party_job(tmp_path / "runs")).checks["labels_unseen"] is False


def catalog_with(kind: str, name: str, **changes: Any) -> Catalog:
    """The installed plugins, with changes of one spec."""
    catalog = load_catalog()
    entries = tuple(
        dataclasses.replace(entry, spec=dataclasses.replace(entry.spec, **changes))
        if entry.spec.name == name
        else entry
        for entry in getattr(catalog, kind)
    )
    return dataclasses.replace(catalog, **{kind: entries})


def spec_of(kind: str, name: str) -> Any:
    return next(entry.spec for entry in getattr(load_catalog(), kind) if entry.spec.name == name)


def test_test_images_in_train_are_counted_in_the_record(third_party: Path, tmp_path: Path) -> None:
    load = spec_of("datasets", "stripes").load

    def leaking(params: Any, data_dir: Path) -> benchmark.Dataset:
        data = load(params, data_dir)
        images = data.train.images.copy()
        images[:2] = data.test.images[:2]
        return dataclasses.replace(data, train=dataclasses.replace(data.train, images=images))

    clean = run_done(third_party_job(tmp_path / "clean")).checks["overlap"]
    leaky = run_done(third_party_job(tmp_path / "leaky"), catalog=catalog_with("datasets", "stripes", load=leaking))
    assert leaky.checks["overlap"]["exact"] >= clean["exact"] + 2


@pytest.mark.parametrize("key", ["augmented", "chosen_on_test"])
def test_evaluator_that_encodes_views_or_uses_test_labels_is_recorded(
    third_party: Path, tmp_path: Path, key: str
) -> None:
    evaluate = spec_of("evaluators", "centroid").evaluate

    def encoding(probe: Any, params: Any) -> benchmark.Evaluation:
        probe.encode(probe.train.images[:4].float() / 255)
        evaluation: benchmark.Evaluation = evaluate(probe, params)
        return evaluation

    def cheating(probe: Any, params: Any) -> benchmark.Evaluation:
        return dataclasses.replace(evaluate(probe, params), predictions={"centroid": probe.test.labels.numpy()})

    function = {"augmented": encoding, "chosen_on_test": cheating}[key]
    catalog = catalog_with("evaluators", "centroid", evaluate=function)
    assert run_done(third_party_job(tmp_path / "runs"), catalog=catalog).checks[key] == ["centroid"]
