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

from benchmark.analysis.seed_groups import OutcomeReader, SeedGroup, label_of, seed_group, seed_groups
from benchmark.errors import RecordError, UsageError
from benchmark.records import leaderboard
from benchmark.records.leaderboard import JSONL, outcomes_path
from benchmark.records.outcomes import FolderOutcomes, LeaderboardOutcomes
from benchmark.records.record import RECORD, Record, Score, is_named
from benchmark.records.record_files import log_left_out, read_record, read_records


@dataclass(frozen=True, kw_only=True)
class RecordSource:
    """Records with their per-image outcomes."""

    records: Sequence[Record]
    outcomes: OutcomeReader
    name: str
    """File or folder that they were read from, for messages."""
    problems: tuple[str, ...] = ()
    """One message for each record that cannot be read."""

    def groups(self) -> list[SeedGroup]:
        """The finished records by seed group."""
        return seed_groups(self.records, self.outcomes)


def settings_key(record: Record) -> str:
    """Settings of a record without seed and code versions: equal for the same cell at another revision."""
    return json.dumps([record.labels, record.cell["method"].get("params"), record.cell.get("recipe")], sort_keys=True)


def read_groups(argument: str, out: Path, *, strict: bool = False) -> list[SeedGroup]:
    """The seed groups that an argument names.

    Args:
        argument: a record's folder, a cell id or its first digits, method/encoder/dataset/seed, or method/encoder/dataset for
            all its seeds, all of these in `out`; a leaderboard `FILE.jsonl` or `REV:FILE.jsonl`, or one of its cells after a
            `#`: `FILE.jsonl#aet/resnet18/digits`.
        out: a folder of records, or a leaderboard.
        strict: see `read_leaderboard`.

    Returns:
        One group, or all groups of a leaderboard.

    Raises:
        RecordError: no record or several settings match, or a file is damaged.
        UsageError: no such revision or file.
    """
    file, separator, cell = argument.partition("#")
    if file.endswith(JSONL):
        source = read_leaderboard(file, strict=strict)
        if separator:
            return [_named_group(cell, source)]
        groups = source.groups()
        if not groups:
            raise RecordError(f"{file} has no finished record; add some with bench export --to its folder")
        return groups
    if (Path(argument) / RECORD).is_file():
        return [SeedGroup(records=(read_record(Path(argument)),), outcomes=FolderOutcomes())]
    if out.name.endswith(JSONL):
        return [_named_group(argument, read_leaderboard(str(out)))]
    records, _ = read_records(out)
    return [_named_group(argument, RecordSource(records=records, outcomes=FolderOutcomes(), name=str(out)))]


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


def read_leaderboard(argument: str, *, strict: bool = False) -> RecordSource:
    """A leaderboard's records and outcomes, from a file or from a git revision.

    Args:
        argument: FILE.jsonl or REV:FILE.jsonl.
        strict: whether a damaged record or a damaged file of outcomes is an error. Otherwise it is left out, and logged.

    Raises:
        UsageError: no such revision or file.
        RecordError: a file cannot be read.
    """
    path = Path(argument)
    if path.exists() or path.is_symlink():
        return _read_files(path, argument, strict)
    revision, colon, name = argument.partition(":")
    if not colon:
        raise UsageError(f"no file '{argument}'; give FILE.jsonl, or REV:FILE.jsonl for a git revision")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(name).name
        copy.write_bytes(read_from_git(revision, name))
        with contextlib.suppress(UsageError):  # without outcomes, scores are still compared across seeds
            outcomes_path(copy).write_bytes(read_from_git(revision, outcomes_path(Path(name)).as_posix()))
        return _read_files(copy, argument, strict)


def _read_files(path: Path, name: str, strict: bool) -> RecordSource:
    problems: list[str] = []
    records = leaderboard.read_leaderboard(path, None if strict else problems, name)
    try:
        outcomes: OutcomeReader = LeaderboardOutcomes(outcomes_path(path), outcomes_path(Path(name)).as_posix())
    except RecordError as error:
        if strict:
            raise
        log_left_out([str(error)])
        outcomes = _no_outcomes
    return RecordSource(records=records, outcomes=outcomes, name=name, problems=tuple(problems))


def _no_outcomes(record: Record, score: Score) -> None:
    """Outcomes of a leaderboard without a file of outcomes."""


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
