"""What a user requests, and the plan that follows from it."""

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
    """What somebody asked for."""

    methods: Sequence[Selection]
    encoders: Sequence[Selection]
    datasets: Sequence[Selection]
    evaluators: Sequence[Selection]
    taps: Literal["default", "all"] | tuple[str, ...] = "default"
    seeds: tuple[int, ...] = (0,)
    budget: Literal["quick", "paper"] = "quick"
    epochs: int | None = None
    """Instead of the recipe's own number; its schedule is stretched or shrunk."""
    overrides: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Recipe keys from --set."""
    floors: bool = True
    smoke: bool = False
    data_dir: Path = Path("data")


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """A cell with the scores that are wanted of it."""

    cell: Cell
    scores: tuple[ScoreRequest, ...]
    notes: tuple[str, ...] = ()
    """Taps that this encoder does not have."""


@dataclass(frozen=True, kw_only=True)
class Skip:
    """A combination that makes no sense."""

    title: str
    reason: str
    combination: tuple[str, str, str] | None = None
    """Labels of method, encoder and dataset; None where a single name was left out."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All cells, each once, in the order they were asked for, floors last."""

    cells: tuple[PlannedCell, ...]
    skips: tuple[Skip, ...] = ()
    images: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Fingerprint of a dataset -> its training images, of which a subset may be taken."""
