"""Telling people how far things are: bars on a terminal, plain lines elsewhere, nothing in tests.

Everything that happens to a cell is one frozen `Event`, so that it can cross a process boundary as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Literal, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EventKind = Literal["started", "stage", "step", "epoch", "finished", "note"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a cell."""

    kind: EventKind
    cell: str
    """The cell's title; empty for a note about the whole run."""
    stage: str = ""
    """`train`, `features`, `evaluate knn`; for `finished` the state it ended in."""
    done: int = 0
    """Steps of the stage that are behind (epochs in training; of a `step`, which only shows that things move, likewise)."""
    total: int = 0
    """Steps of the stage; 0 where that is not known."""
    values: Mapping[str, float] = field(default_factory=dict)
    """`loss`, `images/s`, `seconds`."""
    text: str = ""
    """A reason, a remark."""


class Reporter(Protocol):
    """Somebody who wants to know."""

    def __call__(self, event: Event) -> None:
        """Takes note of one event; must not raise."""
        ...


def silent(event: Event) -> None:
    """A reporter for tests and for `-q`."""


class PlainReporter:
    """One line for each thing worth a line: for pipes and log files.

    Args:
        stream: where to; default standard error, so that tables can be piped.
        cells: how many cells there are to do.
        interval: seconds between two lines about the epochs of one cell.
    """

    def __init__(self, cells: int, stream: IO[str] | None = None, interval: float = 10.0) -> None:
        self._stream = stream or sys.stderr
        self._cells = cells
        self._finished = 0
        self._interval = interval
        self._last: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Prints the event if it is worth a line."""
        line = self._line(event)
        if line:
            self._stream.write(line + "\n")
            self._stream.flush()

    def _line(self, event: Event) -> str:
        if event.kind == "note":
            return event.text
        if event.kind == "started":
            return f"{event.cell}: started{_on(event.text)}"
        if event.kind == "finished":
            self._finished += 1
            seconds = event.values.get("seconds", 0.0)
            reason = f": {event.text}" if event.text else ""
            return f"[{self._finished}/{self._cells}] {event.cell}: {event.stage} after {seconds:.1f} s{reason}"
        now = time.monotonic()
        if event.kind == "epoch" and (
            event.done == event.total or now - self._last.get(event.cell, 0.0) >= self._interval
        ):
            self._last[event.cell] = now
            return f"{event.cell}: epoch {event.done}/{event.total}{_values(event.values)}"
        return ""


class RichReporter:
    """Bars on a terminal: one for the cells, one for each cell that is running. A context manager."""

    def __init__(self, cells: int, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # the brackets of aet[transform=affine] are no markup
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._all = self._progress.add_task("cells", total=cells, detail="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> RichReporter:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Moves the bar of the event's cell."""
        if event.kind == "note":
            self._print(event.text)
        elif event.kind == "finished":
            self._finish(event)
        elif event.kind != "step":
            self._move(event)

    def _move(self, event: Event) -> None:
        if event.cell not in self._tasks:
            self._tasks[event.cell] = self._progress.add_task(event.cell, total=None, detail="")
        task = self._tasks[event.cell]
        detail = event.stage + _values(event.values)
        self._progress.update(task, completed=event.done, total=event.total or None, detail=detail)

    def _finish(self, event: Event) -> None:
        if event.cell in self._tasks:
            self._progress.remove_task(self._tasks.pop(event.cell))
        self._progress.advance(self._all)
        seconds = event.values.get("seconds", 0.0)
        reason = f": {event.text}" if event.text else ""
        self._print(f"{event.cell}: {event.stage} after {seconds:.1f} s{reason}")

    def _print(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)


def _values(values: Mapping[str, float]) -> str:
    shown = [f"{name} {value:,.0f}" if name == "images/s" else f"{name} {value:.4f}" for name, value in values.items()]
    return f" ({', '.join(shown)})" if shown else ""


def _on(device: str) -> str:
    return f" on {device}" if device else ""
