"""Telling people how far things are: a line for each slot on a terminal, plain lines elsewhere, nothing in tests.

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


@dataclass
class _Slot:
    """A line of the live view."""

    task: TaskID
    device: str = ""
    cell: str = ""
    """Empty while it is free."""


class RichReporter:
    """Lines on a terminal: one for all cells, one for each slot. A context manager.

    Args:
        cells: how many cells there are to do.
        console: where to; default standard error, so that tables can be piped.
        slots: how many cells run at once; None: as many lines as there ever were cells at once.
    """

    def __init__(self, cells: int, console: Console | None = None, slots: int | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # the brackets of aet[transform=affine] are no markup
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._cells = cells
        self._finished: set[str] = set()
        self._all = self._progress.add_task("cells", total=cells, detail="", count=f"0/{cells}")
        self._slots: list[_Slot] = []
        for _ in range(min(cells, slots or 0)):
            self._new_slot()

    def __enter__(self) -> RichReporter:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Shows the event on the line of its cell."""
        if event.kind == "note":
            self._print(event.text)
        elif event.kind == "started":
            self._finished.discard(event.cell)  # tried once more
            self._take(event.cell, event.text)
        elif event.kind == "finished":
            self._finish(event)
        elif event.kind != "step":
            self._move(event)
        self._count()

    def _move(self, event: Event) -> None:
        slot = self._line_of(event.cell) or self._take(event.cell, "")
        count = f"{event.done}/{event.total}" if event.total else ""
        detail = event.stage + _values(event.values)
        self._progress.update(slot.task, completed=event.done, total=event.total or None, count=count, detail=detail)

    def _finish(self, event: Event) -> None:
        slot = self._line_of(event.cell)
        if slot is not None:
            slot.cell = ""
            self._progress.reset(slot.task, total=1, description=_line("idle", slot.device), count="", detail="")
        self._finished.add(event.cell)
        seconds = event.values.get("seconds", 0.0)
        reason = f": {event.text}" if event.text else ""
        self._print(f"{event.cell}: {event.stage} after {seconds:.1f} s{reason}")

    def _count(self) -> None:
        done = len(self._finished)
        if self._progress.tasks[0].completed != done:
            self._progress.update(self._all, completed=done, count=f"{done}/{self._cells}")

    def _line_of(self, cell: str) -> _Slot | None:
        return next((slot for slot in self._slots if slot.cell == cell), None)

    def _take(self, cell: str, device: str) -> _Slot:
        """A free line, of the same device if there is one; a new one where none is free."""
        slot = self._line_of(cell)
        if slot is None:
            free = [slot for slot in self._slots if not slot.cell]
            free.sort(key=lambda slot: (slot.device != device, slot.device != ""))  # then one that had no device yet
            slot = free[0] if free else self._new_slot()
        slot.cell, slot.device = cell, device
        self._progress.reset(slot.task, total=None, description=_line(cell, device), count="", detail="")
        return slot

    def _new_slot(self) -> _Slot:
        self._slots.append(_Slot(task=self._progress.add_task("idle", total=1, detail="", count="")))
        return self._slots[-1]

    def _print(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)


def _line(cell: str, device: str) -> str:
    return f"{device}  {cell}" if device else cell


def values_as_words(values: Mapping[str, float]) -> str:
    """`loss 0.5000, images/s 1,234`."""
    shown = [f"{name} {value:,.0f}" if name == "images/s" else f"{name} {value:.4f}" for name, value in values.items()]
    return ", ".join(shown)


def _values(values: Mapping[str, float]) -> str:
    return f" ({values_as_words(values)})" if values else ""


def _on(device: str) -> str:
    return f" on {device}" if device else ""
