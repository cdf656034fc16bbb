"""The records of an output folder, through its index."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records import index
from benchmark.records.columns import Columns
from benchmark.records.outcomes import FolderOutcomes
from benchmark.records.record import Record
from benchmark.records.record_files import has_record, read_record
from benchmark.records.store import OutcomeReader, RecordStore

SHOWN = 8
"""Records or settings that a message lists."""


class OutputFolder(RecordStore):
    """The records of an output folder, sorted by the names of their folders.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    @functools.cached_property
    def _index(self) -> tuple[Columns, list[str], list[str]]:
        notes: list[str] = []
        return *index.read(self.path, notes=notes), notes

    @property
    def columns(self) -> Columns:
        """All records that can be read."""
        return self._index[0]

    @property
    def problems(self) -> tuple[str, ...]:
        """One message for each record that cannot be read."""
        return tuple(self._index[1])

    @property
    def notes(self) -> tuple[str, ...]:
        """One message for each folder that holds a copy of a cell, or is named after another cell."""
        return tuple(self._index[2])

    def read(self, position: int) -> Record:
        """The whole record at an index of the columns."""
        return read_record(self.path / self.columns.summaries[position].folder)

    def outcomes(self) -> OutcomeReader:
        """Reads the outcomes of scores."""
        return FolderOutcomes()

    def find(self, argument: str) -> Record:
        """The record that a command-line argument names.

        Args:
            argument: a cell folder, a cell id or its unique prefix, or method/encoder/dataset/seed.

        Raises:
            RecordError: no record or several match.
        """
        if argument and has_record(argument):
            return read_record(Path(argument))
        matching = self.matches(argument)
        if len(matching) == 1:
            return self.read(matching[0])
        names = [self.columns.summaries[each].folder for each in matching or range(len(self.columns))]
        problem = f"'{argument}' matches {len(matching)} records" if matching else f"no record matches '{argument}'"
        raise RecordError(
            f"{problem} in {self.name}; pass a cell folder, a cell id or its prefix, or method/encoder/dataset/seed. "
            f"{'Matching' if matching else 'Available'}: {listed(names)}"
        )


def listed(names: Iterable[str]) -> str:
    """Names without repetition, the first few of them: `a, b and 3 more`."""
    choices = list(dict.fromkeys(names))
    more = f" and {len(choices) - SHOWN} more" if len(choices) > SHOWN else ""
    return f"{', '.join(choices[:SHOWN]) or 'none'}{more}"
