"""Reads and writes record.json of cells. A record that cannot be read is left out, and logged by every reader."""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import isfinite
from pathlib import Path

from benchmark.errors import RecordError
from benchmark.records.atomic import Replace, replaced
from benchmark.records.record import RECORD, Record
from benchmark.records.record_text import LOG, as_json, parse_record, record_text
from benchmark.records.stored_file import read_regular

# --- writing ----------------------------------------------------------------------------------------------------------


def write_record(folder: Path, record: Record, replace: Replace = replaced) -> None:
    """Write record.json into a folder, atomically.

    Args:
        folder: the cell's.
        record: its record.
        replace: how the file is opened.

    Raises:
        RecordError: the folder cannot be written, or the record holds NaN, infinity or an object.
    """
    try:
        text = record_text(as_json(record), indent=1) + b"\n"
    except (TypeError, ValueError) as error:
        bad = [f"{s.metric} of {s.evaluator} at {s.tap} is {s.value}" for s in record.scores if not isfinite(s.value)]
        raise RecordError(f"{folder / RECORD} cannot be written: {'; '.join(bad) or error}") from error
    with replace(folder / RECORD) as file:
        file.write(text)


# --- reading ----------------------------------------------------------------------------------------------------------


def read_record(folder: Path) -> Record:
    """Read the record of a cell folder. Schema version 1 is upgraded in memory.

    Raises:
        RecordError: the record is missing or damaged.
        SchemaError: the record has a later schema version.
    """
    path = folder / RECORD
    try:
        text = read_regular(path)
    except FileNotFoundError:
        raise RecordError(
            f"no {RECORD} in {folder}; the folder of a cell is named like aet-resnet18-digits-s0-1a2b3c4d5e"
        ) from None
    return parse_record(text, path)


def read_records(out: Path) -> tuple[list[Record], list[str]]:
    """All records of an output folder, sorted by folder name, and one message for each that cannot be read.

    Raises:
        RecordError: the folder cannot be read.
    """
    return read_each(out, (name for name in folder_names(out) if has_record(f"{out}/{name}")))


def read_each(out: Path, names: Iterable[str]) -> tuple[list[Record], list[str]]:
    """The records in folders of an output folder, and one message for each that cannot be read."""
    records: list[Record] = []
    problems: list[str] = []
    for name in names:
        try:
            records.append(read_record(out / name))
        except RecordError as error:
            problems.append(str(error))
    log_left_out(problems)
    return records, problems


def log_left_out(problems: Iterable[str]) -> None:
    """Logs one line for each record that cannot be read. The command line prints it to standard error."""
    for problem in problems:
        LOG.warning("left out: %s", problem)


def folder_names(out: Path) -> list[str]:
    """The entries of an output folder, sorted; none if it does not exist.

    Raises:
        RecordError: the folder cannot be read.
    """
    try:
        with os.scandir(out) as entries:
            return sorted(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RecordError(f"cannot read {out}: {error.strerror or error}") from error


def has_record(folder: str) -> bool:
    """Whether a folder holds a record, also one that cannot be reached: without permission, or a link in a circle."""
    path = f"{folder}/{RECORD}"
    try:
        os.stat(path)  # noqa: PTH116  # creating 10,000 Path objects takes longer than the calls
    except FileNotFoundError:
        return os.path.islink(path)  # noqa: PTH114
    except (NotADirectoryError, ValueError):
        return False
    except OSError:
        return not Path(folder).name.startswith(".")  # such as an index that is a link in a circle
    return True


def set_aside(folder: Path) -> Path:
    """Rename a record that cannot be read, so that the cell can run again and nothing is lost."""
    for number in range(1, 1000):
        target = folder / f"{RECORD}.unreadable-{number}"
        if not target.exists():
            (folder / RECORD).replace(target)
            return target
    raise RecordError(f"{folder} holds 999 unreadable records; inspect and delete them")
