"""What is installed and what is planned, as text for people."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.api.catalog import PLUGIN_KINDS, Catalog
from benchmark.api.parameters import as_dict, as_typed, expected
from benchmark.execution.estimates import as_words, on_slots
from benchmark.reports.published import figure_row

if TYPE_CHECKING:
    from benchmark.execution.session import RunForecast


def list_plugins(catalog: Catalog, kind: str | None = None, verbose: bool = False) -> str:
    """Names with a line each, their provider and paper; broken plugins with the reason."""
    lines: list[str] = []
    for each in PLUGIN_KINDS:
        if kind in (None, each):
            lines += [*_entries(catalog, each, verbose), ""]
    if kind in (None, "plugins"):
        lines += [*_plugins(catalog), ""]
    lines += _trouble(catalog, verbose)
    return "\n".join(lines).rstrip() + "\n"


def list_plan(outlook: RunForecast) -> str:
    """One line for each cell with its state and the time it may take, what is skipped and why, and the time of all."""
    will = {cell.cell.id for cell in outlook.to_run}
    seconds = {cell.cell.id: outlook.estimates.seconds(cell) for cell in outlook.to_run}
    rows = []
    for cell in outlook.cells:
        expected = seconds.get(cell.cell.id)
        time = "" if expected is None else as_words(expected)
        verb = "run" if cell.cell.id in will else "keep"
        rows.append((verb, cell.state, cell.folder, time, cell.detail))
    lines = _aligned(rows)
    lines += [f"skip  {skip.title}: {skip.reason}" for skip in outlook.plan.skips]
    lines += dict.fromkeys(f"note  {note}" for cell in outlook.cells for note in cell.planned.notes)
    lines.append(f"{len(outlook.cells)} cells, {len(will)} to run, {len(outlook.plan.skips)} combinations skipped")
    lines += _time(list(seconds.values()), outlook)
    return "\n".join(lines) + "\n"


def _time(seconds: Sequence[float | None], outlook: RunForecast) -> Iterator[str]:
    """How long all that is to run may take, and of how much of it that is not known."""
    known = [each for each in seconds if each is not None]
    silent = len(seconds) - len(known)
    slots = f"{outlook.slots} {'slot' if outlook.slots == 1 else 'slots'} ({', '.join(outlook.devices)})"
    if known:
        yield f"{as_words(sum(known))} of work, {as_words(on_slots(known, outlook.slots))} on {slots}"
    if silent:
        yield f"{silent} of {len(seconds)} cells have no past record"


def _entries(catalog: Catalog, kind: str, verbose: bool) -> Iterator[str]:
    entries = getattr(catalog, kind)
    yield f"{kind}:" if entries else f"{kind}: none installed"
    rows = [
        (f"  {e.spec.name}", e.spec.summary, f"{e.provider.distribution} {e.provider.version}", e.spec.paper)
        for e in entries
    ]
    for line, entry in zip(_aligned(rows), entries, strict=True):
        yield line
        if verbose:
            yield from _parameters(entry.spec)
            yield from _published(entry.spec)


def _parameters(spec: Any) -> Iterator[str]:
    hints = typing.get_type_hints(spec.params)
    defaults = as_dict(spec.params())
    rows = []
    for field in dataclasses.fields(spec.params):
        rows.append(
            (
                f"      {field.name}={as_typed(defaults[field.name])}",
                expected(hints[field.name]),
                field.metadata.get("help", ""),
            )
        )
    pools: tuple[str, ...] = getattr(spec, "pools", ())
    if len(pools) > 1:
        rows.append((f"      pool={pools[0]}", "one of " + ", ".join(pools), "how a map becomes a vector"))
    yield from _aligned(rows)


def _published(spec: Any) -> Iterator[str]:
    figures = getattr(spec, "published", ())
    if figures:
        yield "      published:"
    rows = [figure_row(figure, spec.name) for figure in figures]
    yield from _aligned([(f"        {first}", *rest) for first, *rest in rows])


def _plugins(catalog: Catalog) -> Iterator[str]:
    yield "plugins:" if catalog.plugins else "plugins: none installed; run pip install -e ."
    rows = [(f"  {p.plugin}", f"{p.distribution} {p.version}", "") for p in catalog.plugins]
    rows += [(f"  {name}", "blocked by BENCH_PLUGINS", "") for name in catalog.blocked]
    yield from _aligned(rows)


def _trouble(catalog: Catalog, verbose: bool) -> Iterator[str]:
    if catalog.broken:
        yield "broken plugins:"
    for broken in catalog.broken:
        yield f"  {broken.provider.plugin} ({broken.provider.distribution} {broken.provider.version}): {broken.reason}"
        if verbose:
            yield from (f"      {line}" for line in broken.traceback.splitlines())
    yield from (f"clash: {sentence}" for sentence in catalog.clashes())


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns side by side; the last one ends where it ends."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    line = "  ".join(f"%-{width}s" for width in widths)
    return [(line % row).rstrip() for row in rows]
