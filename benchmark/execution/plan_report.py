"""The report of `bench plan`: every planned cell with its state and expected time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from benchmark.execution.estimates import as_words, on_slots
from benchmark.execution.session import RunForecast
from benchmark.reports.table import Report, Table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("action", "state", "cell", "expected", "detail")


def plan_report(forecast: RunForecast) -> Report:
    """What a run would do. `json` adds skips, notes and totals to the rows."""
    estimates = _estimates(forecast)
    known = [seconds for seconds in estimates.values() if seconds is not None]
    facts = {
        "to_run": len(forecast.to_run),
        "skipped": [{"title": skip.title, "reason": skip.reason} for skip in forecast.plan.skips],
        "notes": _notes(forecast),
        "devices": list(forecast.devices),
        "slots": forecast.slots,
        "expected_seconds": on_slots(known, forecast.slots) if known else None,
        "without_estimate": len(estimates) - len(known),
    }
    return Report(tables=lambda: [_table(forecast)], frame=lambda: _frame(forecast), facts=facts)


def _estimates(forecast: RunForecast) -> dict[str, float | None]:
    """Cell id -> seconds, of the cells that would run."""
    return {cell.cell.id: forecast.estimates.seconds(cell) for cell in forecast.to_run}


def _notes(forecast: RunForecast) -> list[str]:
    return list(dict.fromkeys(note for cell in forecast.cells for note in cell.planned.notes))


def _frame(forecast: RunForecast) -> pd.DataFrame:
    import pandas as pd

    estimates = _estimates(forecast)
    rows = [
        {
            "id": cell.cell.id,
            "folder": cell.folder,
            "action": "run" if cell.cell.id in estimates else "keep",
            "state": cell.state,
            "detail": cell.detail,
            "expected_seconds": estimates.get(cell.cell.id),
        }
        for cell in forecast.cells
    ]
    return pd.DataFrame(rows, columns=["id", "folder", "action", "state", "detail", "expected_seconds"])


def _table(forecast: RunForecast) -> Table:
    estimates = _estimates(forecast)
    rows = []
    for cell in forecast.cells:
        seconds = estimates.get(cell.cell.id)
        action = "run" if cell.cell.id in estimates else "keep"
        rows.append((action, cell.state, cell.folder, "" if seconds is None else as_words(seconds), cell.detail))
    skips = len(forecast.plan.skips)
    title = f"{len(forecast.cells)} cells, {len(estimates)} to run, {skips} combinations skipped"
    return Table(title=title, columns=COLUMNS, rows=tuple(rows), notes=tuple(_table_notes(forecast)), kept=len(COLUMNS))


def _table_notes(forecast: RunForecast) -> Iterator[str]:
    for skip in forecast.plan.skips:
        yield f"skip: {skip.title}: {skip.reason}"
    yield from (f"note: {note}" for note in _notes(forecast))
    estimates = list(_estimates(forecast).values())
    known = [seconds for seconds in estimates if seconds is not None]
    if known:
        slots = f"{forecast.slots} {'slot' if forecast.slots == 1 else 'slots'} ({', '.join(forecast.devices)})"
        yield f"{as_words(sum(known))} of work, {as_words(on_slots(known, forecast.slots))} on {slots}."
    if len(known) < len(estimates):
        yield f"{len(estimates) - len(known)} of {len(estimates)} cells have no past record."
