"""Leaderboards: finished records of one dataset in git, as .jsonl, .outcomes.npz and .csv.

Records are added or replaced by cell id; the lines of all others stay as they are. The .csv is always rebuilt from the .jsonl.
The three files are replaced one after the other. If an export is killed between two of them, the checksums in the .jsonl
show which outcomes are not those of their scores: they are not used, and the next export of these cells writes them again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import RecordError
from benchmark.records.duplicates import repeated_line
from benchmark.records.record import Named, Record
from benchmark.records.record_files import log_left_out
from benchmark.records.record_text import parse_record
from benchmark.records.stored_file import RECORD_BYTES, open_kept

JSONL = ".jsonl"
OUTCOMES = ".outcomes.npz"
CSV = ".csv"
MAX_NAME = 100
"""Characters of a leaderboard's name; file systems accept 255 with all suffixes."""
FILE_BYTES = 2**34
"""Largest .jsonl that is read: 16 GiB. Only one line is in memory."""
RESTORE = "restore the file from git"


def leaderboard_name(record: Named) -> str:
    """The dataset's label without its subset, as a file name: all subsets of a dataset share one leaderboard.

    The name of a long label, or of one with letters beyond ASCII, ends with digits of its hash, since a part is left out; so
    does that of a dataset called `speed`, since `bench speed` writes speed.csv.
    """
    label = _label(record)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.") or "dataset"
    is_whole = label.isascii() and len(name) <= MAX_NAME and name.lower() != "speed"
    return name if is_whole else f"{name[:MAX_NAME]}-{_digits(label)}"


class BoardNames:
    """The leaderboards of records: with digits of a hash if a dataset of another label has the same file name.

    Args:
        to: folder of the leaderboards.
    """

    def __init__(self, to: Path) -> None:
        self._to = to
        self._owners: dict[str, str] = {}  # file name -> label of its dataset

    def of(self, record: Named) -> str:
        """The name of a record's leaderboard."""
        name, label = leaderboard_name(record), _label(record)
        if name not in self._owners:
            self._owners[name] = self._stored_label(self._to / f"{name}{JSONL}") or label
        return name if self._owners[name] == label else f"{name}-{_digits(label)}"

    @staticmethod
    def _stored_label(path: Path) -> str:
        """The label of a leaderboard's dataset, from its first record that can be read; empty if there is none."""
        for number, _, line in lines(open_lines(path), path):
            with contextlib.suppress(RecordError):  # the export of the record may replace it
                return _label(parse_line(line, number, path))
        return ""


def _label(record: Named) -> str:
    return record.labels[2].partition("[subset=")[0]


def _digits(label: str) -> str:
    return hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def read_leaderboard(path: Path, left_out: list[str] | None = None, name: str = "") -> list[Record]:
    """The records of a .jsonl; empty if there is no such file. Schema version 1 is upgraded in memory.

    Args:
        path: of the file.
        left_out: gets one message for each line that is not a record; None: raise an error.
        name: the file in messages, such as `HEAD:results/digits.jsonl`.

    Raises:
        RecordError: the file cannot be read, or a line is not a record; the message names it.
    """
    records: list[Record] = []
    first: dict[str, tuple[bytes, int]] = {}  # id -> line and number
    for number, _, line in lines(open_lines(path), path):
        try:
            record = parse_line(line, number, Path(name or path))
            if record.id in first:
                log_left_out([repeated_line(line, number, *first[record.id], Path(name or path))])
                continue
            first[record.id] = line, number
            records.append(record)
        except RecordError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
    if left_out:
        log_left_out(left_out)
    return records


def open_lines(path: Path) -> BinaryIO:
    """A .jsonl, for `lines`; empty if there is no such file.

    Raises:
        RecordError: the file cannot be read.
    """
    if not path.exists() and not path.is_symlink():
        return io.BytesIO()
    try:
        return open_kept(path, FILE_BYTES)
    except FileNotFoundError:
        raise RecordError(f"cannot read {path}: there is no such file any more; {RESTORE}") from None


def lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, int, bytes]]:
    """The number (from 1) and start of each line of a .jsonl, and the line without its end. Blank lines are skipped.

    Raises:
        RecordError: the file cannot be read. A line may be longer than a record; the rest of it is not read.
    """
    start = number = 0
    try:
        file.seek(0)
        while line := file.readline(RECORD_BYTES):
            number += 1
            if line.strip():
                yield number, start, line.rstrip(b"\r\n")
            start += len(line)
            if len(line) == RECORD_BYTES:
                return
            file.seek(start)  # the caller may have read another line
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}; {RESTORE}") from error


def parse_line(line: bytes, number: int, path: Path) -> Record:
    """The record of a line.

    Args:
        line: with or without its end.
        number: of the line, from 1, for messages.
        path: the file, for messages.

    Raises:
        RecordError: the line is not a record.
    """
    try:
        return parse_record(line, path, RESTORE)
    except RecordError as error:
        raise type(error)(f"line {number}: {error}") from error


def outcomes_path(leaderboard: Path) -> Path:
    """The .outcomes.npz beside a .jsonl."""
    return leaderboard.with_name(leaderboard.name.removesuffix(JSONL) + OUTCOMES)
