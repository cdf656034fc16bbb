"""Folders that hold one cell twice, or the record of another cell: each cell is used once, and the folder is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records.columns import CellKey, Columns, RecordSummary
from benchmark.records.record import RECORD
from benchmark.records.record_files import log_left_out
from benchmark.records.record_text import LOG

DIGITS = 10
"""Digits of an id at the end of a folder's name."""
_ID = re.compile(rf"(?<![0-9a-f])[0-9a-f]{{{DIGITS}}}\Z")


@dataclass(frozen=True, kw_only=True)
class Distinct:
    """The records of an output folder, each cell once."""

    columns: Columns
    lost: tuple[str, ...] = ()
    """One message for each folder whose own record was replaced by that of a cell that another folder holds."""
    notes: tuple[str, ...] = ()
    """One message for each other folder that is left out, or used under another cell's name."""


def distinct(out: Path, columns: Columns) -> Distinct:
    """Leaves out copies of cells, and logs them.

    Of several folders with one id, the one whose name ends in it is used, else the one with more scores, else the newest.

    Args:
        out: output folder.
        columns: its records, sorted by folder.
    """
    positions: dict[CellKey, list[int]] = {}
    for position, summary in enumerate(columns.summaries):
        positions.setdefault(summary.key, []).append(position)
    kept = {cell: _best(out, columns, copies) for cell, copies in positions.items()}
    ids = {digits for at in kept.values() for digits in _own_digits(columns.summaries[at])}
    lost: list[str] = []
    copies: list[str] = []
    misplaced: list[str] = []
    for position, summary in enumerate(columns.summaries):
        other, at = _other_digits(summary), kept[summary.key]
        if at != position:
            text = _copy_text(out, summary, columns.summaries[at])
            (copies if not other or other in ids else lost).append(text)
        elif other:
            misplaced.append(_misplaced_text(out, summary))
    if not lost and not copies and not misplaced:
        return Distinct(columns=columns)
    log_left_out([*copies, *lost])
    for text in misplaced:
        LOG.warning("misplaced: %s", text)
    return Distinct(columns=columns.take(sorted(kept.values())), lost=tuple(lost), notes=(*copies, *misplaced))


def _best(out: Path, columns: Columns, copies: Sequence[int]) -> int:
    """The position of the copy to use."""
    if len(copies) == 1:
        return copies[0]

    def rank(position: int) -> tuple[bool, bool, int, int]:
        summary = columns.summaries[position]
        is_own = summary.folder.endswith(_own_digits(summary))
        return is_own, not _other_digits(summary), int(columns.score_counts[position]), _modified(out / summary.folder)

    return max(copies, key=rank)


def _modified(folder: Path) -> int:
    try:
        return (folder / RECORD).stat().st_mtime_ns
    except OSError:
        return 0


def _own_digits(summary: RecordSummary) -> tuple[str, ...]:
    """Ends of the names that a record's own folder may have: that of an earlier schema version is another one."""
    return tuple(each[:DIGITS] for each in (summary.id, summary.stored_id) if each)


def _other_digits(summary: RecordSummary) -> str:
    """The digits of another cell's id at the end of a folder's name; empty if there are none."""
    match = _ID.search(summary.folder)
    return match[0] if match and match[0] not in _own_digits(summary) else ""


def _copy_text(out: Path, summary: RecordSummary, used: RecordSummary) -> str:
    folder, digits = out / summary.folder, summary.id[:DIGITS]
    if not _other_digits(summary):
        return (
            f"{folder} holds the cell of {out / used.folder} once more (id {digits}); move one of the two out of {out}"
        )
    return (
        f"{folder} holds the record of another cell: {_name(summary)} (id {digits}), which is in {out / used.folder}; "
        f"move {RECORD} out of {folder}, and run the cell again with bench run"
    )


def _misplaced_text(out: Path, summary: RecordSummary) -> str:
    folder, digits = out / summary.folder, summary.id[:DIGITS]
    return (
        f"{folder} holds the record of another cell: {_name(summary)} (id {digits}); no other folder holds it, and it is "
        f"used. Give the folder a name that ends in -{digits}, or move {RECORD} out of it and run the cell again with bench run"
    )


def _name(summary: RecordSummary) -> str:
    return "/".join((*summary.labels, "-" if summary.seed is None else str(summary.seed)))


def repeated_line(line: bytes, number: int, first: bytes, first_number: int, path: Path) -> str:
    """The message on a line of a leaderboard that holds the cell of an earlier line, with the same contents.

    Raises:
        RecordError: the contents differ, or one of the lines is damaged.
    """
    from benchmark.records.leaderboard import parse_line

    record = parse_line(line, number, path)
    text = f"line {number}: {path} holds the cell of line {first_number} once more"
    if line != first and record != parse_line(first, first_number, path):
        raise RecordError(
            f"{text}, with other contents (id {record.short_id}); delete one of the two lines, or restore the file from git"
        )
    return f"{text} (id {record.short_id}); delete one of the two lines"
