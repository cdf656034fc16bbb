"""A request for cells and scores, and the plan made from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.api.cells import Cell, ScoreRequest
from benchmark.api.grammar import Selection


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which cells to train, and which scores to compute."""

    methods: Sequence[Selection]
    encoders: Sequence[Selection]
    datasets: Sequence[Selection]
    evaluators: Sequence[Selection]
    taps: Literal["default", "all"] | tuple[str, ...] = "default"
    """Layers to score. `default`: the encoder's probe layer and its output."""
    seeds: tuple[int, ...] = (0,)
    budget: Literal["quick", "paper"] = "quick"
    epochs: int | None = None
    """Replaces the recipe's number of epochs; its schedule is scaled. None: as the recipe says."""
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Recipe key -> value, from --set."""
    floors: bool = True
    """Whether to add the methods that give a lower bound: raw pixels and untrained encoders."""
    smoke: bool = False
    """Train for a few steps only, to test that everything runs."""
    data_dir: Path = Path("data")


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell with its requested scores."""

    cell: Cell
    scores: tuple[ScoreRequest, ...]
    notes: tuple[str, ...] = ()
    """Requested taps that the encoder does not have, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A combination that is not possible."""

    title: str
    reason: str
    combination: tuple[str, str, str] | None = None
    """Labels of method, encoder and dataset; None if a single name was left out."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cells of a request, each once, in the order of the request, floors last."""

    cells: tuple[PlannedCell, ...]
    skips: tuple[Skip, ...] = ()
    images: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Fingerprint of a dataset -> number of its training images, before any subset."""
