"""Adds records to leaderboards. Records that are new or have changed are packed; all others stay as they are stored.
Records are read one by one, so that 10,000 of them need little memory. All files of all leaderboards are written beside their
targets before the first is replaced.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from benchmark.errors import RecordError
from benchmark.records.atomic import remove_abandoned, replaced
from benchmark.records.columns import ColumnsBuilder, concatenate
from benchmark.records.dataframe import csv_chunks
from benchmark.records.duplicates import repeated_line
from benchmark.records.export_outcomes import NewOutcomes, StoredOutcomes
from benchmark.records.export_sources import FolderSource, RecordSource
from benchmark.records.leaderboard import CSV, JSONL, OUTCOMES, BoardNames, lines, open_lines, parse_line
from benchmark.records.npz_writer import HashedStream
from benchmark.records.outcomes import DIGESTS, pack_outcomes, packed_digests
from benchmark.records.record import SCHEMA_VERSION, Named, Record
from benchmark.records.record_files import log_left_out
from benchmark.records.record_text import as_json, has_own_checksum, record_text
from benchmark.records.store import RecordStore
from benchmark.records.stored_file import check_writable

SOURCE = "source_sha256"
"""Key among the checks of an exported record: SHA-256 of the record.json that it was exported from."""


def export(records: Sequence[Record] | RecordStore, to: Path, left_out: list[str] | None = None) -> dict[str, int]:
    """Add finished records to the leaderboards in a folder.

    Smoke, failed and interrupted records are left out.

    Args:
        records: from a folder of records.
        to: folder of the leaderboards.
        left_out: gets one message for each record that is damaged, or whose outcomes are missing, damaged or not its own;
            None: raise an error.

    Returns:
        Leaderboard name -> number of exported records.

    Raises:
        RecordError: a file of a leaderboard is damaged, or the folder cannot be written. Then nothing has changed.
    """
    source = FolderSource(records, left_out) if isinstance(records, RecordStore) else RecordSource(records, left_out)
    names, boards = BoardNames(to), dict[str, dict[str, int]]()
    for position, summary in enumerate(source.columns.summaries):
        if summary.state == "done":
            boards.setdefault(names.of(summary), {})[summary.id] = position
    for name in boards:
        check_writable(to / f"{name}{CSV}")
        _check_records_of_csv(to / name)
    counts: dict[str, int] = {}
    remove_abandoned(to)
    with _removed_if_empty(to), ExitStack() as opened:  # when it closes, the files are replaced
        for name, positions in boards.items():
            with contextlib.suppress(_NothingToExport), ExitStack() as of_board:
                counts[name] = _Export(to / name, source, positions).write(of_board)
                opened.push(of_board.pop_all())
    return counts


def _check_records_of_csv(path: Path) -> None:
    """Raises a RecordError if a leaderboard is only a CSV: it is rebuilt from records, so its rows would be lost."""
    table, records = (path.with_name(path.name + suffix) for suffix in (CSV, JSONL))
    if table.exists() and not records.exists():
        raise RecordError(
            f"{table} has no {records.name} beside it, so its rows would be lost; restore that file, or rename {table.name}"
        )


@contextlib.contextmanager
def _removed_if_empty(folder: Path) -> Iterator[None]:
    """Removes a folder that the block creates without a file in it."""
    existed = folder.exists()
    try:
        yield
    finally:
        if not existed:
            with contextlib.suppress(OSError):
                folder.rmdir()


class _NothingToExport(Exception):  # noqa: N818  # ends the writing of a leaderboard, and is no error
    """No record of a leaderboard can be exported."""


# --- one leaderboard --------------------------------------------------------------------------------------------------


class _Line(NamedTuple):
    """A line of the new leaderboard."""

    order: tuple[str, ...]
    file: BinaryIO
    """The stored leaderboard, or the file of new lines."""
    start: int

    def read(self) -> bytes:
        """The line with its end."""
        self.file.seek(self.start)
        return self.file.readline().rstrip(b"\r\n") + b"\n"


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """A line of the stored leaderboard."""

    start: int
    number: int
    """From 1."""
    record: _Outline | None
    """Of a record that stays; None if it is exported again."""


@dataclass(frozen=True, kw_only=True)
class _Outline:
    """What is known of a record that stays."""

    order: tuple[str, ...]
    group: str
    """Start of the names of its arrays."""
    upgraded: bool
    """Whether its line is of an earlier schema version, and is written anew."""


class _Id(msgspec.Struct):
    """The part of a line that identifies its record."""

    id: str
    schema_version: int


class _Checks(msgspec.Struct):
    source_sha256: str = ""
    arrays_sha256: dict[str, str] = {}


class _Origin(msgspec.Struct):
    """The part of a line that tells what it was exported from."""

    checks: _Checks


class _Export:
    """The export into one leaderboard.

    Args:
        path: the leaderboard, without the suffixes of its three files.
        source: the records.
        positions: id -> position of each record that belongs to the leaderboard.
    """

    def __init__(self, path: Path, source: RecordSource, positions: dict[str, int]) -> None:
        self._csv, self._jsonl, self._npz = (path.with_name(path.name + suffix) for suffix in (CSV, JSONL, OUTCOMES))
        self._source = source
        self._positions = positions
        self._columns = ColumnsBuilder()
        self._rows: dict[str, int] = {}  # id -> index into these columns
        self._file = open_lines(self._jsonl)
        self._stored, self._count = self._read_stored()
        self._outcomes = StoredOutcomes(self._npz, self._file)
        self._unchanged = [cell for cell in positions if self._is_unchanged(cell)]
        self._lines: list[_Line] = []

    def write(self, opened: ExitStack) -> int:
        """Writes the files that change; they replace those of the leaderboard when `opened` closes, outcomes first.

        Returns:
            The number of exported records.

        Raises:
            _NothingToExport: no record can be exported.
        """
        if self._is_complete():
            if not _holds(self._csv, self._csv_text()):
                opened.enter_context(replaced(self._csv)).writelines(self._csv_text())
            return len(self._positions)
        csv, jsonl, packed = (opened.enter_context(replaced(path)) for path in (self._csv, self._jsonl, self._npz))
        count = self._write_records(jsonl, packed)
        csv.writelines(self._csv_text())
        return count

    def _read_stored(self) -> tuple[dict[str, _Stored], int]:
        """Id -> line, and the number of lines. The records that stay are added to the columns."""
        stored: dict[str, _Stored] = {}
        number = 0
        for number, start, line in lines(self._file, self._jsonl):
            cell, outline = _id_of(line), None
            if cell not in self._positions:
                record = parse_line(line, number, self._jsonl)
                cell, outline = record.id, _outline(record)
            if first := stored.get(cell):
                text = _Line((), self._file, first.start).read().rstrip(b"\n")
                log_left_out([repeated_line(line, number, text, first.number, self._jsonl)])
                continue
            if cell not in self._positions:
                self._add_row(record)
            stored[cell] = _Stored(start=start, number=number, record=None if cell in self._positions else outline)
        return stored, number

    def _add_row(self, record: Record) -> None:
        self._rows[record.id] = len(self._columns.summaries)
        self._columns.add(record)

    def _is_unchanged(self, cell: str) -> bool:
        """Whether the stored line and outcomes are those that an export of the record would write."""
        digest = self._source.digest(self._positions[cell]) if cell in self._stored else ""
        if not digest:
            return False
        line = self._line_of(cell).read().rstrip(b"\n")
        if not has_own_checksum(line):
            return False
        try:
            checks = msgspec.json.decode(line, type=_Origin).checks
        except msgspec.DecodeError:
            return False
        return checks.source_sha256 == digest and self._outcomes.has(_group(cell), checks.arrays_sha256)

    def _line_of(self, cell: str) -> _Line:
        """The stored line of a record."""
        stored = self._stored[cell]
        order = stored.record.order if stored.record else _order(self._source.columns.summaries[self._positions[cell]])
        return _Line(order, self._file, stored.start)

    def _is_complete(self) -> bool:
        """Whether the stored leaderboard is already what the export would write."""
        stored = [self._line_of(cell) for cell in self._stored]
        groups = [_group(cell) for cell in sorted(self._stored)]
        return (
            len(self._unchanged) == len(self._positions)
            and len(stored) == self._count
            and sorted(stored, key=lambda line: line.order) == sorted(stored, key=lambda line: line.start)
            and not any(each.record and each.record.upgraded for each in self._stored.values())
            and [group for group in groups if group in set(self._outcomes.groups)] == self._outcomes.groups
        )

    def _csv_text(self) -> Iterator[bytes]:
        """The CSV of all records, in parts."""
        unchanged = self._source.columns.take([self._positions[cell] for cell in self._unchanged])
        others = self._columns.columns().take(list(self._rows.values()))
        return (chunk.encode() for chunk in csv_chunks(concatenate(unchanged, others)))

    # --- writing

    def _write_records(self, jsonl: BinaryIO, packed: BinaryIO) -> int:
        """Writes lines and outcomes of all records, and returns how many were exported."""
        outcomes, unchanged = NewOutcomes(self._outcomes, packed), set(self._unchanged)
        count = len(unchanged)
        with tempfile.TemporaryFile(dir=self._jsonl.parent) as new_lines:
            for cell in sorted(self._positions.keys() | self._stored.keys()):  # the order of the arrays
                if cell in unchanged:
                    outcomes.copy(_group(cell), _group(cell))
                    self._lines.append(self._line_of(cell))
                elif cell in self._positions and self._add(cell, new_lines, outcomes):
                    count += 1
                elif cell in self._stored:
                    self._keep(cell, new_lines, outcomes)
            if not count:
                raise _NothingToExport
            board = HashedStream(jsonl)
            for line in sorted(self._lines, key=lambda line: line.order):
                board.write(line.read())
            outcomes.close(board.digest())
        return count

    def _add(self, cell: str, new_lines: BinaryIO, outcomes: NewOutcomes) -> bool:
        """Exports a record; False if it cannot be exported, which is reported."""
        try:
            record, digest = self._source.read(self._positions[cell])
            arrays = pack_outcomes(record)
        except RecordError as error:
            self._source.leave_out(error)
            return False
        outcomes.add(arrays)
        checks = {**record.checks, DIGESTS: packed_digests(record, arrays)}
        exported = dataclasses.replace(record, checks={**checks, SOURCE: digest} if digest else checks)
        self._write_line(exported, new_lines)
        self._add_row(record)
        return True

    def _keep(self, cell: str, new_lines: BinaryIO, outcomes: NewOutcomes) -> None:
        """Keeps a stored record."""
        line, outline = self._line_of(cell), self._stored[cell].record
        if outline is None or outline.upgraded:
            record = parse_line(line.read().rstrip(b"\n"), self._stored[cell].number, self._jsonl)
            outline = outline or _outline(record)
            if cell not in self._rows:
                self._add_row(record)
        outcomes.copy(outline.group, _group(cell))
        if outline.upgraded:
            self._write_line(record, new_lines)
        else:
            self._lines.append(line)

    def _write_line(self, record: Record, new_lines: BinaryIO) -> None:
        start = new_lines.seek(0, io.SEEK_END)
        new_lines.write(_line_text(record) + b"\n")
        self._lines.append(_Line(_order(record), new_lines, start))


def _id_of(line: bytes) -> str:
    """The id in a line of this schema version; empty for all others."""
    try:
        head = msgspec.json.decode(line, type=_Id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return head.id if head.schema_version == SCHEMA_VERSION else ""


def _outline(record: Record) -> _Outline:
    return _Outline(order=_order(record), group=record.outcomes_group, upgraded=bool(record.stored_id))


def _order(record: Named) -> tuple[str, ...]:
    """The place of a record in a leaderboard."""
    method, encoder, dataset = record.labels
    return dataset, method, encoder, f"{-1 if record.seed is None else record.seed:06d}", record.id


def _group(cell: str) -> str:
    """Start of the names of a record's arrays."""
    return f"{cell[:16]}|"


def _line_text(record: Record) -> bytes:
    body = as_json(record)
    if body["failure"]:  # the traceback holds file names of a machine
        body["failure"] = {key: value for key, value in body["failure"].items() if key != "traceback"}
    return record_text(body, sort_keys=True)


def _holds(path: Path, parts: Iterator[bytes]) -> bool:
    """Whether a file has the contents that are passed in parts."""
    try:
        with path.open("rb") as file:
            return all(file.read(len(part)) == part for part in parts) and not file.read(1)
    except OSError:
        return False
