"""Merges the output folders of several machines. Everything is checked first. Each cell folder is copied, then renamed.

Sources are only read. A cell may occur in several of them: if its numbers agree, one of them is kept.
"""

from __future__ import annotations

import collections
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import RecordError, UsageError
from benchmark.records import locks
from benchmark.records.archive import NAMES
from benchmark.records.record import Record, by_score_key
from benchmark.records.record_files import read_records

NEWEST = "newest"
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
    """One message for each record that cannot be read or that a run still works on."""
    records: tuple[Record, ...]
    """All records of the target after the merge."""


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
    cells, left_out = _read_cells([to, *sources])
    records = _choose(cells, prefer)
    _check_names(records, to)
    new = [record for record in records if Path(record.folder).parent != to]
    _copy(new, to)
    return MergeResult(
        copied=len(new),
        kept=len(records) - len(new),
        duplicates=sum(len(each) > 1 for each in cells.values()),
        left_out=tuple(left_out),
        records=tuple(records),
    )


def disagreement(first: Record, second: Record) -> str | None:
    """How the scores of two records of one cell differ; None if all scores that both have are equal."""
    ours, theirs = by_score_key(first.scores), by_score_key(second.scores)
    pairs = [(key, ours[key].value, theirs[key].value) for key in ours if key in theirs]
    different = [pair for pair in pairs if pair[1] != pair[2]]
    if not different:
        return None
    (tap, _, evaluator, _, metric), one, other = max(different, key=lambda pair: abs(pair[1] - pair[2]))
    return f"{len(different)} scores differ, {metric} of {evaluator} at {tap} is {one:.6g} and {other:.6g}"


def _check_folders(sources: Sequence[Path], to: Path, prefer: str | None) -> None:
    resolved = [folder.resolve() for folder in sources]
    if to.resolve() in resolved:
        raise UsageError(f"--to {to} is one of the sources, which are not changed; name another folder")
    if len(set(resolved)) < len(resolved):
        raise UsageError("a source is named twice; name each once")
    if prefer not in (None, NEWEST) and Path(str(prefer)).resolve() not in resolved:
        raise UsageError(f"--prefer {prefer} is not a source ({', '.join(map(str, sources))}) and not '{NEWEST}'")


def _read_cells(folders: Sequence[Path]) -> tuple[dict[str, list[Record]], list[str]]:
    """Cell id -> its records, and messages for what is left out."""
    cells: dict[str, list[Record]] = collections.defaultdict(list)
    left_out: list[str] = []
    for folder in folders:
        records, problems = read_records(folder)
        left_out += problems
        for record in records:
            if _is_locked(record):
                left_out.append(f"{record.folder}: a run works on this cell; merge again after the run has ended")
            else:
                cells[record.id].append(record)
    return cells, left_out


def _is_locked(record: Record) -> bool:
    """Whether a run works on the cell. A lock of another machine counts, because its process cannot be checked."""
    lock_info = locks.read_lock(Path(record.folder))
    return lock_info is not None and not lock_info.owner.seems_gone()


def _choose(cells: Mapping[str, Sequence[Record]], prefer: str | None) -> list[Record]:
    """One record for each cell."""
    conflicts = [reason for records in cells.values() for reason in _contradictions(records)]
    chosen = {key: _preferred(records, prefer) for key, records in cells.items()}
    if not conflicts:
        conflicts = [
            f"{_folders(cells[key])}: {_reason(cells[key])}; choose with --prefer FOLDER or --prefer newest"
            for key, record in chosen.items()
            if record is None
        ]
    if conflicts:
        more = f"; and {len(conflicts) - MAX_CONFLICTS} more" if len(conflicts) > MAX_CONFLICTS else ""
        raise RecordError(f"nothing was merged. {'; '.join(conflicts[:MAX_CONFLICTS])}{more}")
    return [record for record in chosen.values() if record is not None]


def _contradictions(records: Sequence[Record]) -> Iterator[str]:
    """Reasons why records with one id are not of the same cell."""
    properties = {
        "dataset contents differ": {str(record.cell["dataset"].get("fingerprint")) for record in records},
        "versions differ": {
            repr(record.provenance.get("versions")) for record in records if record.provenance.get("versions")
        },
    }
    for problem, values in properties.items():
        if len(values) > 1:
            shown = " and ".join(sorted(value[:60] for value in values))
            yield f"{_folders(records)}: {problem} ({shown}), so these are not the same cell"


def _preferred(records: Sequence[Record], prefer: str | None) -> Record | None:
    """The record to keep of one cell; None if the records conflict and `prefer` does not decide.

    If all agree: the one with the most scores, finished before unfinished, then the first.
    """
    best = max(records, key=lambda record: (len(record.scores), record.state == "done", record.failure is None))
    keys = set(by_score_key(best.scores))
    if all(disagreement(best, record) is None and set(by_score_key(record.scores)) <= keys for record in records):
        return best
    if prefer == NEWEST:
        return max(records, key=lambda record: str(record.provenance.get("time", "")))
    if prefer is None:
        return None
    return next((r for r in records if Path(r.folder).parent.resolve() == Path(prefer).resolve()), None)


def _reason(records: Sequence[Record]) -> str:
    reasons = (disagreement(*pair) for pair in itertools.combinations(records, 2))
    return next(filter(None, reasons), "each has scores that the other lacks")


def _folders(records: Sequence[Record]) -> str:
    return " and ".join(record.folder for record in records)


def _check_names(records: Sequence[Record], to: Path) -> None:
    """Folder names may have been changed by hand, so that two cells have the same one."""
    by_name: dict[str, Record] = {}
    for record in records:
        other = by_name.setdefault(Path(record.folder).name, record)
        if other is not record:
            raise RecordError(f"nothing was merged. {_folders([other, record])} have the same name; rename one of them")
    for name, record in by_name.items():
        if Path(record.folder).parent != to and (to / name).exists() and not _is_replaceable(to / name, record):
            raise RecordError(f"nothing was merged. {to / name} exists and is not the cell of {record.folder}; move it")


def _is_replaceable(folder: Path, record: Record) -> bool:
    """Whether a folder of the target holds the same cell and no run works on it."""
    records, _ = read_records(folder.parent)
    return any(Path(each.folder) == folder and each.id == record.id and not _is_locked(each) for each in records)


def _copy(records: Sequence[Record], to: Path) -> None:
    """Copy cell folders into the target: all of them beside their final names, then each is renamed."""
    if not records:
        return
    try:
        to.mkdir(parents=True, exist_ok=True)
        needed, free = sum(map(_size, records)), shutil.disk_usage(to).free
        if needed > free:
            raise RecordError(
                f"nothing was merged. {needed / 1e6:.0f} MB are needed, {to} has {free / 1e6:.0f} MB free"
            )
        with tempfile.TemporaryDirectory(dir=to, prefix=".merge-") as name:
            new, old = Path(name) / "new", Path(name) / "old"
            old.mkdir()
            for record in records:
                folder = new / Path(record.folder).name
                folder.mkdir(parents=True)
                for path in _files(record):
                    shutil.copy2(path, folder / path.name)
            for folder in sorted(new.iterdir()):
                _move(folder, to / folder.name, old / folder.name)
    except OSError as error:
        raise RecordError(f"{to} cannot be written: {error.strerror or error}; choose another --to") from error


def _move(folder: Path, target: Path, backup: Path) -> None:
    """Rename a folder to its target; an existing target is moved to the backup and restored if the rename fails."""
    if target.exists():
        target.rename(backup)
    try:
        folder.rename(target)
    except OSError:
        if backup.exists():
            backup.rename(target)
        raise


def _files(record: Record) -> list[Path]:
    return [path for name in NAMES if (path := Path(record.folder) / name).is_file()]


def _size(record: Record) -> int:
    return sum(path.stat().st_size for path in _files(record))
