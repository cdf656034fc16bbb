"""The records that an export adds to leaderboards: from memory, or from an output folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records.columns import columns_of
from benchmark.records.record import RECORD, Record
from benchmark.records.record_text import parse_record
from benchmark.records.store import RecordStore
from benchmark.records.stored_file import read_regular


class RecordSource:
    """Records in memory.

    Args:
        records: to export.
        left_out: gets one message for each record that cannot be exported; None: raise the error.
    """

    def __init__(self, records: Sequence[Record], left_out: list[str] | None) -> None:
        self.columns = columns_of(records)
        self._records = records
        self._left_out = left_out

    def digest(self, position: int) -> str:
        """Identifies the contents of a record; empty: unknown."""
        return ""

    def read(self, position: int) -> tuple[Record, str]:
        """A record, and the digest of its contents."""
        return self._records[position], ""

    def leave_out(self, error: RecordError) -> None:
        """Reports a record that cannot be exported, or raises the error."""
        if self._left_out is None:
            raise error
        self._left_out.append(str(error))


class FolderSource(RecordSource):
    """Records of an output folder, which are read one by one.

    Args:
        store: the folder.
        left_out: see `RecordSource`.
    """

    def __init__(self, store: RecordStore, left_out: list[str] | None) -> None:
        self.columns = store.columns
        self._out = Path(store.name)
        self._left_out = left_out

    def digest(self, position: int) -> str:
        """SHA-256 of the record.json; empty if it cannot be read."""
        try:
            return hashlib.sha256(read_regular(self._path(position))).hexdigest()
        except (OSError, RecordError):
            return ""

    def read(self, position: int) -> tuple[Record, str]:
        """The record, and the SHA-256 of its file.

        Raises:
            RecordError: the record is missing or damaged.
        """
        path = self._path(position)
        try:
            text = read_regular(path)
        except FileNotFoundError as error:
            raise RecordError(f"{path} does not exist any more") from error
        return parse_record(text, path), hashlib.sha256(text).hexdigest()

    def _path(self, position: int) -> Path:
        return self._out / self.columns.summaries[position].folder / RECORD
