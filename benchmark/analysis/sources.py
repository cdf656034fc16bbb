"""Reads the records that a command-line argument names: the seeds of one method, or a whole leaderboard.

A leaderboard is a .jsonl file with its .outcomes.npz, as `bench export` writes them, or the same two in a git revision:
`REV:results/digits.jsonl`. Nothing is checked out, and git is started without a shell.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from benchmark.analysis.seed_groups import OutcomeReader, SeedGroup, label_of, seed_group, seed_groups
from benchmark.errors import RecordError, UsageError
from benchmark.records import leaderboard
from benchmark.records.leaderboard import JSONL, outcomes_path
from benchmark.records.outcomes import Arrays, read_outcomes, read_predictions
from benchmark.records.record import RECORD, Record, Score, is_named
from benchmark.records.record_files import read_record, read_records


@dataclass(frozen=True, kw_only=True)
class RecordSource:
    """Records with their per-image outcomes."""

    records: Sequence[Record]
    outcomes: OutcomeReader
    name: str
    """File or folder that they were read from, for messages."""

    def groups(self) -> list[SeedGroup]:
        """The finished records by seed group."""
        return seed_groups(self.records, self.outcomes)


def settings_key(record: Record) -> str:
    """Settings of a record without seed and code versions: equal for the same cell at another revision."""
    return json.dumps([record.labels, record.cell["method"].get("params"), record.cell.get("recipe")], sort_keys=True)


def read_groups(argument: str, out: Path) -> list[SeedGroup]:
    """The seed groups that an argument names.

    Args:
        argument: a record's folder, a cell id or its first digits, method/encoder/dataset/seed, or method/encoder/dataset for
            all its seeds, all of these in `out`; a leaderboard `FILE.jsonl` or `REV:FILE.jsonl`, or one of its cells after a
            `#`: `FILE.jsonl#aet/resnet18/digits`.
        out: a folder of records, or a leaderboard.

    Returns:
        One group, or all groups of a leaderboard.

    Raises:
        RecordError: no record or several settings match, or a file is damaged.
        UsageError: no such revision or file.
    """
    file, separator, cell = argument.partition("#")
    if file.endswith(JSONL):
        source = read_leaderboard(file)
        if separator:
            return [_named_group(cell, source)]
        groups = source.groups()
        if not groups:
            raise RecordError(f"{file} has no finished record; add some with bench export --to its folder")
        return groups
    if (Path(argument) / RECORD).is_file():
        return [SeedGroup(records=(read_record(Path(argument)),), outcomes=folder_outcomes())]
    if out.name.endswith(JSONL):
        return [_named_group(argument, read_leaderboard(str(out)))]
    records, _ = read_records(out)
    return [_named_group(argument, RecordSource(records=records, outcomes=folder_outcomes(), name=str(out)))]


def _named_group(argument: str, source: RecordSource) -> SeedGroup:
    """The records that match an argument: all seeds of a method, or one record."""
    groups = [group for group in source.groups() if group.label == argument]
    if len(groups) == 1:
        return groups[0]
    if groups:
        ids = ", ".join(f"{each.records[0].short_id} ({epochs_of(each.records[0]):g} epochs)" for each in groups)
        raise RecordError(
            f"'{argument}': {len(groups)} settings in {source.name} have this name; give the id of one record: {ids}"
        )
    matches = [record for record in source.records if is_named(record, argument)]
    if len(matches) == 1:
        return seed_group(matches, source.outcomes)
    shown = ", ".join(dict.fromkeys(label_of(record) for record in (matches or source.records))) or "none"
    problem = f"{len(matches)} records match" if matches else "no record matches"
    raise RecordError(
        f"'{argument}': {problem} in {source.name}; give a folder, a cell id or its first digits, "
        "method/encoder/dataset/seed, or method/encoder/dataset for all seeds. "
        f"{'Matches' if matches else 'Available'}: {shown}"
    )


def epochs_of(record: Record) -> float:
    """Training epochs; 0 if nothing was trained."""
    epochs: float = (record.cell.get("recipe") or {}).get("epochs", 0)
    return epochs


# --- where outcomes are stored ----------------------------------------------------------------------------------------


def folder_outcomes() -> OutcomeReader:
    """Outcomes from the folders of records; each folder is read once."""
    by_folder: dict[str, Arrays] = {}

    def outcomes(record: Record, score: Score) -> NDArray[Any] | None:
        if record.folder not in by_folder:
            by_folder[record.folder] = read_predictions(Path(record.folder))
        return by_folder[record.folder].get(score.outcomes or "")

    return outcomes


def read_leaderboard(argument: str) -> RecordSource:
    """A leaderboard's records and outcomes, from a file or from a git revision.

    Raises:
        UsageError: no such revision or file.
        RecordError: a file is damaged.
    """
    path = Path(argument)
    if path.is_file():
        return _read_files(path, argument)
    revision, colon, name = argument.partition(":")
    if not colon:
        raise UsageError(f"no file '{argument}'; give FILE.jsonl, or REV:FILE.jsonl for a git revision")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(name).name
        copy.write_bytes(read_from_git(revision, name))
        with contextlib.suppress(UsageError):  # without outcomes, scores are still compared across seeds
            outcomes_path(copy).write_bytes(read_from_git(revision, outcomes_path(Path(name)).as_posix()))
        return _read_files(copy, argument)


def _read_files(path: Path, name: str) -> RecordSource:
    stored = read_outcomes(outcomes_path(path)) if outcomes_path(path).is_file() else {}

    def outcomes(record: Record, score: Score) -> NDArray[Any] | None:
        return stored.get(record.outcomes_key(score))

    return RecordSource(records=leaderboard.read_leaderboard(path), outcomes=outcomes, name=name)


def read_from_git(revision: str, path: str) -> bytes:
    """The contents of a file in a git revision.

    Raises:
        UsageError: no such revision or file, or git is not installed.
    """
    try:
        return subprocess.run(  # noqa: S603  # fixed words and one argument that cannot be an option, no shell
            ["git", "show", "--end-of-options", f"{revision}:{path}"],  # noqa: S607  # the user's own git
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "git failed"
        raise UsageError(f"'{revision}:{path}' is neither a file nor in git: {reason}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"cannot read '{revision}:{path}' with git: {error}") from error
