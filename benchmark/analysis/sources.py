"""Reads the records that a command-line argument names: the seeds of one method, or a whole leaderboard.

A leaderboard is a .jsonl file with its .outcomes.npz, as `bench export` writes them, or the same two in a git revision:
`REV:results/digits.jsonl`. Nothing is checked out, and git is started without a shell.
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark.analysis.seed_groups import AnyGroup, SeedGroup, StoredGroup, stored_group, stored_groups
from benchmark.errors import RecordError, UsageError
from benchmark.records.leaderboard import JSONL, outcomes_path
from benchmark.records.leaderboard_records import Leaderboard
from benchmark.records.outcomes import FolderOutcomes
from benchmark.records.output_folder import OutputFolder, listed
from benchmark.records.record import Record
from benchmark.records.record_files import has_record, read_record
from benchmark.records.store import RecordStore


def settings_key(record: Record) -> str:
    """Settings of a record without seed and code versions: equal for the same cell at another revision."""
    return json.dumps([record.labels, record.cell["method"].get("params"), record.cell.get("recipe")], sort_keys=True)


class SideReader:
    """Reads the sides of a comparison. Each file is read once.

    Args:
        out: a folder of records, or a leaderboard.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._leaderboards: dict[str, Leaderboard] = {}

    def groups(self, argument: str) -> Sequence[AnyGroup]:
        """The seed groups that an argument names.

        Args:
            argument: a record's folder, a cell id or its first digits, method/encoder/dataset/seed, or
                method/encoder/dataset for all its seeds, all of these in `out`; a leaderboard `FILE.jsonl` or
                `REV:FILE.jsonl`, or one of its cells after a `#`: `FILE.jsonl#aet/resnet18/digits`.

        Returns:
            One group, or all groups of a leaderboard.

        Raises:
            RecordError: no record or several settings match, or a file is damaged.
            UsageError: no such revision or file.
        """
        file, separator, cell = argument.partition("#")
        if file.endswith(JSONL):
            leaderboard = self._leaderboard(file)
            return [_named_group(cell, leaderboard)] if separator else leaderboard_groups(leaderboard)
        if argument and has_record(argument):
            return [SeedGroup(records=(read_record(Path(argument)),), outcomes=FolderOutcomes())]
        return [_named_group(argument, self._searched)]

    @functools.cached_property
    def _searched(self) -> RecordStore:
        return self._leaderboard(str(self._out)) if self._out.name.endswith(JSONL) else OutputFolder(self._out)

    def _leaderboard(self, file: str) -> Leaderboard:
        if file not in self._leaderboards:
            self._leaderboards[file] = read_leaderboard(file)
        return self._leaderboards[file]


def leaderboard_groups(leaderboard: Leaderboard) -> list[StoredGroup]:
    """All groups of a leaderboard.

    Raises:
        RecordError: it has no finished record.
    """
    groups = stored_groups(leaderboard)
    if not groups:
        raise RecordError(f"{leaderboard.name} has no finished record; add some with bench export --to its folder")
    return groups


def _named_group(argument: str, store: RecordStore) -> StoredGroup:
    """The records that match an argument: all seeds of a method, or one record."""
    groups = [group for group in stored_groups(store) if group.label == argument]
    if len(groups) == 1:
        return groups[0]
    if groups:
        ids = listed(f"{each.summary.id[:10]} ({each.epochs:g} epochs)" for each in groups)
        raise RecordError(
            f"'{argument}': {len(groups)} settings in {store.name} have this name; give the id of one record: {ids}"
        )
    matches = store.matches(argument)
    if len(matches) == 1:
        return stored_group(store, matches)
    summaries = store.columns.summaries
    shown = listed("/".join(summaries[each].labels) for each in matches or range(len(summaries)))
    problem = f"{len(matches)} records match" if matches else "no record matches"
    raise RecordError(
        f"'{argument}': {problem} in {store.name}; give a folder, a cell id or its first digits, "
        "method/encoder/dataset/seed, or method/encoder/dataset for all seeds. "
        f"{'Matches' if matches else 'Available'}: {shown}"
    )


def read_leaderboard(argument: str, *, strict: bool = False) -> Leaderboard:
    """A leaderboard's records and outcomes, from a file or from a git revision.

    Args:
        argument: FILE.jsonl or REV:FILE.jsonl.
        strict: see `Leaderboard`.

    Raises:
        UsageError: no such revision or file.
        RecordError: a file cannot be read.
    """
    path = Path(argument)
    if path.exists() or path.is_symlink():
        return Leaderboard(path, argument, strict=strict)
    revision, colon, name = argument.partition(":")
    if not colon:
        raise UsageError(f"no file '{argument}'; give FILE.jsonl, or REV:FILE.jsonl for a git revision")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(name).name
        copy.write_bytes(read_from_git(revision, name))
        with contextlib.suppress(UsageError):  # without outcomes, scores are still compared across seeds
            outcomes_path(copy).write_bytes(read_from_git(revision, outcomes_path(Path(name)).as_posix()))
        return Leaderboard(copy, argument, strict=strict)


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
