"""Check evaluators for leakage: whether test labels change their predictions, and whether they encode further images.

The result is recorded and shown. No score is removed or changed because of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.api.cells import Json, ScoreRequest
from benchmark.api.encoders import Layout, Pool
from benchmark.api.evaluators import EvaluatorSpec
from benchmark.errors import PLUGIN_ERRORS
from benchmark.evaluation.evaluate import FeatureSource, LabeledImages, Subject, evaluate
from benchmark.images import stratified_subset

AUDIT_TRAIN, AUDIT_TEST = 256, 128
"""Number of training and test images of the trial with permuted test labels."""
AUDIT_SECONDS = 5.0
"""An evaluator that took longer than this on the whole dataset is not tried."""

Predictions = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class _Excerpt:
    """The features of some images of each split: a `FeatureSource`."""

    source: FeatureSource
    indices: Mapping[str, Tensor]
    """Split -> (N,) int64."""

    @property
    def layout(self) -> Layout:
        return self.source.layout

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        features = self.source.read(split, tap, pool)
        return features[self.indices[split].to(features.device)]

    def encode(self, images: Tensor, tap: str) -> Tensor:
        return self.source.encode(images, tap)


def depends_on_test_labels(subject: Subject, request: ScoreRequest, spec: EvaluatorSpec, params: Any) -> bool | None:
    """Whether an evaluator's predictions for a few images change when the test labels are permuted.

    Args:
        subject: features and labels; a few images of them are used.
        request: the tap, the pooling and the protocol.
        spec: the evaluator.
        params: an instance of its `params` dataclass.

    Returns:
        None if it cannot be decided: the evaluator makes no predictions, fails on few images or is not deterministic.
    """
    excerpt = _excerpt_of(subject)
    labels = excerpt.test.labels
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    permuted = labels[order.to(labels.device)]
    if torch.equal(labels, permuted):
        return None
    relabeled = dataclasses.replace(excerpt, test=LabeledImages(images=excerpt.test.images, labels=permuted))
    with torch.random.fork_rng(devices=[]):
        first = _predictions(excerpt, request, spec, params)
        second = _predictions(relabeled, request, spec, params)
        if not first or second is None:
            return None
        if _are_equal(first, second):
            return False
        repeated = _predictions(excerpt, request, spec, params)
    return True if repeated is not None and _are_equal(first, repeated) else None


def _predictions(subject: Subject, request: ScoreRequest, spec: EvaluatorSpec, params: Any) -> Predictions | None:
    try:
        return dict(evaluate(subject, request, spec, params).predictions)
    except PLUGIN_ERRORS:  # plugin code: it may not support so few images, or these labels
        return None


def _are_equal(one: Predictions, other: Predictions) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def _excerpt_of(subject: Subject) -> Subject:
    """Some training images of each class, and some test images."""
    classes = len(torch.unique(subject.train.labels))
    count = min(len(subject.train.labels), max(AUDIT_TRAIN, classes))
    indices = {
        "train": stratified_subset(subject.train.labels, count),
        "test": torch.arange(min(AUDIT_TEST, len(subject.test.labels))),
    }

    def selected(split: LabeledImages, index: Tensor) -> LabeledImages:
        return LabeledImages(
            images=split.images[index.to(split.images.device)], labels=split.labels[index.to(split.labels.device)]
        )

    return dataclasses.replace(
        subject,
        source=_Excerpt(source=subject.source, indices=indices),
        train=selected(subject.train, indices["train"]),
        test=selected(subject.test, indices["test"]),
    )


@dataclass
class LeakageChecks:
    """Leakage checks of the evaluators of one cell, by evaluator label."""

    audit_seconds: float = AUDIT_SECONDS
    """An evaluator that took longer is not tried with permuted test labels."""
    audited: set[str] = field(default_factory=set)
    """Evaluators that were tried with permuted test labels."""
    chosen_on_test: set[str] = field(default_factory=set)
    """Evaluators whose predictions changed with the test labels."""
    augmented: set[str] = field(default_factory=set)
    """Evaluators that encoded further images: augmented views, in most cases."""

    def check(
        self,
        subject: Subject,
        request: ScoreRequest,
        spec: EvaluatorSpec,
        params: Any,
        *,
        seconds: float,
        encoded: bool,
    ) -> None:
        """Checks an evaluator after it scored a tap. Each evaluator is tried at most once, whatever the number of taps.

        Args:
            subject: what was scored.
            request: the tap, the pooling and the evaluator.
            spec: the evaluator.
            params: an instance of its `params` dataclass.
            seconds: duration of the evaluation.
            encoded: whether the evaluator encoded images itself.
        """
        name = request.evaluator.label
        if encoded:
            self.augmented.add(name)
        if name in self.audited or seconds > self.audit_seconds:
            return
        depends = depends_on_test_labels(subject, request, spec, params)
        if depends is not None:
            self.audited.add(name)
            if depends:
                self.chosen_on_test.add(name)

    def merged_with(self, checks: Json) -> Json:
        """The checks as a record holds them, together with those that the record already has."""
        names = {"audited": self.audited, "chosen_on_test": self.chosen_on_test, "augmented": self.augmented}
        return {key: sorted(labels | set(checks.get(key, ()))) for key, labels in names.items()}
