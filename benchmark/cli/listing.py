"""Text of `bench list`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from benchmark.api.catalog import PLUGIN_KINDS, Catalog
from benchmark.api.parameters import as_dict, as_typed, expected
from benchmark.reports.published import figure_row


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
