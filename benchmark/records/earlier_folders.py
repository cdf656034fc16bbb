"""Finds cell folders that were created under schema version 1: their names hold 10 digits of the version 1 id.

A version 1 folder without a record, whose cell was interrupted in training, is not found: its cell starts again.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchmark.errors import RecordError
from benchmark.records.record import RECORD
from benchmark.records.record_files import read_record
from benchmark.records.stored_file import read_regular
from benchmark.records.upgrade import WORDS

DIGITS = 10
"""Digits of an id at the end of a folder's name."""


class _Head(msgspec.Struct):
    """The part of a record that tells whether its folder is named after another id."""

    id: str
    schema_version: int


class EarlierFolders:
    """The cell folders of an output folder that are named after a version 1 id.

    Only folders whose name differs from the searched one in nothing but the id are read.

    Args:
        out: output folder.
        names: its entries.
    """

    def __init__(self, out: Path, names: Iterable[str]) -> None:
        self._out = out
        self._by_stem: dict[str, list[str]] = {}
        for name in sorted(names):
            if re.search(rf"-[0-9a-f]{{{DIGITS}}}$", name):
                self._by_stem.setdefault(_stem(name), []).append(name)
        self._id = functools.cache(self._read_id)

    def find(self, folder: str, cell_id: str) -> str | None:
        """The folder of a cell that is named after its version 1 id; None if there is none.

        Args:
            folder: the name that version 2 gives to the cell's folder.
            cell_id: its version 2 id.
        """
        names = self._by_stem.get(_stem(folder), ()) if self._by_stem else ()  # most plans start in an empty folder
        return next((name for name in names if name != folder and self._id(name) == cell_id), None)

    def _read_id(self, name: str) -> str | None:
        """The version 2 id of a record whose folder is named after another id; None for all others."""
        try:
            head = msgspec.json.decode(read_regular(self._out / name / RECORD), type=_Head)
            if head.schema_version == 1:
                return read_record(self._out / name).id
        except (OSError, msgspec.DecodeError, RecordError, RecursionError):
            return None
        return None if name.endswith(head.id[:DIGITS]) else head.id


def _stem(name: str) -> str:
    """A folder's name without its id, in the spelling of version 2."""
    stem = name[:-DIGITS]
    for old, new in WORDS.items():
        stem = stem.replace(old, new)
    return stem
