"""The .outcomes.npz of a leaderboard during an export: arrays of records that stay are copied packed, others are added."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import RecordError
from benchmark.records.leaderboard import RESTORE
from benchmark.records.npz_reader import DAMAGE, END, FILE_BYTES, SUFFIX, Member, NpzReader, unpacked
from benchmark.records.npz_writer import NpzWriter
from benchmark.records.number_arrays import Arrays, digest_of
from benchmark.records.outcomes import NO_ARRAYS
from benchmark.records.stored_file import open_kept

SEAL_BYTES = 64
BLOCK = 2**20
"""Bytes that are read at once."""


class StoredOutcomes:
    """The arrays of a leaderboard before an export, by group: all arrays of a record.

    Args:
        path: of the .outcomes.npz; without one there are no arrays.
        jsonl: the .jsonl beside it.
    """

    def __init__(self, path: Path, jsonl: BinaryIO) -> None:
        self._path = path
        self._damage: RecordError | None = None
        self._is_sealed = False
        self._reader = NpzReader(io.BytesIO(NO_ARRAYS))
        if path.exists() or path.is_symlink():
            try:
                with self._reported():
                    file = open_kept(path, FILE_BYTES)
                    self._reader = NpzReader(file)
                    self._is_sealed = _seal_of(file) == seal(
                        *(_sha256(each, end) for each, end in _bodies(file, jsonl))
                    )
            except RecordError as error:
                self._damage = error

    @property
    def groups(self) -> list[str]:
        """All groups, in the order of the file."""
        return self._reader.groups

    def has(self, group: str, digests: Mapping[str, str]) -> bool:
        """Whether a group holds exactly the arrays with these checksums. They do if both files are as an export left them.

        Args:
            group: the record's.
            digests: name, without the group and the encoding -> checksum.
        """
        if self._is_sealed:
            return True
        try:
            members = {member.name.rpartition("|")[0][len(group) :]: member for member in self._reader.members(group)}
            return members.keys() == digests.keys() and all(
                digest_of(self._reader.read(member)) == digests[name] for name, member in members.items()
            )
        except DAMAGE:
            return False  # the group is written again

    def packed(self, group: str) -> Iterator[tuple[Member, bytes]]:
        """The arrays of a group as they are stored, each compared with its checksum.

        Raises:
            RecordError: the file or an array is damaged.
        """
        if self._damage is not None:
            raise self._damage
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

    def close(self, jsonl: bytes) -> None:
        """Completes the file.

        Args:
            jsonl: SHA-256 of the .jsonl beside it.
        """
        self._writer.close(lambda body: seal(body, jsonl))


# --- the seal of a leaderboard ----------------------------------------------------------------------------------------


def seal(body: bytes, jsonl: bytes) -> bytes:
    """The comment at the end of an .outcomes.npz: it shows that the file and the .jsonl are as one export left them.

    Args:
        body: SHA-256 of the file up to its end record.
        jsonl: SHA-256 of the .jsonl.
    """
    return hashlib.sha256(body + jsonl).hexdigest().encode()


def _seal_of(file: BinaryIO) -> bytes:
    file.seek(-SEAL_BYTES, io.SEEK_END)
    return file.read()


def _bodies(npz: BinaryIO, jsonl: BinaryIO) -> Iterator[tuple[BinaryIO, int]]:
    """What a seal covers: each file, and the number of bytes."""
    yield npz, npz.seek(0, io.SEEK_END) - END.size - SEAL_BYTES
    yield jsonl, jsonl.seek(0, io.SEEK_END)


def _sha256(file: BinaryIO, size: int) -> bytes:
    digest, left = hashlib.sha256(), size
    file.seek(0)
    while left > 0 and (block := file.read(min(left, BLOCK))):
        digest.update(block)
        left -= len(block)
    return digest.digest()
