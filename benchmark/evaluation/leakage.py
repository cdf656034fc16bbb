"""What could make a number worth less than it seems, looked for: test images in train, test labels that choose, views.

What is found stands in a record's `checks` and as marks in tables. Nothing is left out or changed because of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api.cells import Json, ScoreRequest
from benchmark.api.encoders import Layout, Pool
from benchmark.api.evaluators import Evaluation, EvaluatorSpec
from benchmark.errors import RecordError, UnsupportedError
from benchmark.evaluation.evaluate import FeatureSource, LabeledImages, Subject, evaluate
from benchmark.images import blocks, stratified_subset, to_float
from benchmark.records.atomic import replaced

VERSION = 1
"""Of the overlap: raised when the same images give another count."""
NEAR = 0.97
"""Cosine of two images' pixels, each less its own mean, from which they count as nearly the same.

Of CIFAR-10's test images as JPEG files 62 have such a neighbor in train; with .9 it were 472, many of them two skies. What
was cropped, turned or colored otherwise is not found."""
SIDE = 16
"""Pixels to a side to which larger images are brought before they are compared."""
BLOCK = 2000
"""Test images compared at once."""
AUDIT_TRAIN, AUDIT_TEST = 256, 128
"""Images of the trial in which test labels are exchanged."""
AUDIT_SECONDS = 5.0
"""An evaluator that took longer on the whole set is not tried again."""

Resolve = Callable[[ScoreRequest], tuple[EvaluatorSpec, Any]]


# --- test images in train ---------------------------------------------------------------------------------------------


def overlap(train: Iterable[Tensor], test: Tensor) -> Json:
    """How many test images are also among the training images.

    Args:
        train: sets of images (N, C, H, W) uint8 that were trained on, of the test images' shape.
        test: (M, C, H, W) uint8.

    Returns:
        `exact`: test images of which some training image has the same bytes. `near`: those of the others for which the
        pixels of some training image, at most `SIDE` to a side and less their mean, have a cosine of `NEAR` or more.
        `of`: M. `threshold`: `NEAR`. Images of one color are near to nothing.
    """
    parts = list(train)
    known = {image.tobytes() for part in parts for image in part.cpu().numpy()}
    exact = torch.tensor([image.tobytes() in known for image in test.cpu().numpy()], dtype=torch.bool)
    near = torch.zeros(len(test), dtype=torch.bool)
    queries = _directions(test)
    for part in parts:
        for block in blocks(part, 4 * BLOCK):
            gallery = _directions(block)
            for start in range(0, len(queries), BLOCK):
                close = (queries[start : start + BLOCK] @ gallery.T).amax(dim=1) >= NEAR
                near[start : start + BLOCK] |= close.cpu()
    return {"exact": int(exact.sum()), "near": int((near & ~exact).sum()), "of": len(test), "threshold": NEAR}


def _directions(images: Tensor) -> Tensor:
    """(N, D) float32 of unit length: small pixels less their mean; zero for an image of one color."""
    found = []
    for block in blocks(images, BLOCK):
        pixels = to_float(block)
        if max(pixels.shape[-2:]) > SIDE:
            pixels = F.adaptive_avg_pool2d(pixels, SIDE)
        flat = pixels.flatten(1)
        found.append(F.normalize(flat - flat.mean(dim=1, keepdim=True), dim=1, eps=1e-6))
    return torch.cat(found) if found else images.new_zeros((0, 1), dtype=torch.float32)


def known_overlap(out: Path, key: str, count: Callable[[], Json]) -> Json:
    """The overlap of a dataset, counted once for an output folder and kept there; counted again where that cannot be read.

    Args:
        out: the output folder.
        key: what the count depends on: the dataset's fingerprint and subset.
        count: does it.
    """
    name = hashlib.sha256(f"{VERSION}/{key}".encode()).hexdigest()[:16]
    path = out / f".overlap-{name}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.keys() >= {"exact", "near", "of"}:
            return found
    except (OSError, ValueError):
        pass  # not there yet, or damaged
    found = count()
    try:
        with replaced(path, synced=False) as file:
            file.write(json.dumps(found).encode())
    except RecordError:
        pass  # counted again by the next cell
    return found


# --- test labels that choose ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The features of some images of each split."""

    source: FeatureSource
    places: dict[str, Tensor]

    @property
    def layout(self) -> Layout:
        return self.source.layout

    def read(self, split: str, tap: str, pool: Pool) -> Tensor:
        found = self.source.read(split, tap, pool)
        return found[self.places[split].to(found.device)]

    def encode(self, images: Tensor, tap: str) -> Tensor:
        return self.source.encode(images, tap)


def depends_on_test_labels(subject: Subject, request: ScoreRequest, resolve: Resolve) -> bool | None:
    """Whether an evaluator predicts otherwise when the labels of the test images are exchanged, on a few images.

    Returns:
        None where that cannot be told: it predicts nothing, makes no sense for so few images, or does not give the same
        twice.
    """
    part = _part_of(subject)
    labels = part.test.labels
    others = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1)).to(labels.device)]
    if torch.equal(labels, others):
        return None
    with torch.random.fork_rng(devices=[]):
        as_it_is = _predictions(part, request, resolve)
        exchanged = _predictions(_relabeled(part, others), request, resolve)
        if not as_it_is or exchanged is None:
            return None
        if _same(as_it_is, exchanged):
            return False
        again = _predictions(part, request, resolve)
    return True if again is not None and _same(as_it_is, again) else None


def _predictions(subject: Subject, request: ScoreRequest, resolve: Resolve) -> dict[str, Any] | None:
    try:
        ((_, _, found),) = evaluate(subject, [request], resolve)
    except UnsupportedError:
        return None
    except Exception:  # a stranger's evaluator that cannot do with few images, or with these labels
        return None
    return dict(_named(found))


def _named(found: Evaluation) -> Iterable[tuple[str, Any]]:
    return found.predictions.items()


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def _part_of(subject: Subject) -> Subject:
    """Some images of each class of train, and some of test."""
    classes = len(torch.unique(subject.train.labels))
    count = min(len(subject.train.labels), max(AUDIT_TRAIN, classes))
    places = {
        "train": stratified_subset(subject.train.labels, count),
        "test": torch.arange(min(AUDIT_TEST, len(subject.test.labels))),
    }

    def some(split: LabeledImages, chosen: Tensor) -> LabeledImages:
        return LabeledImages(
            images=split.images[chosen.to(split.images.device)], labels=split.labels[chosen.to(split.labels.device)]
        )

    return Subject(
        source=_Part(source=subject.source, places=places),
        train=some(subject.train, places["train"]),
        test=some(subject.test, places["test"]),
        class_names=subject.class_names,
        fingerprint=subject.fingerprint,
    )


def _relabeled(subject: Subject, labels: Tensor) -> Subject:
    return Subject(
        source=subject.source,
        train=subject.train,
        test=LabeledImages(images=subject.test.images, labels=labels),
        class_names=subject.class_names,
        fingerprint=subject.fingerprint,
    )


@dataclass
class LeakageChecks:
    """What was found while a cell was scored, by the evaluators' labels."""

    audited: set[str] = field(default_factory=set)
    """Those whose test labels were exchanged for a trial."""
    chosen_on_test: set[str] = field(default_factory=set)
    augmented: set[str] = field(default_factory=set)

    def look(self, subject: Subject, request: ScoreRequest, resolve: Resolve, seconds: float, encoded: bool) -> None:
        """After an evaluator has scored a tap.

        Args:
            subject: what was scored.
            request: by which evaluator, at which tap.
            resolve: as for `evaluate`.
            seconds: how long it took; only a quick one is tried again, once for all taps.
            encoded: whether it encoded images itself: augmented views, mostly.
        """
        name = request.evaluator.label
        if encoded:
            self.augmented.add(name)
        if name in self.audited or seconds > AUDIT_SECONDS:
            return
        depends = depends_on_test_labels(subject, request, resolve)
        if depends is not None:
            self.audited.add(name)
            if depends:
                self.chosen_on_test.add(name)

    def with_earlier(self, checks: Json) -> Json:
        """As checks of a record, with those that it has already."""
        found = {"audited": self.audited, "chosen_on_test": self.chosen_on_test, "augmented": self.augmented}
        return {key: sorted(names | set(checks.get(key, ()))) for key, names in found.items()}
