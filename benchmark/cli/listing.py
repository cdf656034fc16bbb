"""Text of `bench list` and `bench plan`."""

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
    """One line for each spec with its distribution and paper, and every plugin that cannot be loaded.

    Args:
        catalog: the installed plugins.
        kind: `methods`, ..., `plugins`; None: all.
        verbose: also list parameters, published results and tracebacks.
    """
    lines: list[str] = []
    for each in PLUGIN_KINDS:
        if kind in (None, each):
            lines += [*_spec_lines(catalog, each, verbose), ""]
    if kind in (None, "plugins"):
        lines += [*_plugin_lines(catalog), ""]
    lines += _problem_lines(catalog, verbose)
    return "\n".join(lines).rstrip() + "\n"


def list_plan(forecast: RunForecast) -> str:
    """One line for each cell with its state and expected time, then skipped combinations, counts and total time."""
    seconds = {cell.cell.id: forecast.estimates.seconds(cell) for cell in forecast.to_run}
    rows = []
    for cell in forecast.cells:
        expected_seconds = seconds.get(cell.cell.id)
        time = "" if expected_seconds is None else as_words(expected_seconds)
        rows.append(("run" if cell.cell.id in seconds else "keep", cell.state, cell.folder, time, cell.detail))
    skips = forecast.plan.skips
    lines = _aligned(rows)
    lines += [f"skip  {skip.title}: {skip.reason}" for skip in skips]
    lines += dict.fromkeys(f"note  {note}" for cell in forecast.cells for note in cell.planned.notes)
    lines.append(f"cells: {len(forecast.cells)}, {len(seconds)} to run; {len(skips)} combinations skipped")
    lines += _time_lines(list(seconds.values()), forecast)
    return "\n".join(lines) + "\n"


def _time_lines(seconds: Sequence[float | None], forecast: RunForecast) -> Iterator[str]:
    """Expected time of all cells to run, and the number of cells without an estimate."""
    known = [each for each in seconds if each is not None]
    slots = f"{forecast.slots} {'slot' if forecast.slots == 1 else 'slots'} ({', '.join(forecast.devices)})"
    if known:
        total, elapsed = as_words(sum(known)), as_words(on_slots(known, forecast.slots))
        yield f"expected time: {total} in total, {elapsed} on {slots}"
    if len(known) < len(seconds):
        yield f"no estimate for {len(seconds) - len(known)} of {len(seconds)} cells: no finished cell is similar"


def _spec_lines(catalog: Catalog, kind: str, verbose: bool) -> Iterator[str]:
    entries = getattr(catalog, kind)
    yield f"{kind}:" if entries else f"{kind}: none installed"
    rows = [
        (
            f"  {entry.spec.name}",
            entry.spec.summary,
            f"{entry.provider.distribution} {entry.provider.version}",
            entry.spec.paper,
        )
        for entry in entries
    ]
    for line, entry in zip(_aligned(rows), entries, strict=True):
        yield line
        if verbose:
            yield from _parameter_lines(entry.spec)
            yield from _published_lines(entry.spec)


def _parameter_lines(spec: Any) -> Iterator[str]:
    hints = typing.get_type_hints(spec.params)
    defaults = as_dict(spec.params())
    rows = [
        (
            f"      {field.name}={as_typed(defaults[field.name])}",
            expected(hints[field.name]),
            field.metadata.get("help", ""),
        )
        for field in dataclasses.fields(spec.params)
    ]
    pools: tuple[str, ...] = getattr(spec, "pools", ())
    if len(pools) > 1:
        rows.append((f"      pool={pools[0]}", "one of " + ", ".join(pools), "how a map becomes a vector"))
    yield from _aligned(rows)


def _published_lines(spec: Any) -> Iterator[str]:
    figures = getattr(spec, "published", ())
    if figures:
        yield "      published:"
    rows = [figure_row(figure, spec.name) for figure in figures]
    yield from _aligned([(f"        {first}", *rest) for first, *rest in rows])


def _plugin_lines(catalog: Catalog) -> Iterator[str]:
    yield "plugins:" if catalog.plugins else "plugins: none installed; run `pip install -e .`"
    rows = [(f"  {p.plugin}", f"{p.distribution} {p.version}", "") for p in catalog.plugins]
    rows += [(f"  {name}", "blocked by BENCH_PLUGINS", "") for name in catalog.blocked]
    yield from _aligned(rows)


def _problem_lines(catalog: Catalog, verbose: bool) -> Iterator[str]:
    if catalog.broken:
        yield "broken plugins:"
    for broken in catalog.broken:
        yield f"  {broken.provider.plugin} ({broken.provider.distribution} {broken.provider.version}): {broken.reason}"
        if verbose:
            yield from (f"      {line}" for line in broken.traceback.splitlines())
    yield from (f"clash: {sentence}" for sentence in catalog.clashes())


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of texts as lines with aligned columns, without trailing spaces."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    line = "  ".join(f"%-{width}s" for width in widths)
    return [(line % row).rstrip() for row in rows]
