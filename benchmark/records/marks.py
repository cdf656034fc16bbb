"""Marks: caveats that depend on what is installed and stored now. They are found again whenever records are shown.

- the source code of a plugin, or of repbench, has changed since the number was computed, at the same version
- the weights of a cell are not those that its record describes
- unverified: the record is of an earlier version, which recorded neither

Weights are compared as far as that is quick. Of every file the size is compared. The content is compared if the file is
newer than its record, or if a run could not load it, newest first, up to `CHECKED_BYTES`; `bench verify --files` compares all.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmark.api.cells import Json
from benchmark.api.source_code import InstalledCode
from benchmark.errors import RecordError
from benchmark.records.caveats import Caveat
from benchmark.records.columns import Columns
from benchmark.records.record import KINDS, MODEL, RECORD
from benchmark.records.weights_file import CANNOT_LOAD, Checksum, read_verified

CHECKED_BYTES = 2**30
"""Most bytes of weights that one command compares: it takes about a second."""
PLUGIN, EVALUATOR, BENCHMARK = (f"{what} code changed since" for what in ("plugin", "evaluator", "benchmark"))
WEIGHTS: Caveat = ("weights changed", "")
UNVERIFIED: Caveat = ("unverified", "")
OUTDATED = (PLUGIN, EVALUATOR, WEIGHTS[0])
"""Marks of cells that `--rerun stale` trains or scores again."""


def marked(columns: Columns, out: Path) -> Columns:
    """The records of an output folder with their marks among their caveats.

    Args:
        columns: the records; one without a folder is not marked.
        out: the output folder.
    """
    installed = InstalledCode()
    weights = (
        StoredWeights(folder=each.folder, checksum=each.model_file, failure=each.failure or "")
        for each in columns.summaries
    )
    changed = changed_weights(weights, out)
    by_shared: dict[int, tuple[Caveat, ...]] = {}
    summaries = []
    for summary in columns.summaries:
        shared = summary.shared
        if id(shared) not in by_shared:
            by_shared[id(shared)] = tuple(code_changes(shared.sources, installed))
        marks = by_shared[id(shared)]
        marks += (WEIGHTS,) if summary.folder in changed else ()
        marks += (UNVERIFIED,) if is_unverified(summary.trained, summary.model_file, shared.sources) else ()
        if marks and summary.folder:
            summary = dataclasses.replace(summary, caveats=(*summary.caveats, *marks))
        summaries.append(summary)
    return dataclasses.replace(columns, summaries=tuple(summaries))


def is_unverified(trained: bool, checksum: Checksum | None, sources: Json) -> bool:
    """Whether the record of a trained cell holds no checksum of its weights, or no fingerprint of its method's code."""
    return trained and (checksum is None or "method" not in sources)


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


# --- weights ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StoredWeights:
    """What a record says about the weights file beside it."""

    folder: str
    """Name of the cell's folder; empty if there is none."""
    checksum: Checksum | None
    failure: str
    """Reason of the last failure; empty if nothing failed."""


def changed_weights(cells: Iterable[StoredWeights], out: Path) -> set[str]:
    """Folders whose weights file is not the one that the training wrote, as far as that is quick to tell."""
    changed = set()
    suspects: list[tuple[int, int, StoredWeights]] = []
    for cell in cells:
        if not cell.folder or cell.checksum is None:
            continue
        try:
            weights = os.stat(f"{out}/{cell.folder}/{MODEL}")  # noqa: PTH116  # thousands of files
            written = os.stat(f"{out}/{cell.folder}/{RECORD}").st_mtime_ns  # noqa: PTH116
        except OSError:
            continue  # weights may be deleted to save space
        if weights.st_size != cell.checksum[0]:
            changed.add(cell.folder)
        elif weights.st_mtime_ns > written or cell.failure.startswith(CANNOT_LOAD):
            suspects.append((weights.st_mtime_ns, weights.st_size, cell))
    left = CHECKED_BYTES
    for _, size, cell in sorted(suspects, key=lambda each: -each[0]):
        left -= size
        if left >= 0 and not _is_intact(out / cell.folder / MODEL, cell.checksum):
            changed.add(cell.folder)
    return changed


def _is_intact(path: Path, checksum: Checksum | None) -> bool:
    try:
        read_verified(path, checksum)
    except RecordError:
        return False
    return True
