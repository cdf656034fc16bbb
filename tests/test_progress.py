"""Progress: lines for logs, a line for each slot on terminals, words as they are."""

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


def _shown(reporter: RichReporter) -> list[tuple[str, str, str, float]]:
    """What each line says: description, count, detail, how much of it is done."""
    tasks = reporter._progress.tasks
    return [(task.description, task.fields["count"], task.fields["detail"], task.completed) for task in tasks]


def _quiet(cells: int, slots: int | None = None) -> RichReporter:
    return RichReporter(cells, Console(file=io.StringIO(), width=200), slots)


def _started(cell: str, device: str = "cpu") -> Event:
    return Event(kind="started", cell=cell, text=device)


def _finished(cell: str, state: str = "done") -> Event:
    return Event(kind="finished", cell=cell, stage=state)


def test_each_slot_has_a_line_from_the_beginning_and_no_more_than_there_are_cells() -> None:
    with _quiet(5, slots=2) as reporter:
        assert _shown(reporter) == [("cells", "0/5", "", 0), ("idle", "", "", 0), ("idle", "", "", 0)]
    with _quiet(1, slots=8) as reporter:
        assert len(_shown(reporter)) == 2


def test_a_line_shows_device_cell_stage_epoch_loss_and_speed_and_is_idle_again() -> None:
    with _quiet(3, slots=2) as reporter:
        reporter(_started("one", "cuda:0"))
        reporter(_epoch(3, cell="one", loss=0.5, **{"images/s": 1200.0}))
        assert _shown(reporter)[1:] == [
            ("cuda:0  one", "3/10", "train (loss 0.5000, images/s 1,200)", 3),
            ("idle", "", "", 0),
        ]
        reporter(_finished("one"))
        assert _shown(reporter) == [("cells", "1/3", "", 1), ("cuda:0  idle", "", "", 0), ("idle", "", "", 0)]


def test_the_next_cell_of_a_device_takes_its_line() -> None:
    with _quiet(4, slots=2) as reporter:
        for cell, device in (("one", "cuda:0"), ("two", "cuda:1")):
            reporter(_started(cell, device))
            reporter(_finished(cell))
        reporter(_started("three", "cuda:1"))
        reporter(_started("four", "cuda:0"))
        assert [line[0] for line in _shown(reporter)[1:]] == ["cuda:0  four", "cuda:1  three"]


def test_more_cells_at_once_than_were_announced_get_lines_of_their_own() -> None:
    with _quiet(3) as reporter:
        reporter(_epoch(1, cell="one"))
        reporter(_epoch(1, cell="two"))
        reporter(_finished("one"))
        reporter(_finished("never seen"))
        assert [(line[0], line[3]) for line in _shown(reporter)] == [("cells", 2), ("idle", 0), ("two", 1)]


def test_a_cell_that_is_tried_once_more_counts_once_in_the_end() -> None:
    with _quiet(2, slots=1) as reporter:
        for state in ("failed", "done"):
            reporter(_started("one"))
            reporter(_finished("one", state))
        assert _shown(reporter) == [("cells", "1/2", "", 1), ("cpu  idle", "", "", 0)]


def test_a_step_shows_in_no_line() -> None:
    step = Event(kind="step", cell="one", stage="train", done=7, total=9, values={"loss": 1.0})
    assert _plain(step) == []
    with _quiet(1, slots=1) as reporter:
        reporter(_started("one"))
        before = _shown(reporter)
        reporter(step)
        assert _shown(reporter) == before


def test_an_event_crosses_a_process_boundary() -> None:
    event = _epoch(3, loss=0.5)
    assert pickle.loads(pickle.dumps(event)) == event
