"""Progress of a run: a live display on a terminal or in a notebook, plain lines elsewhere.

Everything that happens to a cell is one frozen `Event`, so that an executor can send it from another process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Protocol, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmark.plain_text import message_text, visible

EventKind = Literal["started", "stage", "step", "epoch", "finished", "note"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a cell."""

    kind: EventKind
    """`step` only shows that the cell is alive; no reporter prints it."""
    cell: str
    """The cell's title; empty in a note about the whole run."""
    stage: str = ""
    """`train`, `features` or `evaluate knn`; in `finished`, the state in which the cell ended."""
    done: int = 0
    """Units of the stage that are complete: epochs in training, steps in a `step` event."""
    total: int = 0
    """Units of the stage; 0 if unknown."""
    values: Mapping[str, float] = field(default_factory=dict)
    """`loss`, `images/s`, `seconds`."""
    text: str = ""
    """In `started`, the device; in `finished`, the reason of a failure; in `note`, the note."""


class Reporter(Protocol):
    """Receives the events of a run."""

    def __call__(self, event: Event) -> None:
        """Handles one event; must not raise."""
        ...


def silent(event: Event) -> None:
    """Reporter that prints nothing."""


@contextlib.contextmanager
def reporter_for(cells: int, slots: int, quiet: bool = False) -> Iterator[Reporter]:
    """The reporter that fits the output: live display on a terminal or in a notebook, else plain lines.

    In a notebook, the live display needs ipywidgets; without it, plain lines go to standard output.

    Args:
        cells: number of cells to run.
        slots: number of cells that run at once.
        quiet: print nothing.
    """
    in_notebook = Console().is_jupyter
    if quiet or (sys.stderr is None and not in_notebook):
        yield silent
    elif sys.stderr.isatty() or (in_notebook and importlib.util.find_spec("ipywidgets") is not None):
        with RichReporter(cells, slots=slots) as reporter:
            yield reporter
    else:
        yield PlainReporter(cells, sys.stdout if in_notebook else None)


class _Tolerant:
    """A stream that drops what cannot be written: a closed terminal or a full disk does not end a run.

    Args:
        stream: where text goes.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PlainReporter:
    """Prints one line for each start, end, note and for some epochs: for pipes and log files.

    Args:
        cells: number of cells to run.
        stream: where lines go; default: standard error, so that tables can be piped.
        interval: least number of seconds between two epoch lines of a cell. The last epoch is always printed.
    """

    def __init__(self, cells: int, stream: IO[str] | None = None, interval: float = 10.0) -> None:
        self._stream = _Tolerant(stream or sys.stderr)
        self._cells = cells
        self._finished = 0
        self._interval = interval
        self._printed_at: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Prints a line for the event, unless it is a step, a stage or an epoch that is not due."""
        line = message_text(self._line(event))
        if line:
            self._stream.write(line + "\n")
            self._stream.flush()

    def _line(self, event: Event) -> str:
        if event.kind == "note":
            return event.text
        if event.kind == "started":
            return f"{event.cell}: started" + (f" on {event.text}" if event.text else "")
        if event.kind == "finished":
            self._finished += 1
            return f"[{self._finished}/{self._cells}] {_end_line(event)}"
        if event.kind == "epoch" and self._is_due(event):
            self._printed_at[event.cell] = time.monotonic()
            return f"{event.cell}: epoch {event.done}/{event.total}{_in_parentheses(event.values)}"
        return ""

    def _is_due(self, event: Event) -> bool:
        elapsed = time.monotonic() - self._printed_at.get(event.cell, 0.0)
        return event.done == event.total or elapsed >= self._interval


@dataclass
class _Slot:
    """A row of the live display."""

    task: TaskID
    """The row in rich's display."""
    device: str = ""
    """Device of the last cell; empty before the first one."""
    cell: str = ""
    """Title of the cell that the row shows; empty while the slot is idle."""


class RichReporter:
    """Live display: one row for all cells, one for each slot. A context manager; rich can render it.

    Args:
        cells: number of cells to run.
        console: where the display goes; default: standard error, so that tables can be piped.
        slots: number of cells that run at once; None: a row is added for each further cell that runs at the same time.
    """

    def __init__(self, cells: int, console: Console | None = None, slots: int | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),  # without markup, aet[transform=affine] keeps its brackets
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(file=cast(IO[str], _Tolerant(sys.stderr))),
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

    def __rich__(self) -> RenderableType:
        return self._progress.get_renderable()

    def __call__(self, event: Event) -> None:
        """Shows the event in the row of its cell."""
        event = dataclasses.replace(event, cell=visible(event.cell), stage=visible(event.stage))
        if event.kind == "note":
            self._print(event.text)
        elif event.kind == "started":
            self._finished.discard(event.cell)  # an executor runs a failed cell a second time
            self._assign(event.cell, event.text)
        elif event.kind == "finished":
            self._finish(event)
        elif event.kind != "step":
            self._advance(event)
        self._count()

    def _advance(self, event: Event) -> None:
        slot = self._slot_of(event.cell) or self._assign(event.cell, "")
        count = f"{event.done}/{event.total}" if event.total else ""
        detail = event.stage + visible(_in_parentheses(event.values))
        self._progress.update(slot.task, completed=event.done, total=event.total or None, count=count, detail=detail)

    def _finish(self, event: Event) -> None:
        slot = self._slot_of(event.cell)
        if slot is not None:
            slot.cell = ""
            self._reset(slot, "idle", total=1)
        self._finished.add(event.cell)
        self._print(_end_line(event))

    def _count(self) -> None:
        done = len(self._finished)
        if self._progress.tasks[0].completed != done:
            self._progress.update(self._all, completed=done, count=f"{done}/{self._cells}")

    def _slot_of(self, cell: str) -> _Slot | None:
        return next((slot for slot in self._slots if slot.cell == cell), None)

    def _assign(self, cell: str, device: str) -> _Slot:
        """The row for a cell: its own, else an idle one of the same device, else any idle one, else a new one."""
        slot = self._slot_of(cell)
        if slot is None:
            idle = [slot for slot in self._slots if not slot.cell]
            idle.sort(key=lambda slot: (slot.device != device, slot.device != ""))
            slot = idle[0] if idle else self._new_slot()
        slot.cell, slot.device = cell, device
        self._reset(slot, cell, total=None)
        return slot

    def _reset(self, slot: _Slot, name: str, total: float | None) -> None:
        description = f"{visible(slot.device)}  {name}" if slot.device else name
        self._progress.reset(slot.task, total=total, description=description, count="", detail="")

    def _new_slot(self) -> _Slot:
        self._slots.append(_Slot(task=self._progress.add_task("idle", total=1, detail="", count="")))
        return self._slots[-1]

    def _print(self, text: str) -> None:
        self._progress.console.print(message_text(text), highlight=False, markup=False, emoji=False)


def values_as_text(values: Mapping[str, float]) -> str:
    """`loss 0.5000, images/s 1,234`."""
    parts = [f"{name} {value:,.0f}" if name == "images/s" else f"{name} {value:.4f}" for name, value in values.items()]
    return ", ".join(parts)


def _in_parentheses(values: Mapping[str, float]) -> str:
    return f" ({values_as_text(values)})" if values else ""


def _end_line(event: Event) -> str:
    reason = f": {event.text}" if event.text else ""
    return f"{event.cell}: {event.stage} after {event.values.get('seconds', 0.0):.1f} s{reason}"
