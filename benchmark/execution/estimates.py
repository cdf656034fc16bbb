"""How long a cell will take and what memory it will hold, as the records of an output folder have it.

Nothing is measured ahead: where no record is like a cell, nothing is said of it. Of a cell the seconds of training follow
from images seen, those of scoring are taken as they were: which evaluators are asked for is not looked at.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.api.cells import Cell
from benchmark.execution.cell_state import PendingCell
from benchmark.records.columns import RecordSummary

Similarity = tuple[str, ...]
"""What cells have in common: the kind of likeness and the words that it is by."""


@dataclass(frozen=True, kw_only=True)
class KnownCost:
    """Medians over records that are alike; None where none of them says it."""

    rate: float | None
    """Seconds of training for each image seen."""
    scoring: float | None
    """Seconds of scoring, of all evaluators together."""
    images: float | None
    """Images seen in an epoch."""


@dataclass
class _Gathered:
    """The same before the medians."""

    rates: list[float] = field(default_factory=list)
    scoring: list[float] = field(default_factory=list)
    images: list[float] = field(default_factory=list)

    def add(self, brief: RecordSummary) -> None:
        if brief.images_seen and brief.train_seconds is not None:
            self.rates.append(brief.train_seconds / brief.images_seen)
            if brief.common.epochs:
                self.images.append(brief.images_seen / brief.common.epochs)
        if brief.evaluate_seconds is not None:
            self.scoring.append(brief.evaluate_seconds)

    def known(self) -> KnownCost:
        rate, scoring, images = (
            statistics.median(values) if values else None for values in (self.rates, self.scoring, self.images)
        )
        return KnownCost(rate=rate, scoring=scoring, images=images)


class Estimates:
    """What finished cells say of those that are planned.

    Args:
        briefs: records, of which those that are done on this kind of device count.
        device_kind: `cpu`, `cuda`.
        images: fingerprint of a dataset -> its training images.
    """

    def __init__(self, briefs: Iterable[RecordSummary], device_kind: str, images: Mapping[str, int]) -> None:
        gathered: dict[Similarity, _Gathered] = {}
        self._images = images
        self._memory: dict[tuple[object, ...], float] = {}
        self._guesses: dict[tuple[object, ...], tuple[float | None, float | None, int | None]] = {}
        for brief in briefs:
            common = brief.common
            if brief.state != "done" or common.device_kind != device_kind:
                continue
            for alike in _alikes(common.method, common.encoder, common.dataset):
                gathered.setdefault(alike, _Gathered()).add(brief)
            key = (common.method, common.encoder, common.dataset, common.batch)
            if brief.peak_memory_bytes is not None:
                self._memory[key] = max(self._memory.get(key, 0), brief.peak_memory_bytes)
        self._known = {alike: each.known() for alike, each in gathered.items()}

    def guess(self, cell: Cell) -> tuple[float | None, int | None]:
        """(seconds of training and scoring, bytes held at most); None where no record is like it."""
        training, scoring, memory = self._guess(cell)
        if training is None or (scoring is None and not cell.recipe.epochs):
            return None, memory
        return training + (scoring or 0.0), memory

    def seconds(self, errand: PendingCell) -> float | None:
        """Of what is left to do of a planned cell: one that only lacks scores is not trained again."""
        if errand.standing == "scores missing" and not errand.retrain:
            return self._guess(errand.cell)[1]
        return self.guess(errand.cell)[0]

    def _guess(self, cell: Cell) -> tuple[float | None, float | None, int | None]:
        """(seconds of training, seconds of scoring, bytes), looked up once for all seeds."""
        if cell.smoke:  # a few steps, of which nothing is kept that would tell
            return None, None, None
        labels, recipe = (cell.method.label, cell.encoder.label, cell.dataset.label), cell.recipe
        key = (*labels, cell.fingerprint, cell.subset, recipe.epochs, recipe.batch)
        if key not in self._guesses:
            bytes_held = self._memory.get((*labels, recipe.batch))
            self._guesses[key] = (
                self._training(cell),
                self._nearest(cell, "scoring"),
                None if bytes_held is None else int(bytes_held),
            )
        return self._guesses[key]

    def _training(self, cell: Cell) -> float | None:
        if not cell.recipe.epochs:
            return 0.0
        rate, images = self._nearest(cell, "rate"), self._images_of(cell)
        return None if rate is None or images is None else rate * images * cell.recipe.epochs

    def _images_of(self, cell: Cell) -> float | None:
        """In an epoch: as the same method has seen them (some take unlabeled ones as well), else the dataset's."""
        same, *_ = _alikes(cell.method.label, cell.encoder.label, cell.dataset.label)
        known = self._known.get(same)
        if known is not None and known.images is not None:
            return known.images
        return cell.subset or self._images.get(cell.fingerprint)

    def _nearest(self, cell: Cell, name: str) -> float | None:
        """A median over the records most like a cell that have it."""
        alikes = _alikes(cell.method.label, cell.encoder.label, cell.dataset.label)
        found = (getattr(self._known[alike], name) for alike in alikes if alike in self._known)
        return next((value for value in found if value is not None), None)


def _alikes(method: str, encoder: str, dataset: str) -> tuple[Similarity, ...]:
    """By what records are like a cell, nearest first: all labels; names of method and encoder; encoder and dataset."""
    names = (method.partition("[")[0], encoder.partition("[")[0])
    return ("cell", method, encoder, dataset), ("names", *names), ("encoder, dataset", encoder, dataset)


def on_slots(seconds: Sequence[float], slots: int) -> float:
    """Seconds that cells take side by side, begun longest first: no schedule is shorter, and that one hardly longer."""
    return max(max(seconds, default=0.0), sum(seconds) / slots)


def as_words(seconds: float) -> str:
    """A time as people say it: `40 s`, `2.5 min`, `12 h`."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"
