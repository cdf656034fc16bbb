"""Marks: caveats that depend on what is installed and stored now. They are found again whenever records are shown.

- the source code of a plugin, or of repbench, has changed since the number was computed, at the same version
- the weights or the outcomes of a cell are not the files that its record describes
- unverified: the record is of an earlier version, which recorded neither. One that lacks only some of the checksums has a
  caveat of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmark.api.cells import Json
from benchmark.api.source_code import InstalledCode
from benchmark.records.caveats import INCOMPLETE, Caveat
from benchmark.records.changed_files import StoredFiles, changed_files
from benchmark.records.columns import Columns
from benchmark.records.record import KINDS, MODEL, PREDICTIONS
from benchmark.records.weights_file import Checksum

PLUGIN, EVALUATOR, BENCHMARK = (f"{what} code changed since" for what in ("plugin", "evaluator", "benchmark"))
OF_FILE: Mapping[str, Caveat] = {MODEL: ("weights changed", ""), PREDICTIONS: ("outcomes changed", "")}
"""Name of a file -> the mark of a cell in which it has changed."""
UNVERIFIED: Caveat = ("unverified", "")
OUTDATED = (PLUGIN, EVALUATOR, *(name for name, _ in OF_FILE.values()))
"""Marks of cells that `--rerun stale` trains or scores again."""


def marked(columns: Columns, out: Path) -> Columns:
    """The records of an output folder with their marks among their caveats.

    Args:
        columns: the records; one without a folder is not marked.
        out: the output folder.
    """
    installed = InstalledCode()
    stored = (
        StoredFiles(folder=each.folder, checksums=each.files, failure=each.failure or "") for each in columns.summaries
    )
    changed = changed_files(stored, out)
    by_shared: dict[int, tuple[Caveat, ...]] = {}
    summaries = []
    for summary in columns.summaries:
        shared = summary.shared
        if id(shared) not in by_shared:
            by_shared[id(shared)] = tuple(code_changes(shared.sources, installed))
        marks = by_shared[id(shared)]
        marks += tuple(OF_FILE[name] for name in changed.get(summary.folder, ()))
        incomplete = any(name == INCOMPLETE for name, _ in summary.caveats)
        if not incomplete and is_unverified(summary.trained, summary.files, shared.sources):
            marks += (UNVERIFIED,)
        if marks and summary.folder:
            summary = dataclasses.replace(summary, caveats=(*summary.caveats, *marks))
        summaries.append(summary)
    return dataclasses.replace(columns, summaries=tuple(summaries))


def is_unverified(trained: bool, files: Mapping[str, Checksum | None], sources: Json) -> bool:
    """Whether the record of a trained cell holds no checksum of its weights, or no fingerprint of its method's code."""
    return trained and (files.get(MODEL) is None or "method" not in sources)


# --- source code ------------------------------------------------------------------------------------------------------


def code_changes(sources: Json, installed: InstalledCode) -> Iterator[Caveat]:
    """What has changed since a record was written. What is not recorded, or not installed, has not changed.

    Args:
        sources: `provenance.sources` of the record.
        installed: the installed plugins.
    """
    plugins = dict.fromkeys(plugin for plugin, _ in changed_kinds(sources, installed).values())
    for plugin in plugins:
        yield PLUGIN, f"({plugin.partition(':')[2]})"
    if sources.get("benchmark") not in (None, installed.core):
        yield BENCHMARK, ""
    for label in changed_evaluators(sources, installed):
        yield EVALUATOR, label


def changed_kinds(sources: Json, installed: InstalledCode) -> dict[str, tuple[str, str]]:
    """Kind (method, encoder, dataset) -> plugin and fingerprint in the record, of those whose code has changed."""
    recorded = {kind: (sources[kind]["plugin"], sources[kind]["source"]) for kind in KINDS if sources.get(kind)}
    return {
        kind: (plugin, source)
        for kind, (plugin, source) in recorded.items()
        if installed.source(plugin) not in (None, source)
    }


def changed_evaluators(sources: Json, installed: InstalledCode) -> list[str]:
    """Labels of the evaluators whose code has changed since one of their scores was computed."""
    return [
        label
        for label, each in sources.get("evaluators", {}).items()
        if (now := installed.source(each["plugin"])) is not None
        and any(then not in ("", now) for then in each["sources"])
    ]
