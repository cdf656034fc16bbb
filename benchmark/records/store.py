"""Many records of one source: columns tell what all of them hold, and a record is read whole only where it is needed.

10,000 whole records take a gigabyte, so that no command keeps them.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from benchmark.records.columns import Columns
from benchmark.records.record import Record, Score, is_named

OutcomeReader = Callable[[Record, Score], NDArray[Any] | None]
"""(images,) outcomes of a score of a record; None if they were not kept, or are not its own."""


class RecordStore(ABC):
    """The records of a source."""

    name: str
    """File or folder, for messages."""

    @property
    @abstractmethod
    def columns(self) -> Columns:
        """All records that can be read."""

    @property
    @abstractmethod
    def problems(self) -> Sequence[str]:
        """One message for each record that cannot be read."""

    @property
    def notes(self) -> Sequence[str]:
        """One message for each copy of a cell that is left out."""
        return ()

    @abstractmethod
    def read(self, position: int) -> Record:
        """The whole record at an index of the columns.

        Raises:
            RecordError: the record is missing or damaged, although it was not when the columns were read.
        """

    @abstractmethod
    def outcomes(self) -> OutcomeReader:
        """Reads the outcomes of scores, and keeps them as long as the reader is kept."""

    def read_id(self, record_id: str) -> Record:
        """The whole record with an id, which is in the columns.

        Raises:
            RecordError: see `read`.
        """
        return self.read(self._positions[record_id])

    @functools.cached_property
    def _positions(self) -> dict[str, int]:
        return {summary.id: position for position, summary in enumerate(self.columns.summaries)}

    def records(self, positions: Iterable[int] | None = None) -> Iterator[Record]:
        """Whole records, read one by one; None: all."""
        return map(self.read, range(len(self.columns)) if positions is None else positions)

    def matches(self, argument: str) -> list[int]:
        """Indices of the records that a command-line argument names."""
        summaries = self.columns.summaries
        return [position for position, summary in enumerate(summaries) if is_named(summary, argument)]

    def seed_groups(self) -> list[list[int]]:
        """Indices of the finished records, grouped with those that differ only in the seed; see `record.group_by_seed`."""
        groups: dict[str, list[int]] = {}
        for position, summary in enumerate(self.columns.summaries):
            if summary.state == "done":
                groups.setdefault(summary.shared.grouping_key, []).append(position)
        return list(groups.values())
