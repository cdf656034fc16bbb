"""What a command line names as a side of a comparison: records of one method over seeds, or a whole leaderboard.

A leaderboard is a .jsonl file with its .outcomes.npz beside it, as `bench export` writes them, or the same two in a git
revision: `REV:results/digits.jsonl`. Nothing is checked out, and git is started without a shell.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import RecordError, UsageError
from benchmark.records.leaderboard import read_board, read_outcomes
from benchmark.records.record import PREDICTIONS, RECORD, Record, Score, grouping_key, read_record, read_records

Outcomes = np.ndarray[Any, np.dtype[Any]]
BOARD = ".jsonl"


@dataclass(frozen=True, kw_only=True)
class SeedGroup:
    """Records that differ in the seed alone."""

    records: tuple[Record, ...]
    """By seed; at least one."""
    outcomes: Callable[[Record, Score], Outcomes | None]
    """(images,) of a score of one of the records; None where they were not kept."""

    @property
    def name(self) -> str:
        """method/encoder/dataset, with the seed where it is one record of several that could be."""
        cell = self.records[0].cell
        labels = "/".join(str(cell[kind]["label"]) for kind in ("method", "encoder", "dataset"))
        alone = len(self.records) == 1 and cell["seed"] is not None
        return f"{labels}/{cell['seed']}" if alone else labels

    @property
    def seedless(self) -> bool:
        """Whether chance plays no part."""
        return len(self.records) == 1 and self.records[0].cell["seed"] is None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Records from one place."""

    records: Sequence[Record]
    outcomes: Callable[[Record, Score], Outcomes | None]

    def groups(self) -> list[SeedGroup]:
        """Finished records, those that differ in the seed alone together."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            if record.state == "done":
                found.setdefault(grouping_key(record), []).append(record)
        return [self.group(records) for records in found.values()]

    def group(self, records: Sequence[Record]) -> SeedGroup:
        """Records of one setting, one for each seed; of two of the same seed the later stays."""
        by_seed = {record.cell["seed"]: record for record in records}
        ordered = sorted(
            by_seed.values(), key=lambda record: (record.cell["seed"] is not None, record.cell["seed"] or 0)
        )
        return SeedGroup(records=tuple(ordered), outcomes=self.outcomes)


def settings(record: Record) -> str:
    """All but the seed and the versions of code: what a record shares with one of the same cell at another revision."""
    cell = record.cell
    labels = [cell[kind]["label"] for kind in ("method", "encoder", "dataset")]
    return json.dumps([labels, cell["method"].get("params"), cell.get("recipe")], sort_keys=True)


def read(argument: str, out: Path) -> list[SeedGroup]:
    """The side that an argument names.

    Args:
        argument: a folder of a record, a cell id or its beginning, method/encoder/dataset/seed, or
            method/encoder/dataset for all its seeds, all of these under `out`; a leaderboard `FILE.jsonl` or
            `REV:FILE.jsonl`, or one of its cells after a `#`: `FILE.jsonl#aet/resnet18/digits`.
        out: a folder of records, or a leaderboard.

    Returns:
        One group; of a leaderboard, all.

    Raises:
        RecordError: nothing or too much fits, or a file is not whole.
        UsageError: there is no such revision or file.
    """
    board, mark, cell = argument.partition("#")
    if board.endswith(BOARD):
        source = _board(board)
        return [_named(cell, source, board)] if mark else _some(source.groups(), board)
    if (Path(argument) / RECORD).is_file():
        return [SeedGroup(records=(read_record(Path(argument)),), outcomes=outcomes_of_folders())]
    if out.name.endswith(BOARD):
        return [_named(argument, _board(str(out)), str(out))]
    records, _ = read_records(out)
    return [_named(argument, Source(records=records, outcomes=outcomes_of_folders()), str(out))]


def _some(groups: list[SeedGroup], board: str) -> list[SeedGroup]:
    if not groups:
        raise RecordError(f"{board} holds no finished record; bench export --to its folder adds some")
    return groups


def _named(argument: str, source: Source, where: str) -> SeedGroup:
    """The records that an argument fits: all seeds of a method, or one record."""
    several = [group for group in source.groups() if labels(group.records[0]) == argument]
    if len(several) == 1:
        return several[0]
    if several:
        ids = ", ".join(f"{group.records[0].id[:10]} ({_epochs(group.records[0])} epochs)" for group in several)
        raise RecordError(
            f"'{argument}': {len(several)} settings under {where} have this name; write the id of one record: {ids}"
        )
    found = [record for record in source.records if _answers_to(record, argument)]
    if len(found) == 1:
        return source.group(found)
    shown = ", ".join(dict.fromkeys(labels(record) for record in (found or source.records))) or "none"
    wrong = f"{len(found)} records fit" if found else "no record fits"
    raise RecordError(
        f"'{argument}': {wrong} under {where}; write a folder, a cell id or its beginning, method/encoder/dataset/seed, or "
        f"method/encoder/dataset for all seeds. {'They are' if found else 'There is'}: {shown}"
    )


def _answers_to(record: Record, argument: str) -> bool:
    seed = "-" if record.cell["seed"] is None else record.cell["seed"]
    named = argument in (f"{labels(record)}/{seed}", Path(record.folder).name or None)
    return named or (len(argument) >= 4 and record.id.startswith(argument))


def labels(record: Record) -> str:
    """method/encoder/dataset."""
    return "/".join(str(record.cell[kind]["label"]) for kind in ("method", "encoder", "dataset"))


def _epochs(record: Record) -> object:
    return record.cell.get("recipe", {}).get("epochs", 0)


# --- where outcomes are -----------------------------------------------------------------------------------------------


def outcomes_of_folders() -> Callable[[Record, Score], Outcomes | None]:
    """Outcomes from the folders of records, each of which is read once."""
    read_once: dict[str, dict[str, Outcomes]] = {}

    def outcomes(record: Record, score: Score) -> Outcomes | None:
        if record.folder not in read_once:
            read_once[record.folder] = _predictions(Path(record.folder) / PREDICTIONS)
        return read_once[record.folder].get(score.outcomes or "")

    return outcomes


def _predictions(path: Path) -> dict[str, Outcomes]:
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} is not whole ({error}); run the cell again with --rerun all") from error


def _board(argument: str) -> Source:
    path = Path(argument)
    if path.is_file():
        return _source(path)
    revision, colon, name = argument.partition(":")
    if not colon:
        raise UsageError(f"'{argument}': there is no such file; write FILE.jsonl, or REV:FILE.jsonl for a git revision")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(name).name
        copy.write_bytes(from_git(revision, name))
        with contextlib.suppress(UsageError):  # without outcomes, what can be said on seeds alone is said
            _beside(copy).write_bytes(from_git(revision, _beside(Path(name)).as_posix()))
        return _source(copy)


def _source(path: Path) -> Source:
    stored = read_outcomes(_beside(path)) if _beside(path).is_file() else {}

    def outcomes(record: Record, score: Score) -> Outcomes | None:
        return stored.get(f"{record.id[:16]}|{score.outcomes}")

    return Source(records=read_board(path), outcomes=outcomes)


def _beside(board: Path) -> Path:
    return board.with_name(board.name.removesuffix(BOARD) + ".outcomes.npz")


def from_git(revision: str, path: str) -> bytes:
    """A file as it is in a git revision.

    Raises:
        UsageError: there is no such revision or file, or no git.
    """
    try:
        return subprocess.run(  # noqa: S603  # words of ours and one argument that cannot be an option, no shell
            ["git", "show", "--end-of-options", f"{revision}:{path}"],  # noqa: S607  # the user's own git
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()
        said = words[-1] if words else "git failed"
        raise UsageError(f"'{revision}:{path}' is neither a file nor in git: {said}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"'{revision}:{path}' cannot be read with git: {error}") from error
