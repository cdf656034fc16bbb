"""Merges the output folders of several machines. Everything is checked first. Each cell folder is copied, then renamed.

Sources are only read. A cell may occur in several of them: if its numbers agree, one of them is kept. What the records hold is
taken from the indexes of the folders; no link is followed, so that nothing from outside of a source is copied.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import RecordError, UsageError
from benchmark.records import index, locks
from benchmark.records.archive import NAMES
from benchmark.records.atomic import reason
from benchmark.records.columns import CellKey, Columns, RecordSummary, columns_of, concatenate
from benchmark.records.merge_folder import merge_folder, move, recover_abandoned
from benchmark.records.record import CHECKPOINT, MODEL, PREDICTIONS, ScoreId
from benchmark.records.record_files import read_record
from benchmark.records.record_text import LOG
from benchmark.records.weights_file import read_verified

NEWEST = "newest"
LINKED = (MODEL, CHECKPOINT, PREDICTIONS)
"""Large files. repbench replaces them and never writes into one, so that two folders may share it."""
MAX_CONFLICTS = 5
"""Conflicts that an error message lists."""


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """The result of a merge."""

    copied: int
    """Cells copied into the target."""
    kept: int
    """Cells of the target that were not changed."""
    duplicates: int
    """Cells found in more than one folder."""
    left_out: tuple[str, ...]
    """One message for each record that cannot be read, that a run still works on, or that holds a link."""
    records: Columns
    """All records of the target after the merge."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Copy:
    """The record of a cell in one of the folders."""

    out: Path
    columns: Columns
    """Those of the folder."""
    position: int
    """Index into the columns."""

    @property
    def summary(self) -> RecordSummary:
        return self.columns.summaries[self.position]

    @property
    def key(self) -> CellKey:
        return self.summary.key

    @property
    def folder(self) -> Path:
        return self.out / self.summary.folder

    @functools.cached_property
    def scores(self) -> dict[ScoreId, float]:
        """The value of each score."""
        keys = self.columns.score_keys_of(self.position)
        start = self.columns.offsets[self.position]
        values = self.columns.value[start : start + len(keys)].tolist()
        names = [(key.tap, key.pool, key.evaluator, key.protocol, key.metric) for key in keys]
        return dict(zip(names, values, strict=True))

    @property
    def rank(self) -> tuple[int, bool, bool]:
        """The copy with the highest rank is the most complete."""
        return len(self.scores), self.summary.state == "done", self.summary.failure is None

    @property
    def time(self) -> str:
        """When the record was written, which is not in the index."""
        return str(read_record(self.folder).provenance.get("time", ""))


def merge(sources: Sequence[Path], to: Path, prefer: str | None = None) -> MergeResult:
    """Merge the cells of several output folders into another one.

    Args:
        sources: output folders; they are not changed.
        to: target, none of the sources. Its own cells take part like those of a source.
        prefer: which record to take if the numbers of a cell differ: one of the sources, or `newest`. None: refuse.

    Raises:
        UsageError: the folders are invalid, or `prefer` is none of them.
        RecordError: records of one cell differ in dataset, versions or scores, two cells have the same folder name, or the
            disk is too small. Nothing was copied.
    """
    _check_folders(sources, to, prefer)
    recover_abandoned(to)
    cells, left_out = _read_cells(sources, to)
    chosen = _choose(cells, prefer)
    _check_names(chosen, cells, to)
    new = [copy for copy in chosen if copy.out != to]
    _copy(new, to)
    return MergeResult(
        copied=len(new),
        kept=len(chosen) - len(new),
        duplicates=sum(len(each) > 1 for each in cells.values()),
        left_out=tuple(left_out),
        records=_columns(chosen),
    )


def _columns(copies: Sequence[_Copy]) -> Columns:
    by_folder: dict[Path, list[_Copy]] = {}
    for copy in copies:
        by_folder.setdefault(copy.out, []).append(copy)
    parts = (each[0].columns.take([copy.position for copy in each]) for each in by_folder.values())
    return functools.reduce(concatenate, parts, columns_of([]))


def _check_folders(sources: Sequence[Path], to: Path, prefer: str | None) -> None:
    resolved = [os.path.realpath(folder) for folder in sources]  # Path.resolve fails on a link in a circle
    if os.path.realpath(to) in resolved:
        raise UsageError(f"--to {to} is one of the sources, which are not changed; name another folder")
    if len(set(resolved)) < len(resolved):
        raise UsageError("a source is named twice; name each once")
    if prefer not in (None, NEWEST) and os.path.realpath(str(prefer)) not in resolved:
        raise UsageError(f"--prefer {prefer} is not a source ({', '.join(map(str, sources))}) and not '{NEWEST}'")


def _read_cells(sources: Sequence[Path], to: Path) -> tuple[dict[CellKey, list[_Copy]], list[str]]:
    """Cell id -> its copies, and messages for what is left out."""
    cells: dict[CellKey, list[_Copy]] = collections.defaultdict(list)
    left_out: list[str] = []
    for out in (to, *sources):
        columns, problems = index.read(out, write=False)
        left_out += problems
        for position in range(len(columns)):
            copy = _Copy(out=out, columns=columns, position=position)
            problem = _problem_with(copy.folder, is_source=out != to)
            if problem:
                left_out.append(f"{copy.folder}: {problem}")
            else:
                cells[copy.key].append(copy)
    return cells, left_out


def _problem_with(folder: Path, *, is_source: bool) -> str:
    """Why a cell takes no part; empty if it does."""
    try:
        entries = _entries(folder)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if locks.LOCK in entries and _is_locked(folder):
        return "a run works on this cell; merge again after the run has ended"
    links = [name for name in NAMES if name in entries and entries[name].is_symlink()]
    if is_source and (links or folder.is_symlink()):
        return f"{(*links, folder.name)[0]} is a link; replace it by the file itself, since merge follows no links"
    return ""


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    """The entries of a cell's folder by name, read with one call."""
    with os.scandir(folder) as entries:
        return {entry.name: entry for entry in entries}


def _is_locked(folder: Path) -> bool:
    """Whether a run works on a cell. A lock of another machine counts, because its process cannot be checked."""
    lock_info = locks.read_lock(folder)
    return lock_info is not None and lock_info.owner.is_gone() is not True


# --- which copy to keep -----------------------------------------------------------------------------------------------


def _choose(cells: Mapping[CellKey, Sequence[_Copy]], prefer: str | None) -> list[_Copy]:
    """One copy of each cell."""
    conflicts = [reason for copies in cells.values() for reason in _contradictions(copies)]
    chosen = {key: _preferred(copies, prefer) for key, copies in cells.items()}
    if not conflicts:
        conflicts = [
            f"{_folders(cells[key])}: {_reason(cells[key])}; choose with --prefer FOLDER or --prefer newest"
            for key, copy in chosen.items()
            if copy is None
        ]
    if conflicts:
        more = f"; and {len(conflicts) - MAX_CONFLICTS} more" if len(conflicts) > MAX_CONFLICTS else ""
        raise RecordError(f"nothing was merged. {'; '.join(conflicts[:MAX_CONFLICTS])}{more}")
    return [copy for copy in chosen.values() if copy is not None]


def _contradictions(copies: Sequence[_Copy]) -> Iterator[str]:
    """Reasons why copies with one id are not of the same cell."""
    if len(copies) < 2:
        return
    shared = [copy.summary.shared for copy in copies]
    properties = {
        "dataset contents differ": {each.fingerprint for each in shared},
        "versions differ": {repr(each.spec_versions) for each in shared if each.spec_versions},
    }
    for problem, values in properties.items():
        if len(values) > 1:
            shown = " and ".join(sorted(value[:60] for value in values))
            yield f"{_folders(copies)}: {problem} ({shown}), so these are not the same cell"


def _preferred(copies: Sequence[_Copy], prefer: str | None) -> _Copy | None:
    """The copy to keep of one cell; None if they conflict and `prefer` does not decide.

    If all agree: the one with the most scores, finished before unfinished, then the first.
    """
    if len(copies) == 1:
        return copies[0]
    best = max(copies, key=lambda copy: copy.rank)
    if all(_disagreement(best, copy) is None and copy.scores.keys() <= best.scores.keys() for copy in copies):
        return best
    if prefer == NEWEST:
        return max(copies, key=lambda copy: copy.time)
    if prefer is None:
        return None
    return next((copy for copy in copies if os.path.realpath(copy.out) == os.path.realpath(prefer)), None)


def _disagreement(first: _Copy, second: _Copy) -> str | None:
    """How the scores of two copies of one cell differ; None if all scores that both have are equal."""
    ours, theirs = first.scores, second.scores
    different = [(key, value, theirs[key]) for key, value in ours.items() if key in theirs and value != theirs[key]]
    if not different:
        return None
    (tap, _, evaluator, _, metric), one, other = max(different, key=lambda pair: abs(pair[1] - pair[2]))
    return f"{len(different)} scores differ, {metric} of {evaluator} at {tap} is {one:.6g} and {other:.6g}"


def _reason(copies: Sequence[_Copy]) -> str:
    reasons = (_disagreement(*pair) for pair in itertools.combinations(copies, 2))
    return next(filter(None, reasons), "each has scores that the other lacks")


def _folders(copies: Sequence[_Copy]) -> str:
    return " and ".join(str(copy.folder) for copy in copies)


def _check_names(chosen: Sequence[_Copy], cells: Mapping[CellKey, Sequence[_Copy]], to: Path) -> None:
    """Folder names may have been changed by hand, so that two cells have the same one."""
    by_name: dict[str, _Copy] = {}
    for copy in chosen:
        other = by_name.setdefault(copy.folder.name, copy)
        if other is not copy:
            raise RecordError(f"nothing was merged. {_folders([other, copy])} have the same name; rename one of them")
    for name, copy in by_name.items():
        replaceable = any(each.folder == to / name for each in cells[copy.key])
        if not replaceable and (to / name).exists():
            raise RecordError(f"nothing was merged. {to / name} exists and is not the cell of {copy.folder}; move it")


# --- copying ----------------------------------------------------------------------------------------------------------


def _copy(copies: Sequence[_Copy], to: Path) -> None:
    """Copy cell folders into the target: all of them beside their final names, then each is renamed."""
    if not copies:
        return
    try:
        to.mkdir(parents=True, exist_ok=True)
        device, free = to.stat().st_dev, shutil.disk_usage(to).free
        needed = sum(_size(file, device) for copy in copies for file in _files(copy.folder))
        if needed > free:
            raise RecordError(
                f"nothing was merged. The disk is full: {needed / 1e6:.1f} MB are needed, {to} has {free / 1e6:.1f} MB free"
            )
        with merge_folder(to) as (new, old):
            for copy in copies:
                folder = new / copy.folder.name
                folder.mkdir()
                for file in _files(copy.folder):
                    _copy_file(file, f"{folder}/{file.name}")
                _name_changed_files(copy)
            for folder in sorted(new.iterdir()):
                move(folder, to / folder.name, old / folder.name)
    except OSError as error:
        raise RecordError(f"{to} cannot be written: {reason(error)}; choose another --to") from error


def _name_changed_files(copy: _Copy) -> None:
    """Logs the files of a cell that are missing, or not those that its record describes."""
    for name, checksum in copy.summary.files.items():
        try:
            if checksum is not None:
                read_verified(copy.folder / name, checksum)
        except RecordError:
            LOG.warning("copied as it is: %s is not the file that its record describes", copy.folder / name)


def _size(file: os.DirEntry[str], device: int) -> int:
    """Bytes that the copy of a file takes on a device."""
    status = file.stat()
    return 0 if file.name in LINKED and status.st_dev == device else status.st_size


def _copy_file(file: os.DirEntry[str], target: str) -> None:
    """Copy a file. A large one becomes a second name of the same file, if both folders are on one file system."""
    if file.name in LINKED:
        with contextlib.suppress(OSError):  # another file system, or one without hard links, or no permission
            os.link(file.path, target)
            return
    shutil.copy2(file.path, target)


def _files(folder: Path) -> list[os.DirEntry[str]]:
    """The regular files of a cell; a symbolic link is none."""
    entries = _entries(folder)
    return [entries[name] for name in NAMES if name in entries and entries[name].is_file(follow_symlinks=False)]
