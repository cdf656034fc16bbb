"""An output folder: its index tells what every record holds, and a record is read only where a command needs it whole.

10,000 records take a second to read and a gigabyte to keep, so that no command keeps them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records import index
from benchmark.records.columns import Columns
from benchmark.records.record import RECORD, Record, is_named
from benchmark.records.record_files import read_record

SHOWN = 8
"""Records or settings that a message lists."""


class OutputFolder:
    """The records of an output folder.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def _index(self) -> tuple[Columns, list[str]]:
        return index.read(self.path)

    @property
    def columns(self) -> Columns:
        """All records that can be read, sorted by the names of their folders."""
        return self._index[0]

    @property
    def problems(self) -> tuple[str, ...]:
        """One message for each record that cannot be read. Empty until the folder was searched."""
        return tuple(self._index[1]) if "_index" in vars(self) else ()

    def read(self, position: int) -> Record:
        """The whole record at an index of the columns.

        Raises:
            RecordError: the record is missing or damaged.
        """
        return read_record(self.path / self.columns.summaries[position].folder)

    def records(self, positions: Iterable[int] | None = None) -> Iterator[Record]:
        """Whole records, read one by one; None: all."""
        return map(self.read, range(len(self.columns)) if positions is None else positions)

    def matches(self, argument: str) -> list[int]:
        """Indices of the records that a command-line argument names."""
        summaries = self.columns.summaries
        return [position for position, summary in enumerate(summaries) if is_named(summary, argument)]

    def find(self, argument: str) -> Record:
        """The record that a command-line argument names.

        Args:
            argument: a cell folder, a cell id or its unique prefix, or method/encoder/dataset/seed.

        Raises:
            RecordError: no record or several match.
        """
        if (Path(argument) / RECORD).is_file():
            return read_record(Path(argument))
        matching = self.matches(argument)
        if len(matching) == 1:
            return self.read(matching[0])
        names = [self.columns.summaries[each].folder for each in matching or range(len(self.columns))]
        raise RecordError(
            f"{_mismatch(argument, len(matching))} in {self.path}; pass a cell folder, a cell id or its prefix, or "
            f"method/encoder/dataset/seed. {'Matching' if matching else 'Available'}: {listed(names)}"
            f"{_unreadable(self.problems)}"
        )

    def seed_groups(self) -> list[list[int]]:
        """Indices of the finished records, grouped with those that differ only in the seed; see `record.group_by_seed`."""
        groups: dict[str, list[int]] = {}
        for position, summary in enumerate(self.columns.summaries):
            if summary.state == "done":
                groups.setdefault(summary.shared.grouping_key, []).append(position)
        return list(groups.values())


def listed(names: Iterable[str]) -> str:
    """Names without repetition, the first few of them: `a, b and 3 more`."""
    choices = list(dict.fromkeys(names))
    more = f" and {len(choices) - SHOWN} more" if len(choices) > SHOWN else ""
    return f"{', '.join(choices[:SHOWN]) or 'none'}{more}"


def _mismatch(argument: str, count: int) -> str:
    return f"'{argument}' matches {count} records" if count else f"no record matches '{argument}'"


def _unreadable(problems: Sequence[str]) -> str:
    """The records that cannot be read: one of them may be the requested one."""
    return f". Left out: {listed(problems)}" if problems else ""
