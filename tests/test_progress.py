"""Progress: lines for logs, bars for terminals, words as they are."""

from __future__ import annotations

import io
import pickle

import pytest
from rich.console import Console

from benchmark.progress import Event, PlainReporter, RichReporter, silent

CELL = "aet[transform=affine] / resnet18 / photos[subset=50] / seed 0"
HOSTILE = "[bold]loud[/bold] [/nothing] [red"


def _plain(*events: Event, cells: int = 2, interval: float = 0.0) -> list[str]:
    stream = io.StringIO()
    reporter = PlainReporter(cells, stream, interval)
    for event in events:
        reporter(event)
    return stream.getvalue().splitlines()


def _rich(*events: Event, terminal: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=200, force_terminal=terminal, color_system=None)
    with RichReporter(2, console) as reporter:
        for event in events:
            reporter(event)
            if terminal:
                reporter._progress.refresh()
    return stream.getvalue()


def _epoch(done: int, total: int = 10, cell: str = CELL, **values: float) -> Event:
    return Event(kind="epoch", cell=cell, stage="train", done=done, total=total, values=values)


# --- plain lines ------------------------------------------------------------------------------------------------------


def test_a_cell_is_told_from_start_to_end() -> None:
    lines = _plain(
        Event(kind="started", cell=CELL, text="cuda:0"),
        Event(kind="stage", cell=CELL, stage="train"),
        _epoch(10, loss=0.25, **{"images/s": 12345.6}),
        Event(kind="finished", cell=CELL, stage="done", values={"seconds": 2.34}),
        Event(kind="finished", cell="dim", stage="failed", values={"seconds": 1.0}, text="NaN in step 3"),
    )
    assert lines == [
        f"{CELL}: started on cuda:0",
        f"{CELL}: epoch 10/10 (loss 0.2500, images/s 12,346)",
        f"[1/2] {CELL}: done after 2.3 s",
        "[2/2] dim: failed after 1.0 s: NaN in step 3",
    ]


def test_a_note_is_a_line_of_its_own() -> None:
    assert _plain(Event(kind="note", cell="", text=HOSTILE)) == [HOSTILE]


def test_epochs_are_told_now_and_then_and_the_last_always() -> None:
    events = [_epoch(done) for done in range(1, 11)]
    assert len(_plain(*events, interval=0.0)) == 10
    told = _plain(*events, interval=3600.0)
    assert told[-1] == f"{CELL}: epoch 10/10"
    assert len(told) <= 2


def test_each_cell_has_its_own_clock() -> None:
    events = [_epoch(done, cell=cell) for done in (1, 2, 3) for cell in ("one", "two")]
    told = _plain(*events, interval=3600.0)
    assert sum("one" in line for line in told) == sum("two" in line for line in told) <= 1


def test_by_default_lines_go_to_standard_error_so_that_tables_can_be_piped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    PlainReporter(1)(Event(kind="note", cell="", text="hello"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    silent(Event(kind="note", cell="", text="hello"))
    assert capsys.readouterr() == ("", "")


# --- a terminal -------------------------------------------------------------------------------------------------------


def test_brackets_of_names_and_reasons_are_no_markup() -> None:
    text = _rich(
        Event(kind="note", cell="", text=HOSTILE),
        Event(kind="finished", cell=CELL, stage="failed", values={"seconds": 1.0}, text=HOSTILE),
    )
    assert HOSTILE in text.splitlines()
    assert f"{CELL}: failed after 1.0 s: {HOSTILE}" in text


def test_the_bar_of_a_cell_shows_its_name_as_it_is() -> None:
    text = _rich(
        Event(kind="stage", cell=CELL, stage="evaluate knn[k=5]", done=1, total=4), _epoch(3, loss=0.5), terminal=True
    )
    assert CELL in text
    assert "evaluate knn[k=5]" in text
    assert "train (loss 0.5000)" in text
    assert "3/10" in text


def test_a_finished_cell_gives_up_its_bar_and_moves_the_one_of_all() -> None:
    console = Console(file=io.StringIO(), width=200)
    with RichReporter(2, console) as reporter:
        reporter(_epoch(1, cell="one"))
        reporter(_epoch(1, cell="two"))
        reporter(Event(kind="finished", cell="one", stage="done"))
        reporter(Event(kind="finished", cell="never seen", stage="done"))
        tasks = {task.description: task.completed for task in reporter._progress.tasks}
    assert tasks == {"cells": 2, "two": 1}


def test_an_event_crosses_a_process_boundary() -> None:
    event = _epoch(3, loss=0.5)
    assert pickle.loads(pickle.dumps(event)) == event
