"""The .outcomes.npz of a leaderboard during an export: arrays of records that stay are copied packed, others are added."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import RecordError
from benchmark.records.leaderboard import RESTORE
from benchmark.records.npz_reader import DAMAGE, FILE_BYTES, SUFFIX, Member, NpzReader, unpacked
from benchmark.records.npz_writer import NpzWriter
from benchmark.records.number_arrays import Arrays
from benchmark.records.outcomes import NO_ARRAYS
from benchmark.records.stored_file import open_kept


class StoredOutcomes:
    """The arrays of a leaderboard before an export, by group: all arrays of a record.

    Args:
        path: of the .outcomes.npz; without one there are no arrays.

    Raises:
        RecordError: the file is damaged. This holds for all methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        exists = path.exists() or path.is_symlink()
        with self._reported():
            self._reader = NpzReader(open_kept(path, FILE_BYTES) if exists else io.BytesIO(NO_ARRAYS))

    @property
    def groups(self) -> list[str]:
        """All groups, in the order of the file."""
        return self._reader.groups

    def has(self, group: str, names: Collection[str]) -> bool:
        """Whether a group holds exactly the arrays with these names, which lack the group and the encoding."""
        with self._reported():
            return {name.rpartition("|")[0][len(group) :] for name in self._reader.names(group)} == set(names)

    def packed(self, group: str) -> Iterator[tuple[Member, bytes]]:
        """The arrays of a group as they are stored, each compared with its checksum."""
        with self._reported():
            for member in self._reader.members(group):
                packed = self._reader.packed(member)
                unpacked(member, packed)
                yield member, packed

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise RecordError(f"cannot read {self._path} ({error}); {RESTORE}") from error


class NewOutcomes:
    """The arrays of a leaderboard after an export, written in the order of their names.

    Args:
        stored: those before.
        stream: the new file.
    """

    def __init__(self, stored: StoredOutcomes, stream: BinaryIO) -> None:
        self._stored = stored
        self._writer = NpzWriter(stream)

    def copy(self, stored_group: str, group: str) -> None:
        """Copies the arrays of a group, whose name may change."""
        renamed = [
            (self._renamed(member, group + member.name.removeprefix(stored_group)), packed)
            for member, packed in self._stored.packed(stored_group)
        ]
        for member, packed in sorted(renamed, key=lambda pair: pair[0].name):
            self._writer.copy(member, packed)

    @staticmethod
    def _renamed(member: Member, name: str) -> Member:
        return member if name == member.name else member._replace(name=name, encoded_name=(name + SUFFIX).encode())

    def add(self, arrays: Arrays) -> None:
        """Packs the arrays of a record."""
        for name in sorted(arrays):
            self._writer.write(name, arrays[name])

    def close(self) -> None:
        """Completes the file."""
        self._writer.close()
