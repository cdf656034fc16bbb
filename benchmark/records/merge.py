"""Output folders of several machines become one: everything is checked first, then each cell's folder appears whole.

Sources are only read. The same cell may stand in several of them: once its numbers are seen to agree, one of it is kept.
"""

from __future__ import annotations

import collections
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import RecordError, UsageError
from benchmark.records import locks
from benchmark.records.archive import NAMES
from benchmark.records.record import Record, by_score_key, read_records

NEWEST = "newest"
SHOWN = 5
"""Conflicts that an error tells of one by one."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What was done."""

    copied: int
    """Cells that were put into the folder."""
    kept: int
    """Cells that were there and stayed as they are."""
    twice: int
    """Cells that stood in more than one folder."""
    left_out: tuple[str, ...]
    """A sentence for each record that could not be read or that a run still works on."""
    records: tuple[Record, ...]
    """All records of the target folder after the merge."""


def merge(sources: Sequence[Path], to: Path, prefer: str | None = None) -> Merged:
    """Joins the cells of several output folders in another one.

    Args:
        sources: output folders; none of them is changed.
        to: a folder that is none of the sources. Cells that are there already are treated as one more source.
        prefer: where a cell has other numbers in different folders: one of the sources, whose record is taken, or
            `newest`. None: that is refused.

    Raises:
        UsageError: the folders make no sense, or `prefer` names none of them.
        RecordError: cells of one identity disagree in dataset, versions or scores, two cells bear one folder's name, or there is
            not enough room; nothing was copied.
    """
    _check(sources, to, prefer)
    left_out: list[str] = []
    found: dict[str, list[Record]] = collections.defaultdict(list)
    for folder in (to, *sources):
        records, problems = read_records(folder)
        left_out += problems
        for record in records:
            if _is_at_work(record):
                left_out.append(f"{record.folder}: a run works on it; merge again when it has ended")
            else:
                found[record.id].append(record)
    conflicts = [reason for records in found.values() for reason in _contradictions(records)]
    if not conflicts:
        chosen = {key: _chosen(records, prefer) for key, records in found.items()}
        conflicts = [
            f"{_names(found[key])}: {_why(found[key])}; choose with --prefer FOLDER or --prefer newest"
            for key, record in chosen.items()
            if record is None
        ]
    if conflicts:
        more = f"; and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
        raise RecordError(f"nothing was merged. {'; '.join(conflicts[:SHOWN])}{more}")
    records = [record for record in chosen.values() if record is not None]
    new = [record for record in records if Path(record.folder).parent != to]
    _check_names(records, to)
    _copy(new, to)
    return Merged(
        copied=len(new),
        kept=len(records) - len(new),
        twice=sum(len(each) > 1 for each in found.values()),
        left_out=tuple(left_out),
        records=tuple(records),
    )


def disagreement(first: Record, second: Record) -> str | None:
    """How the scores of two records of one cell differ, in words; None where all that both have are equal."""
    ours, theirs = by_score_key(first.scores), by_score_key(second.scores)
    apart = [(key, ours[key].value, theirs[key].value) for key in ours if key in theirs]
    apart = [each for each in apart if each[1] != each[2]]
    if not apart:
        return None
    (tap, _, evaluator, _, metric), one, other = max(apart, key=lambda each: abs(each[1] - each[2]))
    return f"{len(apart)} scores differ, {metric} of {evaluator} at {tap} is {one:.6g} and {other:.6g}"


def _check(sources: Sequence[Path], to: Path, prefer: str | None) -> None:
    places = [folder.resolve() for folder in sources]
    if to.resolve() in places:
        raise UsageError(f"--to {to} is one of the folders to be merged, and none of them is changed; name another one")
    if len(set(places)) < len(places):
        raise UsageError("a folder is named twice; name each once")
    if prefer not in (None, NEWEST) and Path(str(prefer)).resolve() not in places:
        raise UsageError(f"--prefer {prefer} is none of {', '.join(map(str, sources))}, nor '{NEWEST}'")


def _is_at_work(record: Record) -> bool:
    """Whether some run holds the cell; of another machine's, it is taken for granted."""
    sign = locks.read_lock(Path(record.folder))
    return sign is not None and sign.owner.is_gone() is not True


def _contradictions(records: Sequence[Record]) -> Iterator[str]:
    """Why records of one identity cannot be of the same cell."""
    of = {
        "datasets have other contents": {str(record.cell["dataset"].get("fingerprint")) for record in records},
        "versions differ": {
            repr(record.provenance.get("versions")) for record in records if record.provenance.get("versions")
        },
    }
    for sentence, found in of.items():
        if len(found) > 1:
            shown = " and ".join(sorted(value[:60] for value in found))
            yield f"{_names(records)}: {sentence} ({shown}), so these are not the same cell"


def _chosen(records: Sequence[Record], prefer: str | None) -> Record | None:
    """The record to keep of one cell; None where nobody can say.

    Where all agree, the one with the most scores, finished rather than not, the first named of equals.
    """
    best = max(records, key=lambda r: (len(r.scores), r.state == "done", r.failure is None))
    keys = set(by_score_key(best.scores))
    agree = all(disagreement(best, record) is None and set(by_score_key(record.scores)) <= keys for record in records)
    if agree:
        return best
    if prefer == NEWEST:
        return max(records, key=lambda record: str(record.provenance.get("time", "")))
    if prefer is None:
        return None
    wanted = [record for record in records if Path(record.folder).parent.resolve() == Path(prefer).resolve()]
    return wanted[0] if wanted else None


def _why(records: Sequence[Record]) -> str:
    pairs = ((a, b) for number, a in enumerate(records) for b in records[number + 1 :])
    return next(filter(None, (disagreement(*pair) for pair in pairs)), "each has scores that the other lacks")


def _names(records: Sequence[Record]) -> str:
    return " and ".join(record.folder for record in records)


def _check_names(records: Sequence[Record], to: Path) -> None:
    """A folder's name may have been changed by hand."""
    holders: dict[str, Record] = {}
    for record in records:
        other = holders.setdefault(Path(record.folder).name, record)
        if other is not record:
            raise RecordError(f"nothing was merged. {_names([other, record])} bear one name; rename one of them")
    for name, record in holders.items():
        if Path(record.folder).parent != to and (to / name).exists() and not _is_same_cell(to / name, record):
            raise RecordError(f"nothing was merged. {to / name} is in the way of {record.folder}; move it away")


def _is_same_cell(folder: Path, record: Record) -> bool:
    records, _ = read_records(folder.parent)
    return any(Path(each.folder) == folder and each.id == record.id and not _is_at_work(each) for each in records)


def _copy(records: Sequence[Record], to: Path) -> None:
    """Puts the folders of cells into another: all are copied beside their places, then each takes its name."""
    if not records:
        return
    try:
        to.mkdir(parents=True, exist_ok=True)
        needed, free = sum(map(_size, records)), shutil.disk_usage(to).free
        if needed > free:
            raise RecordError(
                f"nothing was merged. {needed / 1e6:.0f} MB are to be copied, {to} has {free / 1e6:.0f} MB"
            )
        with tempfile.TemporaryDirectory(dir=to, prefix=".merge-") as name:
            waiting, old = Path(name) / "new", Path(name) / "old"
            for record in records:
                folder = waiting / Path(record.folder).name
                folder.mkdir(parents=True)
                for path in _files(record):
                    shutil.copy2(path, folder / path.name)
            old.mkdir()
            for folder in sorted(waiting.iterdir()):
                _put(folder, to / folder.name, old / folder.name)
    except OSError as error:
        raise RecordError(f"{to} cannot be written: {error.strerror or error}; choose another --to") from error


def _put(folder: Path, place: Path, old: Path) -> None:
    """Gives a folder its name; what bore it before is moved away, and comes back if that fails."""
    if place.exists():
        place.rename(old)
    try:
        folder.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise


def _files(record: Record) -> list[Path]:
    return [path for name in NAMES if (path := Path(record.folder) / name).is_file()]


def _size(record: Record) -> int:
    return sum(path.stat().st_size for path in _files(record))
