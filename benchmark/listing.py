"""What is installed and what is planned, as text for people."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.catalog import KINDS, Catalog
from benchmark.figures import described
from benchmark.parameters import as_dict, expected, shown

if TYPE_CHECKING:
    from benchmark.plan import Skip
    from benchmark.runner import Errand


def listed(catalog: Catalog, kind: str | None = None, verbose: bool = False) -> str:
    """Names with a line each, their provider and paper; broken plugins with the reason."""
    lines: list[str] = []
    for each in KINDS:
        if kind in (None, each):
            lines += [*_entries(catalog, each, verbose), ""]
    if kind in (None, "plugins"):
        lines += [*_plugins(catalog), ""]
    lines += _trouble(catalog, verbose)
    return "\n".join(lines).rstrip() + "\n"


def planned(errands: Sequence[Errand], due: Sequence[Errand], skips: Sequence[Skip]) -> str:
    """One line for each cell with its state, then what is skipped and why."""
    will = {errand.cell.id for errand in due}
    rows = [
        ("run" if errand.cell.id in will else "keep", errand.standing, errand.folder, errand.detail)
        for errand in errands
    ]
    lines = _aligned(rows)
    lines += [f"skip  {skip.title}: {skip.reason}" for skip in skips]
    lines += dict.fromkeys(f"note  {note}" for errand in errands for note in errand.planned.notes)
    lines.append(f"{len(errands)} cells, {len(due)} to run, {len(skips)} combinations skipped")
    return "\n".join(lines) + "\n"


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
                f"      {field.name}={shown(defaults[field.name])}",
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
    rows = [described(figure, spec.name) for figure in figures]
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
