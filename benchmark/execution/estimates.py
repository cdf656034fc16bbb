"""Estimate time and memory of planned cells from the records of an output folder.

Nothing is measured in advance: a cell without a similar record has no estimate. Training time is proportional to the images
seen. Scoring time is taken from similar records, whichever evaluators they used.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.api.cells import Cell
from benchmark.execution.cell_state import PendingCell
from benchmark.records.columns import RecordSummary

Similarity = tuple[str, ...]
"""Key of similar cells: the kind of similarity, then the names that are equal."""


@dataclass(frozen=True, kw_only=True)
class KnownCost:
    """Medians over similar records; None if no similar record has the value."""

    train_rate: float | None
    """Seconds of training per image seen."""
    scoring: float | None
    """Seconds of scoring, all evaluators together."""
    images: float | None
    """Images seen in one epoch."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The cost of one cell; None if no similar record has the value."""

    training: float | None
    """Seconds."""
    scoring: float | None
    """Seconds."""
    memory: int | None
    """Bytes held at most."""


@dataclass
class _Samples:
    """Values of similar records, before the medians."""

    train_rates: list[float] = field(default_factory=list)
    scoring: list[float] = field(default_factory=list)
    images: list[float] = field(default_factory=list)

    def add(self, summary: RecordSummary) -> None:
        if summary.images_seen and summary.train_seconds is not None:
            self.train_rates.append(summary.train_seconds / summary.images_seen)
            if summary.shared.epochs:
                self.images.append(summary.images_seen / summary.shared.epochs)
        if summary.evaluate_seconds is not None:
            self.scoring.append(summary.evaluate_seconds)

    def medians(self) -> KnownCost:
        train_rate, scoring, images = (
            statistics.median(values) if values else None for values in (self.train_rates, self.scoring, self.images)
        )
        return KnownCost(train_rate=train_rate, scoring=scoring, images=images)


class Estimates:
    """Estimates for planned cells.

    Args:
        summaries: records. Those that are done on this kind of device count.
        device_kind: `cpu` or `cuda`.
        images: fingerprint of a dataset -> number of its training images.
    """

    def __init__(self, summaries: Iterable[RecordSummary], device_kind: str, images: Mapping[str, int]) -> None:
        samples: dict[Similarity, _Samples] = {}
        self._images = images
        self._memory: dict[tuple[object, ...], float] = {}
        self._estimates: dict[tuple[object, ...], Estimate] = {}
        for summary in summaries:
            shared = summary.shared
            if summary.state != "done" or shared.device_kind != device_kind:
                continue
            for similarity in _similarities(*shared.labels):
                samples.setdefault(similarity, _Samples()).add(summary)
            key = (*shared.labels, shared.batch)
            if summary.peak_memory_bytes is not None:
                self._memory[key] = max(self._memory.get(key, 0), summary.peak_memory_bytes)
        self._known = {similarity: each.medians() for similarity, each in samples.items()}

    def cost(self, cell: Cell) -> tuple[float | None, int | None]:
        """(seconds of training and scoring, bytes held at most); None where no record is similar."""
        estimate = self._estimate(cell)
        if estimate.training is None or (estimate.scoring is None and not cell.recipe.epochs):
            return None, estimate.memory
        return estimate.training + (estimate.scoring or 0.0), estimate.memory

    def seconds(self, pending: PendingCell) -> float | None:
        """Seconds until a planned cell is done: a cell that only lacks scores is not trained again."""
        if pending.state == "scores missing" and not pending.retrain:
            return self._estimate(pending.cell).scoring
        return self.cost(pending.cell)[0]

    def _estimate(self, cell: Cell) -> Estimate:
        """The estimate of a cell, computed once for all its seeds."""
        if cell.smoke:  # a few steps, unlike any record
            return Estimate(training=None, scoring=None, memory=None)
        labels, recipe = _labels(cell), cell.recipe
        key = (*labels, cell.fingerprint, cell.subset, recipe.epochs, recipe.batch)
        if key not in self._estimates:
            memory = self._memory.get((*labels, recipe.batch))
            self._estimates[key] = Estimate(
                training=self._training_seconds(cell),
                scoring=self._nearest(cell, "scoring"),
                memory=None if memory is None else int(memory),
            )
        return self._estimates[key]

    def _training_seconds(self, cell: Cell) -> float | None:
        if not cell.recipe.epochs:
            return 0.0
        rate, images = self._nearest(cell, "train_rate"), self._images_of(cell)
        return None if rate is None or images is None else rate * images * cell.recipe.epochs

    def _images_of(self, cell: Cell) -> float | None:
        """Images in an epoch: as the same method saw them (some use unlabeled ones too), else those of the dataset."""
        same, *_ = _similarities(*_labels(cell))
        known = self._known.get(same)
        if known is not None and known.images is not None:
            return known.images
        return cell.subset or self._images.get(cell.fingerprint)

    def _nearest(self, cell: Cell, name: str) -> float | None:
        """The median of a value over the most similar records that have it."""
        for similarity in _similarities(*_labels(cell)):
            if similarity in self._known:
                value: float | None = getattr(self._known[similarity], name)
                if value is not None:
                    return value
        return None


def _labels(cell: Cell) -> tuple[str, str, str]:
    return cell.method.label, cell.encoder.label, cell.dataset.label


def _similarities(method: str, encoder: str, dataset: str) -> tuple[Similarity, ...]:
    """Nearest first: equal labels; equal names of method and encoder; equal encoder and dataset."""
    names = (method.partition("[")[0], encoder.partition("[")[0])
    return ("cell", method, encoder, dataset), ("names", *names), ("encoder, dataset", encoder, dataset)


def on_slots(seconds: Sequence[float], slots: int) -> float:
    """Seconds until all cells are done on a number of slots: a lower bound that longest-first nearly reaches."""
    return max(max(seconds, default=0.0), sum(seconds) / slots)


def as_words(seconds: float) -> str:
    """A duration as readable text: `40 s`, `2.5 min`, `12 h`."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"
