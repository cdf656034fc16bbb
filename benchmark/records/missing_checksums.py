"""The checksums that a record should hold and does not: they were removed, or an earlier version wrote the record."""

from __future__ import annotations

from benchmark.records.record import MODEL, PREDICTIONS, Record

OUTCOMES = ("predictions_file", "arrays_sha256")
"""Keys among the checks of a record that has outcomes."""
WITH_CHECKSUMS = ("model_file", *OUTCOMES, "source_sha256")
"""Keys among the checks of records of versions that write checksums."""


def missing_checksums(record: Record, *, in_folder: bool) -> list[str]:
    """What a finished record, whose text holds no checksum of itself, lacks the checksums of.

    One without any checksum is of an earlier version: nothing is listed. A text that matches its checksum lacks nothing that
    it had when it was written, and need not be examined.

    Args:
        record: as it was read.
        in_folder: whether it was read from the folder of a cell. A leaderboard has checksums of arrays, and no files.
    """
    checks, sources = record.checks, record.provenance.get("sources") or {}
    if not (record.trained or record.scores) or not (sources or any(checks.get(key) for key in WITH_CHECKSUMS)):
        return []
    missing = ["the record"]
    keys = OUTCOMES if in_folder else ("arrays_sha256",)
    if any(score.outcomes for score in record.scores) and not all(checks.get(key) for key in keys):
        missing.append(PREDICTIONS)
    if in_folder:
        missing += [] if checks.get("model_file") else [MODEL]
        missing += [] if "method" in sources else ["the plugins' code"]
    return missing
