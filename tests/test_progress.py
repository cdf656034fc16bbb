"""Progress: plain lines, the live display, and which of them a run gets."""

from __future__ import annotations

import builtins
import importlib.util
import io
import pickle
import re
import sys

import pytest
from rich.console import Console

from benchmark.progress import Event, PlainReporter, Reporter, RichReporter, reporter_for, silent

CELL = "aet[transform=affine] / resnet18 / photos[subset=50] / seed 0"
MARKUP = "[bold]loud[/bold] [/nothing] [red"
"""Text that must be printed as it is."""
BAR_OR_TIME = r"[━╸╺]+|-:--:--|\d:\d\d:\d\d"


def started(cell: str = CELL, device: str = "cpu") -> Event:
    return Event(kind="started", cell=cell, text=device)


def epoch(done: int, total: int = 10, cell: str = CELL, **values: float) -> Event:
    return Event(kind="epoch", cell=cell, stage="train", done=done, total=total, values=values)


def finished(cell: str = CELL, state: str = "done", seconds: float = 0.0, reason: str = "") -> Event:
    return Event(kind="finished", cell=cell, stage=state, values={"seconds": seconds}, text=reason)


def note(text: str) -> Event:
    return Event(kind="note", cell="", text=text)


def test_event_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(epoch(3, loss=0.5))) == epoch(3, loss=0.5)


def test_silent_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silent(note("hello"))
    assert capsys.readouterr() == ("", "")


# --- plain lines ------------------------------------------------------------------------------------------------------


def plain_lines(*events: Event, cells: int = 2, interval: float = 0.0) -> list[str]:
    stream = io.StringIO()
    reporter = PlainReporter(cells, stream, interval)
    for event in events:
        reporter(event)
    return stream.getvalue().splitlines()


def test_plain_lines_show_start_epochs_end_and_notes() -> None:
    lines = plain_lines(
        started(device="cuda:0"),
        Event(kind="stage", cell=CELL, stage="train"),
        Event(kind="step", cell=CELL, stage="train", done=7, total=9, values={"loss": 1.0}),
        epoch(10, loss=0.25, **{"images/s": 12345.6}),
        finished(seconds=2.34),
        finished("dim", "failed", 1.0, "NaN in step 3"),
        note(MARKUP),
    )
    assert lines == [
        f"{CELL}: started on cuda:0",
        f"{CELL}: epoch 10/10 (loss 0.2500, images/s 12,346)",
        f"[1/2] {CELL}: done after 2.3 s",
        "[2/2] dim: failed after 1.0 s: NaN in step 3",
        MARKUP,
    ]


def test_plain_epoch_lines_keep_the_interval_and_include_the_last() -> None:
    events = [epoch(done) for done in range(1, 11)]
    assert len(plain_lines(*events, interval=0.0)) == 10
    lines = plain_lines(*events, interval=3600.0)
    assert lines[-1] == f"{CELL}: epoch 10/10"
    assert len(lines) <= 2


def test_plain_interval_is_per_cell() -> None:
    lines = plain_lines(*(epoch(done, cell=cell) for done in (1, 2, 3) for cell in ("one", "two")), interval=3600.0)
    assert sum("one" in line for line in lines) == sum("two" in line for line in lines) <= 1


def test_plain_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    PlainReporter(1)(note("hello"))
    assert capsys.readouterr() == ("", "hello\n")


# --- live display -----------------------------------------------------------------------------------------------------


def display(cells: int, slots: int | None = None) -> RichReporter:
    return RichReporter(cells, Console(file=io.StringIO(), width=200), slots)


def rows(reporter: RichReporter) -> list[str]:
    """The rendered rows without bars and times: `cells 1/3`, `cpu one 3/10 train (loss 0.5000)`."""
    console = Console(file=io.StringIO(), width=200)
    console.print(reporter)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # a StringIO
    return [" ".join(re.sub(BAR_OR_TIME, "", line).split()) for line in lines]


def shown(*events: Event, cells: int = 3, slots: int | None = None) -> list[str]:
    with display(cells, slots) as reporter:
        for event in events:
            reporter(event)
        return rows(reporter)


def test_display_has_a_row_for_each_slot_but_no_more_than_cells() -> None:
    assert shown(cells=5, slots=2) == ["cells 0/5", "idle", "idle"]
    assert shown(cells=1, slots=8) == ["cells 0/1", "idle"]


def test_display_shows_device_cell_progress_and_values() -> None:
    events = [started("one", "cuda:0"), epoch(3, cell="one", loss=0.5, **{"images/s": 1200.0})]
    running = ["cells 0/3", "cuda:0 one 3/10 train (loss 0.5000, images/s 1,200)", "idle"]
    assert shown(*events, slots=2) == running
    step = Event(kind="step", cell="one", stage="train", done=7, total=9, values={"loss": 1.0})
    assert shown(*events, step, slots=2) == running
    assert shown(*events, finished("one"), slots=2) == ["cells 1/3", "cuda:0 idle", "idle"]


def test_display_reuses_the_row_of_the_same_device() -> None:
    events = [each for cell, device in (("one", "a"), ("two", "b")) for each in (started(cell, device), finished(cell))]
    assert shown(*events, started("three", "b"), started("four", "a"), slots=2)[1:] == ["a four", "b three"]


def test_display_adds_rows_for_more_cells_than_slots() -> None:
    events = [epoch(1, cell="one"), epoch(1, cell="two"), finished("one"), finished("unknown")]
    assert shown(*events) == ["cells 2/3", "idle", "two 1/10 train"]


def test_display_counts_a_repeated_cell_once() -> None:
    events = [started("one"), finished("one", "failed"), started("one"), finished("one")]
    assert shown(*events, cells=2, slots=1) == ["cells 1/2", "cpu idle"]


def test_display_prints_brackets_as_they_are() -> None:
    stream = io.StringIO()
    with RichReporter(2, Console(file=stream, width=200)) as reporter:
        reporter(note(MARKUP))
        reporter(Event(kind="stage", cell=CELL, stage="evaluate knn[k=5]", done=1, total=4))
        assert f"{CELL} 1/4 evaluate knn[k=5]" in rows(reporter)
        reporter(finished(state="failed", seconds=1.0, reason=MARKUP))
    assert stream.getvalue().splitlines()[0] == MARKUP
    assert f"{CELL}: failed after 1.0 s: {MARKUP}" in stream.getvalue()


# --- choice -----------------------------------------------------------------------------------------------------------


def reporter_on(terminal: bool, monkeypatch: pytest.MonkeyPatch, *, quiet: bool = False) -> Reporter:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    with reporter_for(cells=1, slots=1, quiet=quiet) as reporter:
        return reporter


def test_reporter_fits_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(reporter_on(True, monkeypatch), RichReporter)
    assert isinstance(reporter_on(False, monkeypatch), PlainReporter)
    assert reporter_on(True, monkeypatch, quiet=True) is silent


def test_reporter_in_a_notebook_without_widgets_prints_plain_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class ZMQInteractiveShell:
        """The class by which rich detects Jupyter."""

    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with reporter_for(cells=1, slots=1) as reporter:
        reporter(finished("one"))
    assert capsys.readouterr() == ("[1/1] one: done after 0.0 s\n", "")
