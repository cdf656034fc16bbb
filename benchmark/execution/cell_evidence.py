"""The part of a record that decides what a run does with its cell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from benchmark.api.cells import Json, State
from benchmark.records.caveats import INCOMPLETE, Caveat, caveats_of
from benchmark.records.changed_files import StoredFiles
from benchmark.records.columns import NOT_APPLICABLE_KEY, Columns
from benchmark.records.marks import UNVERIFIED, is_unverified
from benchmark.records.record import KINDS, Record
from benchmark.records.weights_file import Checksum, recorded_checksums


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The part of a record that decides a cell's state."""

    id: str
    state: State
    reason: str
    """Why the cell failed."""
    trained: bool
    versions: Json
    """Kind -> version of its spec."""
    providers: Json
    """Kind -> distribution that provides it."""
    scored: Collection[tuple[str, ...]]
    """tap, pool, evaluator, protocol of each score."""
    not_applicable: Collection[tuple[str, ...]]
    """The same of each request that does not apply to the cell."""
    sources: Json
    """Fingerprints of the code; empty if they are not recorded."""
    files: Mapping[str, Checksum | None]
    """Name of a file beside the record -> its checksum; None if it is not recorded."""
    caveats: tuple[Caveat, ...] = ()
    """Of the record itself."""

    @property
    def unverified(self) -> list[str]:
        """One text if changes of code, weights, outcomes or scores may not show."""
        incomplete = [f"{name} {detail}" for name, detail in self.caveats if name == INCOMPLETE]
        return incomplete or [UNVERIFIED[0]] * is_unverified(self.trained, self.files, self.sources)

    def stored(self, folder: str) -> StoredFiles:
        """What is known of the files in a folder."""
        return StoredFiles(folder=folder, checksums=self.files, failure=self.reason)


def evidence_of_record(record: Record) -> Evidence:
    """From a record itself."""
    refused = record.checks.get("not_applicable", ())
    return Evidence(
        id=record.id,
        state=record.state,
        reason=str((record.failure or {}).get("reason", "")),
        trained=record.trained,
        versions=record.provenance.get("versions", {}),
        providers={kind: record.cell.get(kind, {}).get("provider") for kind in KINDS},
        scored={score.key()[:4] for score in record.scores},
        not_applicable={tuple(each[key] for key in NOT_APPLICABLE_KEY) for each in refused},
        sources=record.provenance.get("sources") or {},
        files=recorded_checksums(record),
        caveats=caveats_of(record.checks),
    )


def evidence_of_summary(columns: Columns, position: int) -> Evidence:
    """The same from the index."""
    summary = columns.summaries[position]
    return Evidence(
        id=summary.id,
        state=summary.state,
        reason=summary.failure or "",
        trained=summary.trained,
        versions=summary.shared.spec_versions,
        providers=summary.shared.providers,
        scored={(key.tap, key.pool, key.evaluator, key.protocol) for key in columns.score_keys_of(position)},
        not_applicable=summary.not_applicable,
        sources=summary.shared.sources,
        files=summary.files,
        caveats=summary.caveats,
    )
